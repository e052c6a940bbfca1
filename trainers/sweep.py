"""Sweep methods, held-out environments, hyper-parameters and seeds: see `--help`."""

from hf_ood.cli.sweep import main

if __name__ == "__main__":
    raise SystemExit(main())
