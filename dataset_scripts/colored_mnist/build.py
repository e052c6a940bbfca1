"""Write Colored MNIST as parquet and a card, for `datasets.load_dataset` on a folder, and publish it.

python dataset_scripts/colored_mnist/build.py --config unseen_colors background_shortcut
python dataset_scripts/colored_mnist/build.py --config all --output_dir /path/to/folder --seed 1
python dataset_scripts/colored_mnist/build.py --config all --push_to_hub user/colored-mnist [--private]
[--revision v2]
"""

from pathlib import Path

from hf_ood.cli.build import main

if __name__ == "__main__":
    main(Path(__file__).parent, __doc__)
