.PHONY: help style quality test site report benchmark

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

report:  ## page and documents of the studies, from the rows that are kept
	hf-ood reproduce --from_results --results_dir hf_ood/results --readme docs/studies.md --docs_page docs/report.md

benchmark:  ## speed, as ratios measured in one run
	python tests/benchmarks/benchmark.py
