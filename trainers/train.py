"""Train a classifier on several environments. `python trainers/train.py --help` tells all."""

from hf_ood.cli.train import main

if __name__ == "__main__":
    main()
