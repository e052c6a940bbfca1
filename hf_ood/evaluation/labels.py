"""A data set's classes as a model's classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def map_labels(names: Sequence[str] | None, id2label: Mapping[int, str]) -> tuple[np.ndarray, str]:
    """The model's class id of each of the data set's class ids -> int64 [C], and how it was found.

    By name when the model knows every name (it may know more); by id when it knows none of them. `names` is
    None when the data set has ids only. Raises `ValueError` when neither is possible: it knows some names
    only, or the counts differ.
    """
    if names is None:
        return np.arange(len(id2label)), "by id"
    position = {name: number for number, name in id2label.items()}
    if all(name in position for name in names):
        return np.array([position[name] for name in names], dtype=np.int64), "by name"
    if len(names) == len(id2label) and not any(name in position for name in names):
        return np.arange(len(names)), "by id"
    unknown = [name for name in names if name not in position]
    raise ValueError(
        f"The dataset has {len(names)} classes ({_some(names)}), the model {len(id2label)} "
        f"({_some(list(id2label.values()))}), and the model does not know {_some(unknown)}: name the right "
        "label column, or rename the model's labels (config.id2label)."
    )


def _some(names: Sequence[str], limit: int = 8) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
