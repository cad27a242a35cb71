"""What the files at the top of the repository say must agree."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import marketllm

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))
# What Colab had when this was written: a reader must not be made to replace it.
COLAB = {
    "torch": "2.11.0",
    "numpy": "2.1.3",
    "pandas": "2.2.3",
    "matplotlib": "3.10.0",
    "seaborn": "0.13.2",
    "scikit-learn": "1.6.1",
    "scipy": "1.16.3",
}


def requirements(*groups):
    """Return the named dependency groups as {name: Requirement}."""
    tables = PROJECT["dependency-groups"]
    base = PROJECT["project"]["dependencies"]
    extras = PROJECT["project"]["optional-dependencies"].values()
    found = [*base, *(line for lines in extras for line in lines)]
    found += [line for group in groups for line in tables[group]]
    return {canonicalize_name(Requirement(r).name): Requirement(r) for r in found}


def pins():
    """Return constraints.txt as {name: version}."""
    lines = (ROOT / "constraints.txt").read_text("utf8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_constraints_pin_every_requirement_within_its_bounds():
    exact = pins()
    for name, requirement in requirements("book", "lab", "test", "lint").items():
        assert name in exact, f"constraints.txt has no version of {name}"
        assert requirement.specifier.contains(exact[name]), requirement


def test_constraints_name_no_local_build():
    assert [v for v in pins().values() if "+" in v] == []


def test_conda_gets_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf8"))
    lines = environment["dependencies"][-1]["pip"]
    listed = dict(line.split("==") for line in lines if "==" in line)
    listed = {canonicalize_name(name): version for name, version in listed.items()}
    wanted = requirements("book", "lab", "test")
    assert listed == {name: pins()[name] for name in wanted}
    python = environment["dependencies"][0].removeprefix("python=")
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(python)


@pytest.mark.parametrize(("name", "version"), COLAB.items())
def test_colab_keeps_its_own_versions(name, version):
    assert requirements()[name].specifier.contains(Version(version))


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf8"))
    assert marketllm.__version__ == PROJECT["project"]["version"] == citation["version"]


def test_public_address_is_the_same_everywhere():
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
    address = config["repository"]["url"]
    owner, name = address.removeprefix("https://github.com/").split("/")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf8"))
    assert citation["repository-code"] == address
    assert PROJECT["project"]["urls"]["Repository"] == address
    assert config["html"]["baseurl"] == f"https://{owner.lower()}.github.io/{name}/"
    assert f"make repo URL={address}" in (ROOT / "README.md").read_text("utf8")
    tag = f"{address}/archive/refs/tags/v{marketllm.__version__}.zip"
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        first = json.loads(path.read_text("utf8"))["cells"][0]["source"]
        assert tag in "".join(first), path.name


def test_pages_name_no_other_address_of_the_project():
    address = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
    owner = address["repository"]["url"].split("/")[-2]
    for path in [*ROOT.glob("*.md"), *ROOT.glob("book/*.md")]:
        for found in re.findall(r"github\.com/([\w.-]+)/marketllm", path.read_text()):
            assert found == owner, path.name


def test_every_part_of_the_package_is_installed():
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    folders = [path.parent for path in (ROOT / "marketllm").rglob("__init__.py")]
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert listed == names | {"marketllm.results"}
