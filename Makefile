# The two commands of the README are `make demo` and `make test`; `make check` is the developers' loop.
PYTHON ?= python3
BIN := .venv/bin
# One thread a process: the tests run in two processes, and threads that wait for each other cost more than they give.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.PHONY: demo test test-slow check check-static setup docs site template bench clean

demo: setup
	$(BIN)/flywheel apply

test: setup
	$(PYTEST) -m "not slow"

test-slow: setup
	$(PYTEST) -m slow

check: check-static test

check-static: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: .venv/done

.venv/done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	PYTHONDONTWRITEBYTECODE= $(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

# What is generated from the code: schemas and references. Tests say when they are out of date.
docs: setup
	$(BIN)/python -m flywheel.spec.schema
	$(BIN)/python -m flywheel.report.schema > schemas/report.schema.json
	$(BIN)/python -m flywheel.cli.reference > docs/cli.md

# The documentation as pages, in build/site; a dead link is an error.
site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: setup
	for bench in $(filter-out bench/beyond.py bench/canary.py bench/gate.py bench/killed.py bench/teachers.py bench/faulty.py bench/mbpp.py bench/real_student.py bench/serving.py bench/targeting.py,$(wildcard bench/*.py)); do $(BIN)/python $$bench || exit 1; done

clean:
	rm -rf .flywheel deploy reports/iter-* reports/index.html

# `flywheel init` writes what stands at the root.

template:
	rm -rf runner/flywheel/templates/shop_sql
	mkdir -p runner/flywheel/templates/shop_sql/evals
	cp flywheel.yaml teachers.py runner/flywheel/templates/shop_sql/
	cp -r prompts runner/flywheel/templates/shop_sql/
	cp -r evals/text_to_sql runner/flywheel/templates/shop_sql/evals/
