"""Publish a finished run on the Hub. `python trainers/push.py --help` tells all."""

from hf_ood.cli.push import main

if __name__ == "__main__":
    main()
