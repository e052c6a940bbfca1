"""What became of every row that was read, a line for each split."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import DatasetDict

MOST_NAMED = 8


def account(
    dataset: DatasetDict,
    labels: Mapping[str, np.ndarray],
    label_names: Sequence[str],
    environments: Mapping[str, np.ndarray],
    environment_names: Sequence[str],
    roles: Mapping[str, np.ndarray],
    bad: Mapping[int, str],
) -> list[str]:
    """For each split of the data set its files, rows, classes and environments, what its rows are used for,
    and those that are not used, and why.

    `labels`, `environments`: ids (labels also the other kinds of `Targets`) by split. `roles`: rows of each
    role, counted over all splits in their order.
    `bad`: rows that cannot be read.
    """
    lines, first = [], 0
    for split, data in dataset.items():
        last = first + len(data)
        used = {role: int(((rows >= first) & (rows < last)).sum()) for role, rows in roles.items()}
        part = [
            *files_told(data.info.description),
            f"{len(data):,} rows",
            targets_told(labels[split], label_names),
            f"environments {counted(environments[split], environment_names)}",
            "used for "
            + (", ".join(f"{role} {count:,}" for role, count in used.items() if count) or "nothing"),
        ]
        taken = np.zeros(len(data), bool)
        for rows in roles.values():
            taken[rows[(rows >= first) & (rows < last)] - first] = True
        if not taken.all():
            left = environments[split][~taken]
            part.append(f"not used {counted(left, environment_names)}: not among the environments asked for")
        skipped = sum(first <= row < last for row in bad)
        if skipped:
            part.append(f"skipped {skipped} that cannot be read")
        lines.append(f"{split}: {'; '.join(part)}")
        first = last
    return lines


def targets_told(values: np.ndarray, names: Sequence[str]) -> str:
    """`classes cat 20, dog 20`; of several labels how many rows have each; of numbers their range."""
    if values.ndim == 2:
        return f"labels {_told(values.sum(0).astype(np.int64), names)}"
    if not np.issubdtype(values.dtype, np.floating):
        return f"classes {counted(values, names)}"
    return f"{names[0]} {values.min():g} to {values.max():g}" if len(values) else names[0]


def counted(ids: np.ndarray, names: Sequence[str]) -> str:
    """`cat 20, dog 20`: the names that occur, with how often."""
    return _told(np.bincount(ids, minlength=len(names)), names)


def _told(counts: np.ndarray, names: Sequence[str]) -> str:
    told = [f"{name} {count:,}" for name, count in zip(names, counts, strict=True) if count]
    more = len(told) - MOST_NAMED
    return ", ".join(told[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def files_told(description: str | None) -> list[str]:
    """`48 of 50 files`, where reading left that as the description."""
    found = re.fullmatch(r"[\d,]+ of [\d,]+ files( .*)?", description or "")
    return [found[0]] if found else []
