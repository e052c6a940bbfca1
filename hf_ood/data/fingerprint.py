"""What the rows hold, in one number: the same rows give the same, wherever they lie and whenever they were
written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from datasets import Audio, Dataset, Image
from torch import Tensor

from .environment_dataset import Batch, EnvironmentDataset
from .rows import EnvironmentRows

ROWS_AT_ONCE = 1000


def fingerprint(datasets: Mapping[str, EnvironmentDataset]) -> str:
    """SHA-256 over inputs, labels and environments of all rows, by split, and the names of classes and
    environments: 64 hexadecimal digits. Reads every row of a data set that is not in memory and that has not
    been read before (`content`)."""
    told = {
        split: [
            data.label_names,
            data.environment_names,
            data.content or content_of(inputs_of(data)),
            *(tensor_hash(data.columns[name]) for name in ("labels", "environment") if name in data.columns),
        ]
        for split, data in sorted(datasets.items())
    }
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def content_of(batches: Iterable[Batch]) -> str:
    """SHA-256 over the inputs of the rows, in their order; how many are read together changes nothing."""
    hashes: dict[str, Any] = {}
    for batch in batches:
        for name, values in batch.items():
            own = hashes.setdefault(name, hashlib.sha256())
            if isinstance(values, Tensor):
                own.update(_bytes(values))
            else:
                for value in values:
                    own.update(repr(value).encode() + b"\n")
    return hashlib.sha256(
        json.dumps({name: own.hexdigest() for name, own in hashes.items()}).encode()
    ).hexdigest()


def inputs_of(data: EnvironmentDataset) -> Iterable[Batch]:
    """The inputs of all rows as they are read, before any transform; of rows of a table its cells, but for
    images and sounds, whose files may have moved."""
    if isinstance(data, EnvironmentRows):
        kept = [name for name, kind in data.dataset.features.items() if not isinstance(kind, Image | Audio)]
        yield from rows_of(data.dataset, kept, range(len(data)))
        return
    for index in torch.arange(len(data)).split(ROWS_AT_ONCE):
        yield data.inputs(index)


def rows_of(table: Dataset, columns: list[str], rows: Any) -> Iterable[Batch]:
    """Cells as they stand in the table, such as texts before they are tokens."""
    chosen = table.with_format(None).select_columns(columns).select(rows)
    yield from chosen.iter(ROWS_AT_ONCE)


def tensor_hash(values: Tensor) -> str:
    return hashlib.sha256(_bytes(values)).hexdigest()


def _bytes(values: Tensor) -> Any:
    contiguous = values.detach().cpu().contiguous()
    return (
        contiguous.view(torch.uint8).numpy()
        if contiguous.dim()
        else contiguous.reshape(1).view(torch.uint8).numpy()
    )
