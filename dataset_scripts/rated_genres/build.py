"""Write and publish rated sentences of four genres. `--help` tells all.

python dataset_scripts/rated_genres/build.py
python dataset_scripts/rated_genres/build.py --package vaderSentiment-3.3.2.tar.gz
"""

import sys
from pathlib import Path

from hf_ood.cli.datasets import main

if __name__ == "__main__":
    main(["--dataset", "rated_genres", *sys.argv[1:]], default_folder=Path(__file__).parent)
