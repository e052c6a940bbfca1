"""Publish a finished run on the Hub. `python trainers/push.py --help` tells all."""

from hf_ood.cli.publish import main

if __name__ == "__main__":
    main()
