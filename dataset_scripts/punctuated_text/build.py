"""Write and publish rated sentences with a punctuation shortcut, and by source. `--help` tells all.

python dataset_scripts/punctuated_text/build.py
python dataset_scripts/punctuated_text/build.py --config sources --package vaderSentiment-3.3.2.tar.gz
"""

import sys
from pathlib import Path

from hf_ood.cli.datasets import main

if __name__ == "__main__":
    main(["--dataset", "punctuated_text", *sys.argv[1:]], default_folder=Path(__file__).parent)
