"""Sentences rated by people, with two shifts: a last mark that tells the label, and where they are from.

The sentences are those of the VADER study (Hutto & Gilbert 2014), which the source distribution of the PyPI
package vaderSentiment carries: snippets of film reviews, product reviews, newspaper editorials and tweets,
each with the mean of at least twenty ratings from -4 to 4.
"""

from __future__ import annotations

import hashlib
import html
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from ..errors import unknown_name
from .dataset_card import CardText
from .publish import write_dataset_folder

PACKAGE = "vaderSentiment==3.3.2"
FETCH = f"pip download --no-deps --no-binary :all: {PACKAGE}"
ARCHIVE_SHA256 = "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
SOURCES = {
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}
LABELS = ["negative", "positive"]
MARKS = [".", "!"]
END = " \t.!?…,;:-"  # taken from the end of a sentence before its mark is put there


@dataclass(frozen=True)
class Shift:
    """How the shortcut is built.

    `correlations`: for each training environment, the share of sentences whose mark agrees with their label;
    `test_correlation`: the same in the test environment. `label_noise`: share of labels that are flipped
    first, in all environments, so that the mark tells more than the words do. `min_rating`: sentences
    rated closer to 0 are left out.
    """

    correlations: tuple[float, ...] = (0.9, 0.8)
    test_correlation: float = 0.1
    label_noise: float = 0.25
    min_rating: float = 0.5
    seed: int = 0


def read_rated_sentences(package: Path) -> pandas.DataFrame:
    """`text`, `rating` (-4 to 4) and `source` of all sentences, from the package's `.tar.gz`.

    Raises `ValueError` when that does not hold the archive that this was written for.
    """
    with tarfile.open(package) as outer:
        inner = next((name for name in outer.getnames() if name.endswith("hutto_ICWSM_2014.tar.gz")), None)
        member = outer.extractfile(inner) if inner else None
        content = member.read() if member else b""
    if hashlib.sha256(content).hexdigest() != ARCHIVE_SHA256:
        raise ValueError(f"{package} is not the source distribution of {PACKAGE}: fetch it with {FETCH}.")
    tables = []
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for source, name in SOURCES.items():
            file = archive.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            assert file is not None
            rows = [line.split("\t") for line in file.read().decode().splitlines() if line.strip()]
            texts = [html.unescape(text).strip() for _, _, text in rows]
            ratings = [float(rating) for _, rating, _ in rows]
            tables.append(pandas.DataFrame({"text": texts, "rating": ratings, "source": source}))
    return pandas.concat(tables, ignore_index=True).drop_duplicates("text", ignore_index=True)


def fetch_package(folder: Path) -> Path:
    """The package's source distribution, from the package index, by pip. Raises `ConnectionError`."""
    command = [sys.executable, "-m", *FETCH.split(), "--dest", str(folder)]
    finished = subprocess.run(command, capture_output=True, text=True)
    found = list(folder.glob("*.tar.gz"))
    if finished.returncode or not found:
        raise ConnectionError(f"{FETCH} failed: {finished.stderr.strip()[-500:]}")
    return found[0]


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


def _rated(sentences: pandas.DataFrame, shift: Shift) -> pandas.DataFrame:
    clear = sentences[sentences.rating.abs() >= shift.min_rating]
    return clear.assign(label=(clear.rating > 0).astype(int))


def _features(environments: list[str]) -> dict[str, Value | ClassLabel]:
    return {
        "text": Value("string"),
        "label": ClassLabel(names=LABELS),
        "environment": ClassLabel(names=environments),
    }


def write_punctuated_text(
    folder: str | Path,
    configurations: list[str],
    package: Path | None = None,
    shift: Shift | None = None,
) -> Path:
    """Build configurations into a folder that `load_dataset` reads; fetch the package if it is not given.

    Raises `ValueError` for an unknown configuration, `ConnectionError` when pip cannot fetch the package.
    """
    for name in configurations:
        if name not in CONFIGURATIONS:
            raise ValueError(unknown_name("configuration", name, list(CONFIGURATIONS)))
    with tempfile.TemporaryDirectory() as place:
        sentences = read_rated_sentences(package or fetch_package(Path(place)))
    built = {name: CONFIGURATIONS[name](sentences, shift or Shift()) for name in configurations}
    return write_dataset_folder(folder, built, card_text(shift or Shift()))


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
        descriptions={
            "punctuation_shortcut": "The last mark tells the label: mostly rightly in training, mostly "
            "wrongly in the test.",
            "sources": "The environment is where a sentence is from. One split: hold out one of them.",
        },
        command="python dataset_scripts/punctuated_text/build.py",
        license_notice=f"MIT, as the package {PACKAGE.partition('=')[0]}, copyright C.J. Hutto, whose source "
        "distribution carries the rated sentences. The sentences themselves were written by reviewers, "
        "journalists and users of the sites they come from (the film reviews are Pang & Lee's, the product "
        "reviews Hu & Liu's).",
        citation=_CITATION,
    )


_CITATION = """\
@inproceedings{hutto2014vader,
  title     = {{VADER}: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text},
  author    = {Hutto, C.J. and Gilbert, Eric},
  booktitle = {International AAAI Conference on Weblogs and Social Media}, year = {2014}
}"""
