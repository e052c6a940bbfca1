"""What the card of the rated genres says that the data do not."""

from __future__ import annotations

from pathlib import Path

from ..dataset_card import CardText
from ..measured_shift import shift_told
from ..punctuated_text.card import CITATION

FOLDER = Path(__file__).parent
SHIFT_COMMAND = (
    "hf-ood shift --dataset rated_genres --pairs_of train --encoder sentence-transformers/all-MiniLM-L6-v2 "
    "--max_samples 500"
)


def card_text() -> CardText:
    return CardText(
        title="Rated sentences of four genres",
        license="mit",
        introduction="Sentences from film reviews, product reviews, editorials and tweets that people rated "
        "as negative or positive (Hutto & Gilbert 2014). The `environment` is the genre: train on three, "
        "test on the one that was never seen.",
        details="The label is the sign of the mean of at least twenty ratings (`rating`, -4 to 4); sentences "
        "rated closer to 0 than 0.5 are left out. `document` is the product review or editorial that a "
        "sentence is from, and all its sentences are in the same split. A tweet is a document of its own, "
        "and so is a sentence about a film: the source does not say which of its reviews that is from, so "
        "sentences of one film review may be in several splits.\n\n"
        + shift_told(FOLDER / "shift.csv", SHIFT_COMMAND),
        command="hf-ood datasets --dataset rated_genres",
        license_notice=(FOLDER / "NOTICE").read_text(encoding="utf-8"),
        citation=CITATION,
    )
