"""How well a finished run will work where nobody has labels: `python trainers/forecast.py --help` tells."""

from hf_ood.cli.forecast import main

if __name__ == "__main__":
    main()
