"""Environments reach a batch through any data collator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..data.collate import collate


@dataclass(frozen=True)
class EnvironmentCollator:
    """Calls `collator` on rows without their environment, and adds the environments, int64 [B], to the batch.

    The library's own `collate` takes the batch of an `EnvironmentDataset` as it is; every other collator gets
    what collators get everywhere, a list of rows.
    """

    collator: Callable[[Any], Any]

    def __call__(self, rows: Any) -> dict[str, Any]:
        if isinstance(rows, dict):
            batch = collate(rows)
            if self.collator is collate:
                return batch
            rows = [{name: values[i] for name, values in batch.items()} for i in range(len(rows["index"]))]
        environments = torch.tensor([int(row["environment"]) for row in rows])
        shown = [{name: value for name, value in row.items() if name != "environment"} for row in rows]
        return {**self.collator(shown), "environment": environments}
