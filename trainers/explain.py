"""Grad-CAM of a finished run. `python trainers/explain.py --help` tells all."""

from hf_ood.cli.explain import main

if __name__ == "__main__":
    main()
