"""Bench every method on data sets of real shifts, or on yours: see `--help`."""

from hf_ood.cli.bench import main

if __name__ == "__main__":
    raise SystemExit(main())
