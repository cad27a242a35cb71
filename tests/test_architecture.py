"""The package keeps its order, and the book uses all of it."""

import ast
import importlib
import inspect
import json
from functools import cache
from pathlib import Path

import pytest
from numpydoc.validate import validate

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "marketllm"
ORDER = (
    "config tokenizer datasets batches positions layers cache attention blocks models "
    "pretrained losses optim checkpoints training generation prompting finetuning "
    "baselines evaluation explain plots marketing experiments"
).split()
FILES = sorted(PACKAGE.rglob("*.py"))
# The long runs start as `python -m marketllm.experiments`, not from a chapter.
CHAPTER_FILES = [path for path in FILES if "experiments" not in path.parts]
MAX_LINES = 250  # that are not blank
# What a docstring must have: one, a summary that is a sentence, the parameters
# in their order and no others, and what is returned.
DOCSTRING = {"GL08", "SS01", "SS02", "SS03", "PR01", "PR02", "PR03", "RT01", "YD01"}


def name_of(path):
    return str(path.relative_to(PACKAGE))


def module_of(path):
    """The top-level module that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def dotted(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imported(tree, own):
    """The modules of the package that a syntax tree imports, anywhere in it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # from . import x: counts as the module itself
                found.append(f"marketllm.{own}")
            elif node.module == "marketllm":
                found += [f"marketllm.{alias.name}" for alias in node.names]
            else:
                found.append(node.module)
    ours = [name.split(".") for name in found if name.split(".")[0] == "marketllm"]
    return {parts[1] for parts in ours if len(parts) > 1}


def out_of_order(tree, own):
    earlier = ORDER[: ORDER.index(own) + 1]
    return sorted(imported(tree, own) - set(earlier))


def banned(tree):
    """Places of print calls and assert statements."""
    return sorted(
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
        or (isinstance(node, ast.Name) and node.id == "print")
    )


def public(path):
    """Public top-level functions and classes of a file, and their methods."""
    module = importlib.import_module(dotted(path))
    names, methods = [], []
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        names.append(node.name)
        if isinstance(node, ast.ClassDef):
            methods += [
                f"{node.name}.{part.name}"
                for part in node.body
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")
            ]
    assert all(hasattr(module, name) for name in names)
    return names, methods


def documents_attributes(name):
    """A dataclass may describe its fields under Attributes in place of Parameters."""
    module, _, name = name.rpartition(".")
    thing = getattr(importlib.import_module(module), name, None)
    return inspect.isclass(thing) and "Attributes\n" in (thing.__doc__ or "")


def plain(source):
    """Cell source without the lines that only IPython understands."""
    lines = []
    for line in source.splitlines():
        text = line.lstrip()
        if text.startswith(("%", "!")):
            line = line[: len(line) - len(text)] + "pass"
        lines.append(line)
    return "\n".join(lines)


def used_names(sources):
    """Names of the package that code reads; an import alone is not a use."""
    found = set()
    for source in sources:
        tree = ast.parse(plain(source))
        names, modules = {}, {"marketllm"}  # what the code calls it: what it is
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                here = {a.asname or a.name: a.name for a in node.names}
                if (node.module or "").startswith("marketllm"):
                    names |= here
                    modules |= set(here)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.asname and alias.name.startswith("marketllm"):
                        modules.add(alias.asname)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in names:
                found.add(names[node.id])
            if isinstance(node, ast.Attribute):
                root = node.value
                while isinstance(root, ast.Attribute):
                    root = root.value
                if isinstance(root, ast.Name) and root.id in modules:
                    found.add(node.attr)
    return found


def with_results(used):
    """Add the types that a used function returns or a used class holds."""
    mentions = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            notes = []
            if isinstance(node, ast.FunctionDef):
                notes = [node.returns]
            if isinstance(node, ast.ClassDef):
                notes = [
                    p.annotation for p in node.body if isinstance(p, ast.AnnAssign)
                ]
                notes += [
                    p.returns for p in node.body if isinstance(p, ast.FunctionDef)
                ]
            parts = [part for note in notes if note for part in ast.walk(note)]
            if notes:
                mentions[node.name] = {p.id for p in parts if isinstance(p, ast.Name)}
    while True:
        more = used.union(*(mentions.get(name, set()) for name in used))
        if more == used:
            return used
        used = more


def chapter_sources():
    """The code of each chapter as one text: an alias lasts longer than a cell."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        code = [plain("".join(c["source"])) for c in cells if c["cell_type"] == "code"]
        yield "\n".join(code)


@cache
def used_in_chapters():
    """What the chapters use of the package; read once, for it takes seconds."""
    return with_results(used_names(chapter_sources()))


def test_there_are_files():
    assert len(FILES) >= 12


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_imports_only_from_the_lines_above(path):
    own = module_of(path)
    if own == "__init__":
        assert not imported(ast.parse(path.read_text()), own)
        return
    assert own in ORDER, f"{own} has no place in the order of modules"
    assert out_of_order(ast.parse(path.read_text()), own) == []


@pytest.mark.parametrize(
    ("own", "source", "expected"),
    [
        ("layers", "from marketllm.attention import attention", ["attention"]),
        ("layers", "import marketllm.models as m", ["models"]),
        ("layers", "def f():\n    from marketllm import plots", ["plots"]),
        ("layers", "from marketllm.config import ModelConfig", []),
        ("datasets", "from marketllm.datasets.card import Dataset", []),
        ("datasets", "from . import card\nimport torch", []),
    ],
)
def test_the_import_order_can_fail(own, source, expected):
    assert out_of_order(ast.parse(source), own) == expected


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_print_and_no_assert(path):
    assert banned(ast.parse(path.read_text())) == []


def test_print_and_assert_are_seen():
    assert banned(ast.parse("x = 1\nprint(x)\nassert x\n")) == [2, 3]
    assert banned(ast.parse("'print(x)'  # assert x")) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_short(path):
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    assert len(lines) <= MAX_LINES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_public_names_have_docstrings(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "the module has none"
    names, methods = public(path)
    faults = []
    for name in [f"{dotted(path)}.{name}" for name in names + methods]:
        for code, text in validate(name)["errors"]:
            if code == "PR01" and documents_attributes(name):
                continue
            if code in DOCSTRING:
                faults.append(f"{name}: {code} {text}")
    assert faults == []


def lacking(first: int, second: int) -> int:
    """Miss a parameter and what is returned.

    Parameters
    ----------
    first : int
        Described.
    """
    return first + second


def test_docstrings_that_lack_something_are_seen():
    codes = {code for code, _ in validate(f"{__name__}.lacking")["errors"]}
    assert {"PR01", "RT01"} <= codes & DOCSTRING


@pytest.mark.parametrize("path", CHAPTER_FILES, ids=name_of)
def test_every_public_name_is_used_in_a_chapter(path):
    names, _ = public(path)
    assert [name for name in names if name not in used_in_chapters()] == []


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("from marketllm.batches import pad", set()),
        ("from marketllm.batches import pad\npad(a)", {"pad"}),
        ("from marketllm.batches import pad as p\np(a)", {"pad"}),
        ("import marketllm.batches as b\nb.pad(a)", {"pad"}),
        ("from marketllm import batches\nbatches.pad(a)", {"batches", "pad"}),
        ("from other import fit\nfit(a)\nmodel.fit(b)", set()),
        ("%matplotlib inline\nif x:\n    %pip install y", set()),
    ],
)
def test_use_is_more_than_an_import(code, used):
    assert used_names([code]) == used


def test_results_of_a_used_function_are_used():
    assert "History" in with_results({"fit"})
    assert "History" not in with_results({"pad"})
