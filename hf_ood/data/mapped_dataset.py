"""Rows that stay on disk: read from the memory-mapped Arrow file a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from datasets import Dataset as HFDataset
from datasets import concatenate_datasets
from torch import Tensor

from .environment_dataset import Batch, EnvironmentDataset, Step
from .reading_images import read_images

READ_AT_ONCE = 256  # rows decoded together while loading into memory


class Reader(Protocol):
    """From rows as `datasets` gives them (a dict of lists) to a batch without labels and environments."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns that it reads."""
        ...

    def __call__(self, rows: dict[str, list[Any]]) -> Batch: ...


class ArrowEnvironmentDataset(EnvironmentDataset):
    """Rows of which only labels, environments and positions are in memory, 24 bytes a
    row.

    `rows`: the table, usually mapped from a file. `read`: decodes rows of it. `positions`: int64 [N], the
    rows of the table that are this dataset's; `labels` and `environments`, int64 [N], are theirs. Everything
    else is as in `EnvironmentDataset`; batches are decoded where they are asked for, in the workers of a
    `DataLoader` if it has any.
    """

    def __init__(
        self,
        rows: HFDataset,
        read: Reader,
        positions: Tensor,
        labels: Tensor,
        environments: Tensor,
        label_names: Sequence[str],
        environment_names: Sequence[str],
        transform: Step | None = None,
        finish: Step | None = None,
        processor: Any = None,
    ):
        self.table = rows.select_columns(list(read.columns))
        self.read = read
        columns = {"labels": labels, "environment": environments, "position": positions}
        self._keep(columns, label_names, environment_names, transform, finish, processor)

    def followed_by(self, other: EnvironmentDataset) -> EnvironmentDataset:
        joined = super().followed_by(other)
        assert isinstance(joined, ArrowEnvironmentDataset) and isinstance(other, ArrowEnvironmentDataset)
        joined.table = concatenate_datasets([self.table, other.table])
        joined.columns["position"][len(self) :] += len(self.table)
        return joined

    def inputs(self, rows: Sequence[int] | Tensor) -> Batch:
        positions = self.columns["position"][torch.as_tensor(rows, dtype=torch.long)]
        return self.read(read_images(self.table, positions.tolist()))
