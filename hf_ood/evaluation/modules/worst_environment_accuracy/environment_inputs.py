"""Class ids, environments and probabilities as the modules take them; anything else is refused by name.

This file travels with the `evaluate` module beside it, so it imports nothing from `hf_ood`, which imports it.
Both modules have the same copy.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, TypeAlias

import numpy as np

Environment: TypeAlias = int | float | str
SUM_TOLERANCE = 1e-2  # probabilities in bfloat16 add up to 1 this well


def checked_batch(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of one length as they are collected: class ids as integers, each environment as the JSON of it.

    JSON, because a column of one Arrow type would cut 0.2 to 0, or read the name "01" as the id 1. Raises
    `ValueError` for what cannot be taken as it is.
    """
    require_same_length({name: values for name, values in columns.items() if values is not None})
    kept = dict(columns)
    for name in ("predictions", "references"):
        if columns.get(name) is not None:
            kept[name] = class_ids(columns[name], name)
    if columns.get("environments") is not None:
        kept["environments"] = [json.dumps(value) for value in environment_values(columns["environments"])]
    if columns.get("probabilities") is not None:
        kept["probabilities"] = probability_rows(columns["probabilities"])
    return kept


def collected_environments(stored: Iterable[str]) -> list[Environment]:
    """The environments of all the batches that `checked_batch` prepared."""
    return environment_values([json.loads(value) for value in stored])


def require_same_length(columns: Mapping[str, Sized]) -> None:
    """Raise `ValueError` when columns differ in length, or have no row."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{count:,} {name}" for name, count in lengths.items())
        raise ValueError(f"There must be one of each for every sample, but there are {told}.")
    if not any(lengths.values()):
        raise ValueError(f"There is no sample: {', '.join(lengths)} are empty.")


def class_ids(values: Any, name: str, count: int | None = None) -> np.ndarray:
    """Class ids -> int64 [N]. Raises `ValueError` for anything but whole numbers from 0 (up to `count`)."""
    found = np.asarray(values)
    if found.ndim != 1 or found.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be one class id a sample, whole numbers from 0, not {_first(found)!r}: take the "
            "argmax of scores, and number class names."
        )
    wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0) & (found == np.floor(found))))
    if len(wrong):
        raise ValueError(
            f"{name}[{wrong[0]}] is {found[wrong[0]]}, but class ids are whole numbers from 0: leave out "
            f"samples without a class ({len(wrong):,} here)."
        )
    if count is not None and len(over := np.flatnonzero(found >= count)):
        raise ValueError(
            f"{name}[{over[0]}] is {found[over[0]]}, but there are {count} classes, 0 to {count - 1}."
        )
    return found.astype(np.int64)


def environment_values(values: Any) -> list[Environment]:
    """Environments as Python's own numbers or strings. Raises `ValueError` for one that is missing or not
    finite, and for numbers beside strings."""
    found = [value.item() if isinstance(value, np.generic) else value for value in _items(values)]
    for row, value in enumerate(found):
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(
                f"environments[{row}] is {value}: a sample without an environment cannot be counted. Leave "
                "it out, or name the environment 'unknown'."
            )
        if not isinstance(value, (bool, int, float, str)):
            raise ValueError(f"environments[{row}] is {value!r}, but an environment is a number or a string.")
    if len({isinstance(value, str) for value in found}) > 1:
        raise ValueError("environments are numbers and strings in one: make all of them strings.")
    return found


def environment_ids(
    environments: Sequence[Environment], names: Sequence[str] | None = None
) -> tuple[np.ndarray, list[str]]:
    """Each sample's position in the sorted environments, int64 [N], and their names [E].

    `names`: the names of ids, which the environments then are. Raises `ValueError` for an id without a name,
    and for a name that stands twice.
    """
    present = sorted(set(environments))
    position = {value: number for number, value in enumerate(present)}
    ids = np.array([position[value] for value in environments], np.int64)
    if names is None:
        return ids, [str(value) for value in present]
    require_distinct(names)
    if strings := [value for value in present if isinstance(value, str)]:
        raise ValueError(
            f"environment_names are the names of ids, but the environments are names already ({strings[0]!r}"
            "): leave environment_names out."
        )
    require_named(np.array(present), len(names))
    return ids, [str(names[int(value)]) for value in present]


def require_named(ids: np.ndarray, count: int) -> None:
    """Raise `ValueError` when an environment's id is no position in a list of `count` names."""
    if ids.dtype.kind not in "biuf":
        raise ValueError(f"Environments must be ids, whole numbers from 0, not {_first(ids)!r}.")
    wrong = ids[~((ids >= 0) & (ids < count) & (ids == np.floor(ids)))]
    if len(wrong):
        raise ValueError(
            f"Environment id {wrong[0]} has no name: there are {count} names, of the ids 0 to {count - 1}. "
            "Give all names, or the environments themselves in place of ids."
        )


def require_distinct(names: Sequence[str]) -> None:
    """Raise `ValueError` when a name stands twice: one environment's rows would replace the other's."""
    seen: dict[str, int] = {}
    for number, name in enumerate(map(str, names)):
        if name in seen:
            raise ValueError(
                f"The ids {seen[name]} and {number} have one name, {name!r}: give each environment its own, "
                "or the same id where they are one."
            )
        seen[name] = number


def probability_rows(values: Any, references: Any = None, predictions: Any = None) -> np.ndarray:
    """Class probabilities -> float64 [N, C].

    With values below zero they are logits or log-probabilities, which a warning says: their softmax is taken.
    Raises `ValueError` for any other row that does not lie in 0..1 and add up to 1 (percentages, scores of
    independent classes), and where a class id has no column.
    """
    try:
        found = np.asarray(_items(values), np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"probabilities must be rows of one length, a number for each class: {error}"
        ) from error
    if found.ndim != 2:
        raise ValueError(
            f"probabilities must be [samples, classes], not of shape {list(found.shape)}: of two classes "
            "give both."
        )
    if not np.isnan(found).any() and (found < -SUM_TOLERANCE).any():
        warnings.warn(
            "probabilities holds values below zero, so logits or log-probabilities: their softmax is taken.",
            stacklevel=2,
        )
        found = _softmax(found)
    wrong = np.flatnonzero(
        ~((found <= 1 + SUM_TOLERANCE).all(1) & (np.abs(found.sum(1) - 1) <= SUM_TOLERANCE))
    )
    if len(wrong):
        row = ", ".join(f"{value:.4g}" for value in found[wrong[0]][:6])
        more = ", ..." if found.shape[1] > 6 else ""
        raise ValueError(
            f"probabilities[{wrong[0]}] = [{row}{more}] must lie in 0..1 and add up to 1 ({len(wrong):,} "
            "rows do not): give the softmax of logits, or divide percentages by 100."
        )
    for name, ids in (("references", references), ("predictions", predictions)):
        if ids is not None:
            class_ids(ids, name, found.shape[1])
    return np.clip(found, 0, 1)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _items(values: Any) -> Any:
    """The entries of a list, an array, a tensor or a column."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values  # numpy has no bfloat16
    if hasattr(values, "to_numpy"):
        return values.to_numpy()
    return values if isinstance(values, (list, tuple)) else np.asarray(values)


def _first(found: np.ndarray) -> Any:
    return found.reshape(-1)[0] if found.size else found
