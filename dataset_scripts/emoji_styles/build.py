"""Write and publish emoji in six drawing styles. `--help` tells all.

python dataset_scripts/emoji_styles/build.py
python dataset_scripts/emoji_styles/build.py --from_packages true
"""

import sys
from pathlib import Path

from hf_ood.cli.datasets import main

if __name__ == "__main__":
    main(["--dataset", "emoji_styles", *sys.argv[1:]], default_folder=Path(__file__).parent)
