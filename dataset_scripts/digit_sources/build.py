"""Write and publish digits of seven sources. `--help` tells all.

python dataset_scripts/digit_sources/build.py
python dataset_scripts/digit_sources/build.py --from_packages true
"""

import sys
from pathlib import Path

from hf_ood.cli.datasets import main

if __name__ == "__main__":
    main(["--dataset", "digit_sources", *sys.argv[1:]], default_folder=Path(__file__).parent)
