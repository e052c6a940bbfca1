"""Compare finished runs: methods, seeds, verdicts. `python trainers/compare.py --help` tells all."""

from hf_ood.cli.compare import main

if __name__ == "__main__":
    main()
