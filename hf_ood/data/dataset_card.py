"""The card of a data set with environments: what shifts between its splits, and by how much."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict

from ..local_paths import without_local_paths
from ..names import markdown, markdown_block, python_string
from . import coloring
from .configurations import CONFIGURATIONS

TEMPLATE = Path(__file__).parent / "templates" / "dataset_card.md"
COLORS = ("digit_color", "background_color")
SHIFTS = Path(__file__).parent / "assets" / "shift.csv"
MAX_LABEL_COLUMNS = 10
_CITATION = """\
@article{lecun1998gradient,
  title   = {Gradient-based learning applied to document recognition},
  author  = {LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
  journal = {Proceedings of the IEEE}, volume = {86}, number = {11}, pages = {2278--2324}, year = {1998}
}"""
_CITATION_LABEL_NOISE = """
@article{arjovsky2019invariant,
  title   = {Invariant Risk Minimization},
  author  = {Arjovsky, Martin and Bottou, L{\\'e}on and Gulrajani, Ishaan and Lopez-Paz, David},
  journal = {arXiv:1907.02893}, year = {2019}
}"""


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


def colored_mnist_text(configurations: Sequence[str], options: Mapping[str, Any]) -> CardText:
    """Colours, options, command, licence and citation of Colored MNIST."""
    command = ["hf-ood", "datasets", "--dataset_config", *configurations]
    for name, value in options.items():
        command += [f"--{name}", *map(str, value if isinstance(value, (list, tuple)) else [value])]
    palette = ", ".join(f"{name} {' '.join(map(str, rgb))}" for name, rgb in coloring.PALETTE.items())
    given = ", ".join(f"`{name}={value}`" for name, value in options.items())
    seed = options.get("seed", 0)
    return CardText(
        title="Colored MNIST under distribution shift",
        license="cc-by-sa-3.0",
        introduction="Real MNIST digits in colour. Every image belongs to an `environment`, which tells how "
        "its colours were chosen: a model is trained in some environments and tested in others.",
        details=f"Colours (RGB): {palette}. A pair is written `<digit>_on_<background>`. Seed {seed}; "
        f"options: {given or 'the defaults'}. Columns: `image`, `label`, `environment`, `digit` (0-9), "
        "`digit_color`, `background_color`, `source_index` (position in MNIST, training images first). The "
        "split `validation` is held out from the training environments.",
        descriptions=CONFIGURATIONS if options else with_shifts(CONFIGURATIONS),
        command=shlex.join(command),
        license_notice="CC BY-SA 3.0, as MNIST, made by Yann LeCun and Corinna Cortes from NIST's databases.",
        citation=_CITATION + (_CITATION_LABEL_NOISE if "label_noise_shortcut" in configurations else ""),
    )


def with_shifts(descriptions: Mapping[str, str]) -> dict[str, str]:
    """Descriptions of the default configurations, each with the shifts that were measured in it.

    Source of `assets/shift.csv`: `hf-ood shift --all --max_samples 1000`.
    """
    measured = pd.read_csv(SHIFTS, index_col="name")
    told = {}
    for name, text in descriptions.items():
        diversity, correlation = measured.loc[name, ["diversity_value", "correlation_value"]]
        told[name] = (
            f"{text} Measured from train to test on reduced pixels, 0 (none) to 1: diversity shift "
            f"{diversity:.2f}, correlation shift {correlation:.2f}."
        )
    return told


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
