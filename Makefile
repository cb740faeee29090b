# Everything sets itself up: only Python >= 3.11 with venv, make and bash are needed.
SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
PIP := $(INSTALL) --quiet
WORKERS ?= 2

.PHONY: help demo docs pages numbers quick test slow every lint types check wheel browser parity format pins clean

help:
	@echo "make demo     install, then sweep a small BERT over faulty chips and open the report"
	@echo "make docs     build the documentation as a site"
	@echo "make pages    run the examples of README and docs and write what they print into them"
	@echo "make numbers  write the numbers that pages quote from committed rows into them"
	@echo "make quick    install, then run the tests of the arithmetic: under a minute"
	@echo "make test     install, then run all tests but the slow ones"
	@echo "make check    lint, types, all tests, and the wheel outside the tree (what CI runs)"
	@echo "make browser  look at the report in Chromium (installs it where apt-get may)"
	@echo "make parity   compare with transformers' PyTorch models, and the benchmark's loops (installs torch)"
	@echo "make format   put the code into shape"
	@echo "make pins     write constraints.txt anew from this environment"

$(VENV)/.run: pyproject.toml constraints.txt
	@test -x $(BIN)/python || (echo "creating $(VENV)" && $(PYTHON) -m venv $(VENV))
	@echo "installing rerax and what it needs into $(VENV):"
	@$(INSTALL) -e . | sed -nE 's/^Collecting ([^ ;]+).*/  \1/p; s/^Successfully installed.*/done/p'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "installing the development tools"
	@$(PIP) -e '.[dev]'
	@touch $@

demo: $(VENV)/.run
	$(BIN)/rerax demo

quick: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/unit

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(VENV)/.dev
	$(BIN)/mypy

# All tests in one run: the workers start once, and none waits for the end of the quick ones.
every: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'slow or not slow'

check: lint types every wheel

# The site is built from the pages and the docstrings as text, in an environment of its own, so
# rerax need not be installed.
docs:
	@test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check \
	-c constraints-docs.txt mkdocs-material 'mkdocstrings[python]' ruff
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	@echo "site: $(CURDIR)/site/index.html"

# README and docs show what this machine prints; its platform is kept in tests/helpers/made_on.json.
pages: $(VENV)/.dev
	JAX_PLATFORMS=cpu HF_HUB_OFFLINE=1 $(BIN)/python tests/helpers/pages.py

# Marked numbers of README, docs and experiments: experiments/quoted.py has what they are.
numbers: $(VENV)/.dev
	JAX_PLATFORMS=cpu $(BIN)/python tests/helpers/quoting.py

# The wheel is installed into an empty environment outside the tree; its dependencies are
# borrowed from .venv through a .pth file instead of being installed twice.
wheel: $(VENV)/.dev
	@set -e; away=$$(mktemp -d); trap 'rm -rf "$$away"' EXIT; \
	$(BIN)/python -m build --wheel --outdir "$$away" . > "$$away/log" 2>&1 || { cat "$$away/log"; exit 1; }; \
	$(BIN)/python -m venv "$$away/venv"; \
	"$$away/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$$away"/*.whl; \
	$(BIN)/python -c "import site; print(site.getsitepackages()[0])" > "$$away/deps.pth"; \
	cp "$$away/deps.pth" "$$("$$away/venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')/zz_deps.pth"; \
	cd "$$away"; venv/bin/rerax --version; venv/bin/python -c "import rerax, sys; \
	assert rerax.__file__.startswith(sys.prefix), rerax.__file__; \
	from rerax.demo import MODEL; assert (MODEL / 'model.safetensors').is_file(); \
	print(rerax.load(MODEL)[0].num_labels, 'labels: the wheel works outside the tree')"; \
	venv/bin/rerax report $(CURDIR)/experiments/results/sst2_encodings --html page.html > table.txt; \
	grep -q '</html>' page.html

# Only Debian's package is tried, and only by a user who may install one.
browser: $(VENV)/.dev
	@command -v chromium > /dev/null || command -v chromium-browser > /dev/null || \
	(command -v apt-get > /dev/null && test "$$(id -u)" = 0 && apt-get update -qq && \
	apt-get install -y -qq --no-install-recommends chromium) || \
	{ echo "no chromium, and it cannot be installed here: run 'apt-get install chromium' as root"; exit 1; }
	$(BIN)/python -m pytest -m browser tests/e2e/test_browser.py

# PyTorch's CPU build is found by its exact version, and by pip only.
parity: $(VENV)/.dev
	@$(PIP) torch==2.13.0
	$(BIN)/python -m pytest -o addopts= --import-mode=importlib -W error tests/parity
	$(BIN)/python -m pytest tests/e2e/test_competitors.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pins: $(VENV)/.dev
	@$(BIN)/python -m pip freeze --exclude-editable --exclude torch | grep -v ' @ ' > constraints.new
	@{ sed -n '/^#/p' constraints.txt; cat constraints.new; } > constraints.tmp
	@mv constraints.tmp constraints.txt; rm constraints.new

clean:
	rm -rf $(VENV) .venv-docs site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis rerax-demo
