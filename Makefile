.PHONY: help style quality test site benchmark

help:  ## show this
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

style:  ## format and mend what can be mended
	ruff format .
	ruff check --fix .

quality:  ## what CI checks besides the tests
	ruff format --check .
	ruff check .
	mypy

test:  ## all tests
	pytest

site:  ## the documentation, into site/
	mkdocs build --strict

benchmark:  ## speed, as ratios measured in one run
	python tests/benchmarks/benchmark.py
