"""Any dataset as `train`, `validation` and `test` of batches that know their environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from datasets import Dataset, DatasetDict, concatenate_datasets, load_dataset, load_from_disk

from .columns import find_image_column
from .combinations import with_combinations
from .environment_column import numbered
from .environment_dataset import EXTRAS, EnvironmentDataset, Step
from .image_paths import open_image_paths
from .images import ImageReader, Process, is_separable
from .mapped_dataset import ArrowEnvironmentDataset, Reader
from .processors import takes_text
from .splits import ROLES, Protocol, divide
from .text import Pad, TokenReader, tokenize

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
MANY_CLASSES = 20  # more than these, and than half of the rows, are no classes
SHARE_OF_MEMORY = 0.25  # of what is available: images that fill no more of it are kept there


@dataclass(frozen=True)
class Columns:
    """What a dataset's columns hold.

    `image`: None: the only column of images. `text`: one column, or two for sentence pairs; None: images.
    `environment`: one column, or several whose combinations are the environments.
    """

    label: str = "label"
    environment: Sequence[str] = ("environment",)
    image: str | None = None
    text: Sequence[str] | None = None


def read_dataset(name: str, configuration: str | None = None) -> DatasetDict:
    """A dataset of the Hub, a local folder, one file or a pattern of files, as its splits.

    A folder is whatever `datasets.load_dataset` or `Dataset.save_to_disk` makes of one; files are .csv, .tsv,
    .json, .jsonl, .parquet or .arrow, and make one split `train`; a column in them that names image files is
    one of images.
    """
    path = Path(name)
    if path.suffix in FORMATS and not path.is_dir():
        if not list(path.parent.glob(path.name)):
            raise FileNotFoundError(f"There is no file {name}.")
        options = {"sep": "\t"} if path.suffix == ".tsv" else {}
        return open_image_paths(load_dataset(FORMATS[path.suffix], data_files=name, **options), path.parent)
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        loaded = load_from_disk(name)
        return loaded if isinstance(loaded, DatasetDict) else DatasetDict(train=loaded)
    return load_dataset(name, None if configuration == "default" else configuration)


def environment_datasets(
    dataset: DatasetDict | Dataset,
    columns: Columns | None = None,
    protocol: Protocol | None = None,
    processor: Any = None,
    in_memory: bool | None = None,
    max_length: int | None = None,
) -> dict[str, EnvironmentDataset]:
    """`train`, `validation` and `test`, divided by `protocol`, ready for `OODTrainer`; `in_domain_test` too,
    where environments are held out of a dataset that has a test split with others that are trained on.

    Other splits than these three are pooled where there is no `train`, and left alone where there is one.
    `processor`: the model's tokenizer or image processor (`load_processor`); None: images as they are.
    `in_memory`: keep images decoded in memory, or decode them batch by batch; None: as there is room. Texts
    always stay on disk as tokens. `max_length`: tokens of a text. Raises `ValueError` for columns that are
    missing or do not fit, and as `divide` does.

    Example: `environment_datasets(read_dataset("scans.csv"), Columns(text=["report"], environment=
    ["hospital"]), Protocol(test_environments=["C"]), load_processor("bert-base-uncased"))`
    """
    columns, protocol = columns or Columns(), protocol or Protocol()
    dataset = DatasetDict(train=dataset) if isinstance(dataset, Dataset) else dataset
    if "train" in dataset:
        dataset = DatasetDict({split: dataset[split] for split in ROLES if split in dataset})
    labels, label_names = numbered(dataset, [columns.label], "label")
    _check_classes(labels, label_names, columns.label)
    environments, environment_names = numbered(dataset, columns.environment, "environment")
    label_ids, environment_ids = _joined(labels), _joined(environments)
    sizes = {split: len(data) for split, data in dataset.items()}
    asked = with_combinations(protocol, environment_names, columns.environment)
    roles = divide(sizes, environment_ids, environment_names, asked)
    table, read, finish = _prepare(
        concatenate_datasets(list(dataset.values())), columns, processor, max_length
    )
    divided: dict[str, EnvironmentDataset] = {}
    for role, rows in roles.items():
        divided[role] = ArrowEnvironmentDataset(
            table,
            read,
            torch.from_numpy(rows),
            torch.from_numpy(label_ids[rows]),
            torch.from_numpy(environment_ids[rows]),
            label_names,
            environment_names,
            finish=finish,
            processor=processor,
        )
    if isinstance(read, ImageReader) and (fits_in_memory(divided) if in_memory is None else in_memory):
        return {
            role: part.load() for role, part in divided.items() if isinstance(part, ArrowEnvironmentDataset)
        }
    return divided


def _check_classes(labels: Mapping[str, np.ndarray], names: Sequence[str], column: str) -> None:
    """Raise `ValueError` for a column that tells samples apart, or measures them, rather than classes."""
    rows = sum(map(len, labels.values()))
    if len(names) > max(MANY_CLASSES, rows / 2):
        raise ValueError(
            f"Column {column!r} holds {len(names)} different values in {rows} rows, such as {names[0]}: name "
            "the column of classes as the label column."
        )


def _joined(ids: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate(list(ids.values()))


def _prepare(
    table: Dataset, columns: Columns, processor: Any, max_length: int | None
) -> tuple[Dataset, Reader, Step | None]:
    """The table that is read from, how its rows are read, and what is done to a batch at the end."""
    if takes_text(processor):
        if columns.text is None:
            raise ValueError(
                f"The model takes texts: name the text column, one of {', '.join(table.column_names)}."
            )
        tokens = tokenize(table, processor, columns.text, max_length)
        return tokens, TokenReader(tuple(tokens.column_names)), Pad(processor)
    if columns.text is not None:
        raise ValueError(
            f"Texts ({', '.join(columns.text)}) need a model that takes texts, with its tokenizer."
        )
    image = find_image_column(table, columns.image)
    extras = tuple(name for name in EXTRAS if name in table.column_names)
    if processor is None:
        return table, ImageReader(image, None, extras), None
    if is_separable(processor):
        return table, ImageReader(image, processor, extras), Process(processor)
    return table, ImageReader(image, processor, extras, whole=True), None


def fits_in_memory(datasets: Mapping[str, EnvironmentDataset]) -> bool:
    """Whether all decoded images fill no more than a quarter of the memory that is available now."""
    available = psutil.virtual_memory().available
    first = next(data for data in datasets.values() if len(data))
    pixels = first._rows(torch.tensor([0]))["pixel_values"]
    return pixels.nbytes * sum(map(len, datasets.values())) <= SHARE_OF_MEMORY * available
