"""What the card of the digits says that the data do not."""

from __future__ import annotations

from pathlib import Path

from ..dataset_card import CardText
from ..measured_shift import shift_told
from .sources import FONT_ENVIRONMENTS, ROWS_OF_FONT

SHIFT_COMMAND = "hf-ood shift --dataset digit_sources --pairs_of train --max_samples 500"
NOTICE = Path(__file__).parent / "NOTICE"
SHIFT = Path(__file__).parent / "assets" / "shift.csv"


def card_text() -> CardText:
    fonts = ", ".join(f"{font} ({environment})" for font, environment in FONT_ENVIRONMENTS.items())
    return CardText(
        title="Digits from seven sources",
        license="other",
        introduction="Digits written by hand, in two collections, and set in fonts of five kinds. The "
        "`label` is the digit, the `environment` is where it is from: train on some, test on one that was "
        "never seen.",
        details="28 x 28 grey pixels, light on dark. `mnist`: a sample of 4,000 of MNIST, its own test "
        "images in the test split. `optical`: the 1,797 digits that scikit-learn carries (UCI's Optical "
        "Recognition of Handwritten Digits, its test part), 8 x 8 pixels enlarged; who wrote which is "
        f"not known, so a writer may be in several splits. The others are fonts, named in `source`: {fonts}; "
        f"{ROWS_OF_FONT} of each digit of each.\n\n"
        "A font has one picture of a digit. **That they vary within a font is our doing**: each is turned by "
        "at most 10 degrees, slanted, scaled and moved at random, a little. Every font is in all splits, so "
        "that accuracy in an environment of fonts says how well *these* fonts are read; hold the environment "
        "out, or one font by `--environment_column source`, to hear of others.\n\n"
        + shift_told(SHIFT, SHIFT_COMMAND),
        command="hf-ood datasets --dataset digit_sources",
        license_notice=NOTICE.read_text(encoding="utf-8"),
    )
