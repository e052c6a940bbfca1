"""Diversity and correlation shift between splits. `python trainers/measure_shift.py --help` tells all."""

from hf_ood.cli.shift import main

if __name__ == "__main__":
    main()
