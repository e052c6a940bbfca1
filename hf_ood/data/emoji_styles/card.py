"""What the card of the emoji says that the data do not."""

from __future__ import annotations

from pathlib import Path

from ..dataset_card import CardText
from ..measured_shift import shift_told
from .drawings import FEWEST_STYLES, STYLES

SHIFT_COMMAND = "hf-ood shift --dataset emoji_styles --pairs_of train --max_samples 500"
NOTICE = Path(__file__).parent / "NOTICE"
SHIFT = Path(__file__).parent / "assets" / "shift.csv"


def card_text() -> CardText:
    packages = ", ".join(f"`{style}` (`{own.name}` {own.version})" for style, own in STYLES.items())
    return CardText(
        title="Emoji in six drawing styles",
        license="other",
        introduction="Emoji as six sets draw them. The `label` is one of eight groups of Unicode, the "
        "`environment` is the drawing style: train on some styles, test on one that was never seen. Nothing "
        "was coloured or arranged for the purpose: the styles are those of their designers.",
        details=f"The styles: {packages}; 64 x 64 pixels on white. Every emoji that at least {FEWEST_STYLES} "
        "of the six draw, without flags and skin tones, and without those that the sets put in different "
        "groups. `emoji` is the character, `name` what its set calls it. An emoji is in the same split in "
        "all styles, together with its men's, women's and neutral forms, which hardly differ; a picture "
        "that would be in two splits is left out of one (in black and white some emoji look the same). So "
        "no picture of a test emoji was trained on in any style.\n\n" + shift_told(SHIFT, SHIFT_COMMAND),
        command="hf-ood datasets --dataset emoji_styles",
        license_notice=NOTICE.read_text(encoding="utf-8"),
    )
