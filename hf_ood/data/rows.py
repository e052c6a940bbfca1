"""Rows of any dataset, as they are, that know their environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from datasets import ClassLabel
from datasets import Dataset as HFDataset
from datasets import IterableDataset as HFIterableDataset
from torch import Tensor
from torch.utils.data import IterableDataset

from .columns import require_columns
from .environment_dataset import EnvironmentDataset
from .ids import ids_of

LABELS = ("labels", "label", "label_ids")  # what collators of transformers read as labels


class EnvironmentRows(EnvironmentDataset):
    """The rows that a `datasets.Dataset` gives, its transform included, with `environment` as an id.

    `environment_column`: names or numbers. A batch is a list of rows, for a data collator. Raises
    `ValueError` where the column is missing.
    """

    @classmethod
    def of(cls, dataset: Any, environment_column: str) -> EnvironmentDataset:
        """Raises `TypeError` for what is no table of rows."""
        if isinstance(dataset, EnvironmentDataset):
            return dataset
        if isinstance(dataset, HFDataset):
            return cls(dataset, environment_column)
        kind = type(dataset).__name__
        if isinstance(dataset, IterableDataset | HFIterableDataset):
            raise TypeError(
                f"{kind}: batches of equal environments need every row's environment beforehand, and a "
                "stream does not know it: give a datasets.Dataset, whose rows may stay on disk "
                "(load_dataset without streaming)."
            )
        raise TypeError(f"Expected an EnvironmentDataset or a datasets.Dataset, not {kind}.")

    def __init__(self, dataset: HFDataset, environment_column: str = "environment"):
        require_columns(dataset, environment_column)
        self.dataset, self.environment_column = dataset, environment_column
        self._renamed: str | None = None  # the column whose labels have other ids than the rows'
        plain = dataset.with_format(None)  # without a transform, which may want other columns
        ids, environment_names = ids_of(plain, environment_column, "environment")
        columns = {"environment": torch.from_numpy(ids)}
        labels, names = _labels(plain)
        if labels is not None:
            columns["labels"] = labels
        self._keep(columns, names, environment_names, None, None, None)

    def __getitems__(self, indices: Sequence[int]) -> Any:
        index = torch.as_tensor(indices, dtype=torch.long).tolist()
        rows = self.dataset.__getitems__(index)
        known = {"environment": self.environments[index].tolist()}
        if self._renamed is not None:
            known[self._renamed] = self.labels[index].tolist()
        found = []
        for number, row in enumerate(rows):
            shown = {name: value for name, value in row.items() if name != self.environment_column}
            found.append(shown | {name: values[number] for name, values in known.items()})
        return found

    def inputs(self, rows: Sequence[int] | Tensor) -> Any:
        """The columns of these rows as the table gives them, its transform included."""
        batch = self.dataset[torch.as_tensor(rows, dtype=torch.long).tolist()]
        targets = {self.environment_column, *LABELS}
        return {name: values for name, values in batch.items() if name not in targets}

    def select(self, indices: Sequence[int] | Tensor) -> EnvironmentDataset:
        chosen = super().select(indices)
        assert isinstance(chosen, EnvironmentRows)
        chosen.dataset = self.dataset.select(torch.as_tensor(indices, dtype=torch.long).tolist())
        return chosen

    def with_labels(self, labels: Tensor, names: Sequence[str]) -> EnvironmentDataset:
        changed = super().with_labels(labels, names)
        assert isinstance(changed, EnvironmentRows)
        changed._renamed = next(name for name in LABELS if name in self.dataset.column_names)
        return changed

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]


def _labels(dataset: HFDataset) -> tuple[Tensor | None, list[str]]:
    """The labels as a collator will find them, and their names; None where there are none, or no numbers."""
    column = next((name for name in LABELS if name in dataset.column_names), None)
    if column is None or len(dataset) == 0:
        return None, []
    first = dataset[0][column]
    if isinstance(first, list) and first and all(isinstance(value, float) for value in first):
        return _several(dataset, column)
    if not isinstance(first, int | float):
        return None, []
    labels = torch.tensor(dataset[column][:])
    if isinstance(dataset.features[column], ClassLabel):
        return labels, list(dataset.features[column].names)
    return labels, [] if labels.is_floating_point() else [str(n) for n in range(int(labels.max()) + 1)]


def _several(dataset: HFDataset, column: str) -> tuple[Tensor, list[str]]:
    """Lists of floats, which transformers takes as 0 and 1 of each label, as float [N, L], called by
    position."""
    values = dataset[column][:]
    widths = {len(row) for row in values}
    if len(widths) > 1:
        raise ValueError(
            f"Column {column!r} holds lists of {min(widths)} to {max(widths)} floats: several labels a row "
            "are as many in every row, 0.0 or 1.0 each."
        )
    return torch.tensor(values), [str(number) for number in range(widths.pop())]
