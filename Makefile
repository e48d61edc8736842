# Two commands do everything on a fresh Debian or Ubuntu machine: `make demo` and `make test`.
SHELL := /bin/bash
PY := .venv/bin/python
WINDOW := tools/on_display.sh
ARGS ?=
SLIDES ?=
GOLDEN ?= ../shared/golden
MPP ?=

.PHONY: help demo test test-slow lint pictures bench golden clean
.DEFAULT_GOAL := help

help:  ## list these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

.venv/ready: pyproject.toml constraints.txt tools/setup.sh tools/system.sh
	@tools/setup.sh

demo: .venv/ready  ## open the sample slide with its overlays; without a screen: make demo ARGS="--headless --screenshot out.png"
	@.venv/bin/napari-wsi-mil demo $(ARGS)

test: .venv/ready  ## lint, types, import rules, wheel in a clean venv, and the tests
	@tools/test.sh

test-slow: .venv/ready  ## the tests that take minutes
	@$(WINDOW) $(PY) -m pytest -m slow

lint: .venv/ready  ## style, format, types and import rules only
	@tools/test.sh lint

pictures: .venv/ready  ## make pictures SLIDES="a.svs b.svs" [MPP=0.5]: window and heatmap of any slides into pictures/
	@$(WINDOW) $(PY) tools/pictures.py --out pictures $(if $(MPP),--mpp $(MPP)) $(SLIDES)

bench: .venv/ready  ## make bench SLIDES="a.svs b.svs": speed side by side with napari-wsi and OpenSlide
	@tools/bench.sh $(SLIDES)

golden: .venv/ready  ## make golden GOLDEN=DIR: our networks against a folder of published reference numbers
	@$(PY) -m tools.golden $(GOLDEN)

clean:  ## remove what the commands made, the virtual environment too
	rm -rf .venv .bench-peer build dist pictures demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
