"""Evaluate a classifier in every environment of a dataset. `python trainers/evaluate.py --help`."""

from hf_ood.cli.evaluate import main

if __name__ == "__main__":
    main()
