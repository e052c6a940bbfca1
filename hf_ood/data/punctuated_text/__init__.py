"""Sentences rated by people, with two shifts: a last mark that tells the label, and where they are from.

The sentences are those of the VADER study (Hutto & Gilbert 2014), which the source distribution of the PyPI
package vaderSentiment carries: snippets of film reviews, product reviews, newspaper editorials and tweets,
each with the mean of at least twenty ratings from -4 to 4.
"""

from .card import card_text
from .configurations import (
    CONFIGURATIONS,
    DESCRIPTIONS,
    END,
    LABELS,
    MARKS,
    PunctuatedTextConfig,
    Shift,
    check_options,
    punctuation_shortcut,
    sources,
)
from .dataset_folder import write_punctuated_text
from .sentences import ARCHIVE_SHA256, FETCH, PACKAGE, SOURCES, fetch_package, read_rated_sentences

__all__ = [
    "ARCHIVE_SHA256",
    "CONFIGURATIONS",
    "DESCRIPTIONS",
    "END",
    "FETCH",
    "LABELS",
    "MARKS",
    "PACKAGE",
    "SOURCES",
    "PunctuatedTextConfig",
    "Shift",
    "card_text",
    "check_options",
    "fetch_package",
    "punctuation_shortcut",
    "read_rated_sentences",
    "sources",
    "write_punctuated_text",
]
