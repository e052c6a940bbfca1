"""Any dataset as `train`, `validation` and `test` of batches that know their environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil
import torch
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    IterableDataset,
    IterableDatasetDict,
    List,
)
from transformers.utils import logging

from .accounting import account
from .asked_columns import Columns
from .columns import find_audio_column, find_image_column, require_columns
from .combinations import with_combinations
from .environment_dataset import EXTRAS, Batch, EnvironmentDataset, MemoryEnvironmentDataset, Step
from .features import feature_vectors, takes_features
from .fingerprint import content_of, rows_of
from .first_reading import FirstReading, refuse_bad_rows, without_rows
from .ids import numbered
from .images import ImageReader, Process, is_separable
from .mapped_dataset import ArrowEnvironmentDataset, Reader
from .processors import takes_audio, takes_text
from .reading import read_dataset
from .sounds import SoundReader, sound_reader, undecoded, with_length
from .split_names import with_canonical_names
from .split_tables import by_split, joined, row_teller, together, used_splits
from .splits import Protocol, divide
from .targets import CLASSIFICATION, read_targets
from .text import Pad, TokenReader, require_texts, tokenize

__all__ = ["Columns", "environment_datasets", "read_dataset"]

logger = logging.get_logger(__name__)
REGRESS = " To predict the number itself: --task regression (Columns(task='regression'))."
MANY_CLASSES = 20  # more values than these that hardly repeat are no classes
ONE_SIZE = " Images must have one size, unless the model has an image processor."
SHARE_OF_MEMORY = 0.25  # of what is available: images that fill no more of it are kept there


def environment_datasets(
    dataset: DatasetDict | Dataset,
    columns: Columns | None = None,
    protocol: Protocol | None = None,
    processor: Any = None,
    in_memory: bool | None = None,
    max_length: int | None = None,
    skip_bad_rows: int = 0,
    impute: bool = False,
    max_seconds: float | None = None,
    tell: Callable[[str], None] = logger.info,
) -> dict[str, EnvironmentDataset]:
    """`train`, `validation` and `test`, divided by `protocol`, ready for `OODTrainer`; `in_domain_test` too,
    where environments are held out of a dataset that has a test split with others that are trained on.

    A split called `val`, `dev` or the like is the one that it means. Other splits than these three are pooled
    where there is no `train`, and left alone where there is one; a test split without any label is left
    alone where environments are held out for testing. `tell` is called with a line for each split: its rows,
    classes and environments, and the rows that have no part in it, and why; and with one for features: which
    columns are numbers and which categories.
    `processor`: the model's tokenizer, feature extractor or image processor (`load_processor`); None: images
    as they are.
    `in_memory`: keep images decoded in memory, or decode them batch by batch; None: as there is room. Texts
    always stay on disk as tokens, sounds as files. `max_length`: tokens of a text. `max_seconds`: sounds are
    cut, or filled up, to this length. `skip_bad_rows`: at most so many rows whose image or sound cannot be
    read, or whose image has another size than the others, are left out. `impute`: missing features are the
    median, or the most frequent category, of the training rows; otherwise they are an error. Classes and
    environments of the splits are matched by name. Raises `ValueError` for columns that are missing or do not
    fit, bad rows, and as `divide` does, `TypeError` for a stream.

    Example: `environment_datasets(read_dataset("scans.csv"), Columns(text=["report"], environment=
    ["hospital"]), Protocol(test_environments=["C"]), load_processor("bert-base-uncased"))`
    """
    columns, protocol = columns or Columns(), protocol or Protocol()
    processor = with_length(processor, max_seconds)
    if isinstance(dataset, IterableDataset | IterableDatasetDict):
        raise TypeError(
            f"{type(dataset).__name__}: which rows are held out, and batches of equal environments, need "
            "every row's environment beforehand, and a stream does not know it: give a Dataset, whose rows "
            "may stay on disk (load_dataset without streaming)."
        )
    splits = with_canonical_names(DatasetDict(train=dataset) if isinstance(dataset, Dataset) else dataset)
    dataset = used_splits(splits, columns, protocol, tell)
    targets = read_targets(dataset, columns.labels, columns.task)
    if columns.task == CLASSIFICATION:
        _check_classes(len(targets.values), targets.names, columns.labels[0], dataset)
    environments, environment_names = numbered(dataset, columns.environment, "environment")
    environment_ids = joined(environments)
    sizes = {split: len(data) for split, data in dataset.items()}
    asked = with_combinations(protocol, environment_names, columns.environment)
    roles = divide(sizes, environment_ids, environment_names, asked)
    if columns.features is not None:
        _check_features(columns, processor)
        processor, vectors = feature_vectors(dataset, columns.features, roles["train"], impute, processor)
        labels = by_split(targets.values, dataset)
        for line in account(dataset, labels, targets.names, environments, environment_names, roles, {}):
            tell(line)
        tell(processor.told())
        return {
            role: MemoryEnvironmentDataset(
                None,
                torch.from_numpy(targets.values[rows]),
                torch.from_numpy(environment_ids[rows]),
                targets.names,
                environment_names,
                processor=processor,
                inputs=torch.from_numpy(vectors[rows]),
            )
            for role, rows in roles.items()
        }
    table, read, finish, raw = _prepare(dataset, columns, processor, max_length)
    divided: dict[str, EnvironmentDataset] = {}
    for role, rows in roles.items():
        divided[role] = ArrowEnvironmentDataset(
            table,
            read,
            torch.from_numpy(rows),
            torch.from_numpy(targets.values[rows]),
            torch.from_numpy(environment_ids[rows]),
            targets.names,
            environment_names,
            finish=finish,
            processor=processor,
        )
    bad: dict[int, str] = {}
    if isinstance(read, SoundReader):
        divided, bad = _read_once(divided, False, skip_bad_rows, dataset)
    elif isinstance(read, ImageReader):
        keep = fits_in_memory(divided) if in_memory is None else in_memory
        divided, bad = _read_once(divided, keep, skip_bad_rows, dataset)
    else:
        for role, part in divided.items():
            part.content = content_of(rows_of(raw, list(raw.column_names), roles[role]))
    labels = by_split(targets.values, dataset)
    for line in account(dataset, labels, targets.names, environments, environment_names, roles, bad):
        tell(line)
    return divided


def _check_features(columns: Columns, processor: Any) -> None:
    """Raise `ValueError` for features with a model of something else, and for the label among them."""
    features = list(columns.features or [])
    if any(other is not None for other in (columns.text, columns.image, columns.audio)):
        raise ValueError("A sample is features in columns, or texts, an image or a sound: name one of these.")
    if processor is not None and not takes_features(processor):
        raise ValueError(
            f"Features in columns ({', '.join(features)}) need a model of vectors, such as mlp or linear: "
            "the model has a tokenizer or processor for something else."
        )
    if told := [name for name in columns.labels if name in features]:
        raise ValueError(f"{told[0]!r} is the label: leave it out of the feature columns.")


def _check_classes(rows: int, names: Sequence[str], column: str, dataset: DatasetDict) -> None:
    """Raise `ValueError` for a column that tells samples apart, or measures them, rather than classes."""
    feature = next(iter(dataset.values())).features[column]
    if isinstance(feature, ClassLabel) or len(names) <= MANY_CLASSES:
        return
    measures = "float" in getattr(feature, "dtype", "") and any("." in name for name in names)
    if measures or len(names) > 0.9 * rows:
        raise ValueError(
            f"Column {column!r} holds {len(names)} different values in {rows} rows, such as {names[0]}: name "
            "the column of classes as the label column, or make it a ClassLabel if these are classes."
            f"{REGRESS if _is_number(names[0]) else ''}"
        )


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _read_once(
    parts: Mapping[str, EnvironmentDataset], keep: bool, skip: int, dataset: DatasetDict
) -> tuple[dict[str, EnvironmentDataset], dict[int, str]]:
    """The same, without bad rows, their images in memory if they are to be kept; and the bad rows.

    Raises `ValueError` for more than `skip` bad rows.
    """
    reading = FirstReading()
    read = {}
    for role, part in parts.items():
        assert isinstance(part, ArrowEnvironmentDataset)
        read[role] = reading.read(part.table, part.read, part.columns["position"], keep)
    reading.mark_sizes()
    note = "" if takes_audio(next(iter(parts.values())).processor) else ONE_SIZE
    refuse_bad_rows(reading.bad, skip, row_teller(dataset), note)
    done: dict[str, EnvironmentDataset] = {}
    for role, part in parts.items():
        good = without_rows(part.columns["position"], reading.bad)
        done[role] = part.select(good)
        if keep:
            done[role] = in_memory_of(done[role], read[role].inputs(reading.bad))
        done[role].content = read[role].content if len(good) == read[role].rows else None
    return done, reading.bad


def in_memory_of(part: EnvironmentDataset, inputs: Batch) -> EnvironmentDataset:
    """The same rows with their inputs in memory."""
    return MemoryEnvironmentDataset(
        inputs.pop("pixel_values"),
        part.labels,
        part.environments,
        part.label_names,
        part.environment_names,
        extras=inputs,
        transform=part.transform,
        finish=part.finish,
        processor=part.processor,
    )


def _prepare(
    dataset: DatasetDict, columns: Columns, processor: Any, max_length: int | None
) -> tuple[Dataset, Reader, Step | None, Dataset]:
    """The table that is read from, how its rows are read, what is done to a batch at the end, and the cells
    that tell what the rows hold."""
    first = next(iter(dataset.values()))
    if takes_text(processor):
        if columns.text is None:
            raise ValueError(
                f"The model takes texts: name the text column, one of {', '.join(first.column_names)}."
            )
        if columns.audio is not None:
            raise ValueError("The model takes texts: leave the column of sounds out.")
        require_columns(first, *columns.text)
        raw = together(dataset, columns.text)
        require_texts(raw, columns.text, row_teller(dataset))
        tokens = tokenize(raw, processor, columns.text, max_length)
        return tokens, TokenReader(tuple(tokens.column_names)), Pad(processor), raw
    if takes_audio(processor):
        if columns.text is not None or columns.image is not None:
            raise ValueError("The model takes sounds: leave the columns of texts and images out.")
        sound = find_audio_column(first, columns.audio)
        sounds = {split: undecoded(data, sound) for split, data in dataset.items()}
        table = together(DatasetDict(sounds), [sound])
        return table, sound_reader(sound, processor), None, table
    if columns.audio is not None:
        raise ValueError(
            f"Sounds ({columns.audio}) need a model that takes sounds, with its feature extractor."
        )
    if takes_features(processor):
        raise ValueError("The model takes features in columns: name them (feature_columns).")
    if columns.text is not None:
        raise ValueError(
            f"Texts ({', '.join(columns.text)}) need a model that takes texts, with its tokenizer."
        )
    image = find_image_column(first, columns.image)
    extras = tuple(name for name in EXTRAS if all(_is_color(data, name) for data in dataset.values()))
    table = together(dataset, (image, *extras))
    if processor is None:
        return table, ImageReader(image, None, extras), None, table
    if is_separable(processor):
        return table, ImageReader(image, processor, extras), Process(processor), table
    return table, ImageReader(image, processor, extras, whole=True), None, table


def _is_color(data: Dataset, column: str) -> bool:
    """Whether the column holds colours as Colored MNIST has them, three numbers each."""
    feature = data.features.get(column)
    return isinstance(feature, List) and feature.length == 3


def fits_in_memory(datasets: Mapping[str, EnvironmentDataset]) -> bool:
    """Whether all decoded images fill no more than a quarter of the memory that is available now."""
    available = psutil.virtual_memory().available
    first = next(data for data in datasets.values() if len(data))
    images = first.inputs([0])["pixel_values"]
    return images.nbytes * sum(map(len, datasets.values())) <= SHARE_OF_MEMORY * available
