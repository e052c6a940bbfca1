"""Predict classes and probabilities for every row of a table. `python trainers/predict.py --help`."""

from hf_ood.cli.predict import main

if __name__ == "__main__":
    main()
