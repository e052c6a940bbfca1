"""Write and publish Colored MNIST. `python dataset_scripts/colored_mnist/build.py --help` tells all."""

from pathlib import Path

from hf_ood.cli.datasets import main

if __name__ == "__main__":
    main(default_folder=Path(__file__).parent)
