"""The card of a data set with environments: what shifts between its splits, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jinja2
import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict

from ..local_paths import without_local_paths
from ..moved import moved_names
from ..names import markdown, markdown_block, python_string

TEMPLATE = Path(__file__).parent / "templates" / "dataset_card.md"
COLORS = ("digit_color", "background_color")
MAX_LABEL_COLUMNS = 10


@dataclass(frozen=True)
class CardText:
    """What a card says that the data do not.

    `license`: its identifier on the Hub. `introduction`, `details`: Markdown. `descriptions`: a sentence
    for each configuration. `command`: how to make the data again. `citation`: BibTeX.
    """

    title: str
    license: str
    introduction: str = ""
    details: str = ""
    descriptions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    license_notice: str = ""
    citation: str = ""


@dataclass(frozen=True)
class Row:
    """One environment of one split. `seen`, `told`: as the card explains them; NaN without colours."""

    split: str
    environment: str
    count: int
    labels: list[str]
    seen: float
    told: float


@dataclass(frozen=True)
class Shift:
    name: str
    description: str
    labels: list[str]
    rows: list[Row]


def render_text(
    text: CardText,
    configurations: Mapping[str, DatasetDict],
    default: str,
    repo_id: str,
    samples: Sequence[str],
    cleaned: int = 0,
) -> str:
    """The card below its metadata, as Markdown. `cleaned`: how many images had metadata that were taken out.

    What data are called is escaped; the author's text is Markdown, without absolute paths of this machine.
    """
    text = CardText(**without_local_paths(asdict(text)))
    shifts = {name: describe(name, splits, text) for name, splits in configurations.items()}
    splits = configurations[default]
    first_split = "train" if "train" in splits else next(iter(splits))
    environment = jinja2.Environment(keep_trailing_newline=True)
    environment.filters |= {"name": markdown, "python": python_string, "block": markdown_block}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        text=text,
        cleaned=cleaned,
        one_list=len({tuple(_names(splits)) for splits in configurations.values()}) == 1,
        repo_id=repo_id,
        default=default,
        first_split=first_split,
        first_environment=next(row.environment for row in shifts[default].rows if row.split == first_split),
        samples=samples,
        shifts=list(shifts.values()),
        colors=all(set(COLORS) <= set(_columns(splits)) for splits in configurations.values()),
    )


def describe(name: str, splits: DatasetDict, text: CardText) -> Shift:
    """Counts of every environment, of labels in it, and what its colours give away.

    Raises `ValueError` when a split has no environment column of type `ClassLabel`.
    """
    for split, dataset in splits.items():
        if not isinstance(dataset.features.get("environment"), ClassLabel):
            raise ValueError(
                f"The split {split} has no column 'environment' of type ClassLabel; its columns are "
                f"{', '.join(dataset.column_names)}. See hf_ood.data.add_environments."
            )
    label = next(iter(splits.values())).features.get("label")
    names = list(label.names) if isinstance(label, ClassLabel) else []
    shown = names if len(names) <= MAX_LABEL_COLUMNS else []
    first = "train" if "train" in splits else next(iter(splits))
    colors = _ColorTable(splits[first]) if set(COLORS) <= set(splits[first].column_names) else None
    rows: list[Row] = []
    for split, dataset in splits.items():
        judged = colors.judge(dataset, known=split == first) if colors else np.full((len(dataset), 2), np.nan)
        rows += _rows(split, dataset, shown, judged)
    return Shift(name, text.descriptions.get(name, ""), shown or ["labels present"], rows)


def _rows(split: str, dataset: Dataset, labels: Sequence[str], judged: np.ndarray) -> list[Row]:
    environments = np.asarray(dataset["environment"][:], dtype=np.int64)
    own = np.asarray(dataset["label"][:]) if "label" in dataset.column_names else np.zeros(len(dataset), int)
    found = []
    for number, environment in enumerate(dataset.features["environment"].names):
        members = environments == number
        if members.any():
            counts = [f"{(own[members] == position).sum():,}" for position in range(len(labels))]
            counts = counts or [str(len(np.unique(own[members])))]
            seen, told = judged[members].mean(0).tolist()
            found.append(Row(split, environment, int(members.sum()), counts, seen, told))
    return found


class _ColorTable:
    """How often each label goes with each pair of colours in the training split."""

    def __init__(self, train: Dataset):
        labels = np.asarray(train["label"][:])
        self.pairs, index = np.unique(_color_pairs(train), return_inverse=True)
        self.counts = np.zeros((len(self.pairs), labels.max() + 1), dtype=np.int64)
        np.add.at(self.counts, (index, labels), 1)

    def judge(self, dataset: Dataset, known: bool) -> np.ndarray:
        """For each row: are its colours those of a training image, and do they tell its label; float [N, 2].

        `known`: the rows are the training split itself, so each is judged by the others.
        """
        pairs, labels = _color_pairs(dataset), np.asarray(dataset["label"][:])
        index = np.minimum(np.searchsorted(self.pairs, pairs), len(self.pairs) - 1)
        votes = np.where((self.pairs[index] == pairs)[:, None], self.counts[index], 0)
        if known:
            votes[np.arange(len(labels)), labels] -= 1
        seen = votes.sum(1) > 0
        guesses = np.where(seen, votes.argmax(1), self.counts.sum(0).argmax())
        return np.stack([seen, guesses == labels], axis=1).astype(float)


def _color_pairs(dataset: Dataset) -> np.ndarray:
    """Both colours of every image as one number."""
    channels = np.concatenate([np.asarray(dataset[name][:], dtype=np.int64) for name in COLORS], axis=1)
    return channels @ (256 ** np.arange(6))


def _names(splits: DatasetDict) -> list[str]:
    return next(iter(splits.values())).features["environment"].names


def _columns(splits: DatasetDict) -> list[str]:
    return next(iter(splits.values())).column_names


__getattr__ = moved_names(__name__)
