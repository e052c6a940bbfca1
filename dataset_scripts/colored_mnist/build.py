"""Write Colored MNIST as parquet and a card, for `datasets.load_dataset` on this folder or any other.

python dataset_scripts/colored_mnist/build.py --config unseen_colors background_shortcut
python dataset_scripts/colored_mnist/build.py --config all --output_dir /path/to/folder --seed 1
"""

import argparse
from pathlib import Path

from hf_ood.data.configurations import CONFIGURATIONS, make_config
from hf_ood.data.publish import write_colored_mnist


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", nargs="+", default=["all"], help=f"all, or some of {', '.join(CONFIGURATIONS)}"
    )
    parser.add_argument(
        "--output_dir", type=Path, default=Path(__file__).parent, help="default: beside this script"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--source", default="embedded", help="embedded MNIST, a Hub dataset id, or a local folder"
    )
    arguments = parser.parse_args()
    names = list(CONFIGURATIONS) if arguments.config == ["all"] else arguments.config
    try:
        for name in names:
            make_config(name)
        folder = write_colored_mnist(
            arguments.output_dir, names, seed=arguments.seed, source=arguments.source
        )
    except (ValueError, ConnectionError) as error:
        parser.error(str(error))
    print(f"Wrote {', '.join(names)} to {folder}.")
    print(f'Read it with: datasets.load_dataset("{folder}", "{names[0]}")')


if __name__ == "__main__":
    main()
