"""Carry out studies: see `--help`."""

from hf_ood.cli.reproduce import main

if __name__ == "__main__":
    raise SystemExit(main())
