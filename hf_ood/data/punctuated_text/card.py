"""What the card of the rated sentences says that the data do not."""

from __future__ import annotations

from ..dataset_card import CardText
from .configurations import DESCRIPTIONS, Shift
from .sentences import PACKAGE

CITATION = """\
@inproceedings{hutto2014vader,
  title     = {{VADER}: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text},
  author    = {Hutto, C.J. and Gilbert, Eric},
  booktitle = {International AAAI Conference on Weblogs and Social Media}, year = {2014}
}"""


def card_text(shift: Shift) -> CardText:
    return CardText(
        title="Rated sentences under distribution shift",
        license="mit",
        introduction="Sentences from film reviews, product reviews, editorials and tweets that people rated "
        "as negative or positive (Hutto & Gilbert 2014), with two kinds of `environment`.",
        details=f"Labels: the sign of the mean rating; sentences rated closer to 0 than "
        f"{shift.min_rating:g} are left out. `punctuation_shortcut`: "
        f"{100 * shift.label_noise:g} % of the labels are flipped, then every sentence ends in a mark that "
        "agrees with its label (exclamation mark: positive) as often as the environment's name says. "
        f"Seed {shift.seed}.",
        descriptions=DESCRIPTIONS,
        command="hf-ood datasets --dataset punctuated_text",
        license_notice=f"MIT, as the package {PACKAGE.partition('=')[0]}, copyright C.J. Hutto, whose source "
        "distribution carries the rated sentences. The sentences themselves were written by reviewers, "
        "journalists and users of the sites they come from (the film reviews are Pang & Lee's, the product "
        "reviews Hu & Liu's).",
        citation=CITATION,
    )
