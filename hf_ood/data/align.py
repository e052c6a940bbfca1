"""Identity by name: which class, or environment, of one thing is which of another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers.utils import logging

from ..errors import MOST_NAMED

logger = logging.get_logger(__name__)
BY_NAME, BY_ID = "by name", "by id"
BY_SPELLING = "by name, case and spaces aside"


class HasLabels(Protocol):
    """A data set whose rows have classes with names."""

    label_names: list[str]

    @property
    def has_labels(self) -> bool: ...

    @property
    def labels(self) -> Tensor: ...

    def with_labels(self, labels: Tensor, names: Sequence[str]) -> Any: ...


Labelled = TypeVar("Labelled", bound=HasLabels)


@dataclass(frozen=True)
class Match:
    """`ids`: for each of the names, int64 [C], its position among the known ones. `how`: `by name`, `by name,
    case and spaces aside`, or `by id`."""

    ids: np.ndarray
    how: str


def align(
    names: Sequence[str],
    known: Sequence[str],
    what: str = "classes",
    ours: str = "the dataset",
    theirs: str = "the model",
) -> Match:
    """Where each of `names` stands among `known`, which may hold more.

    By name; by name without case and surrounding spaces, where no two are then the same, which is said; by id
    where one side has only placeholders: `LABEL_0`, or numbers (a number is an id itself, in whatever order
    the numbers come). Raises `ValueError` with both lists otherwise, and for a name that stands for two ids.

    Example:
        >>> from hf_ood.data.align import align
        >>> align(["dog", "cat"], ["cat", "dog"]).ids.tolist()
        [1, 0]
    """
    _refuse_twice(names, what, ours)
    _refuse_twice([name for name in known if name in {*names}], what, theirs)
    found = _by_name(names, known)
    if found is not None:
        return Match(found, BY_NAME)
    spelled, known_spelled = [spelling(name) for name in names], [spelling(name) for name in known]
    if len({*spelled}) == len(names) and len({*known_spelled}) == len(known):
        found = _by_name(spelled, known_spelled)
        if found is not None:
            pairs = [f"{name!r} is {known[at]!r}" for name, at in zip(names, found, strict=True)]
            logger.warning(
                f"The {what} of {ours} and of {theirs} are told apart by case or spaces only, and were "
                f"matched without: {listed(pairs)}."
            )
            return Match(found, BY_SPELLING)
    found = _by_id(names, known)
    if found is None:
        raise ValueError(
            f"The {what} of {ours} are not those of {theirs}. {ours[:1].upper()}{ours[1:]}: {listed(names)}. "
            f"{theirs[:1].upper()}{theirs[1:]}: {listed(known)}. They are matched by name: name the right "
            "column, or rename one of them (a model's are in its config.id2label)."
        )
    return Match(found, BY_ID)


def with_classes_of(dataset: Labelled, known: Sequence[str], ours: str, theirs: str) -> Labelled:
    """The same rows with the class ids of `known`, or with its labels [N, L] where samples have several,
    whatever the order of their own names. As it is where there are no names, or no classes. Raises
    `ValueError` as `align` does, and where labels are not as many."""
    names = dataset.label_names
    if not known or not names or not dataset.has_labels:
        return dataset
    several = dataset.labels.dim() == 2
    if dataset.labels.is_floating_point() and not several:
        return dataset
    if list(names) == list(known)[: None if several else len(names)]:
        return dataset
    ids = torch.from_numpy(align(names, known, "labels" if several else "classes", ours, theirs).ids)
    if not several:
        return dataset.with_labels(ids[dataset.labels], known)
    if len(names) < len(known):
        raise ValueError(
            f"The labels of {ours} are {listed(names)}, those of {theirs} {listed(known)}: each needs its "
            "column."
        )
    return dataset.with_labels(dataset.labels[:, ids.argsort()], known)


def _by_name(names: Sequence[str], known: Sequence[str]) -> np.ndarray | None:
    position = {name: number for number, name in enumerate(known)}
    if not all(name in position for name in names):
        return None
    return np.array([position[name] for name in names], np.int64)


def _by_id(names: Sequence[str], known: Sequence[str]) -> np.ndarray | None:
    """Positions where one side has numbers instead of names; None where that tells nothing."""
    ids, places = placeholders(names), placeholders(known)
    if ids is not None and places is not None:
        if _are_digits(names) and _are_digits(known):  # 0, 1, 2 are no 1, 2, 3
            return None
        at = {place: number for number, place in enumerate(places)}
        return np.array([at[number] for number in ids], np.int64) if {*ids} <= {*at} else None
    if ids is not None:
        return np.array(ids, np.int64) if max(ids, default=0) < len(known) else None
    if places is not None and len(names) == len(known):
        return np.argsort(places, kind="stable").astype(np.int64)
    return None


def placeholders(names: Sequence[str]) -> list[int] | None:
    """The ids that `LABEL_0`, `0` or `False` stand for; None where one of the names says something."""
    truths = {"false": 0, "true": 1}
    ids = [
        int(found[1]) if (found := re.fullmatch(r"(?:LABEL_)?(\d{1,9})", name)) else truths.get(name.lower())
        for name in names
    ]
    if any(number is None for number in ids) or len({*ids}) < len(ids):
        return None
    return [number for number in ids if number is not None]


def _are_digits(names: Sequence[str]) -> bool:
    return all(name.isdigit() for name in names)


def spelling(name: str) -> str:
    """What is left of a name without case and surrounding spaces."""
    return name.strip().casefold()


def refuse_similar(names: Sequence[str], what: str, where: str) -> None:
    """Raise `ValueError` where two of the names differ only in case or surrounding spaces."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(spelling(name), []).append(name)
    same = [repr(name) for group in kinds.values() if len(group) > 1 for name in group]
    if same:
        raise ValueError(
            f"{where} holds {len(names)} different {what}, {len(kinds)} without regard to case and spaces: "
            f"{listed(same)}. Did you mean the same? Write them alike; if they do differ, give them names of "
            "their own, or make the column a ClassLabel."
        )


def _refuse_twice(names: Sequence[str], what: str, owner: str) -> None:
    twice = (
        sorted({name for name in names if list(names).count(name) > 1}) if len({*names}) < len(names) else []
    )
    if twice:
        raise ValueError(f"Two {what} of {owner} have one name: {listed(twice)}. Rename one of them.")


def in_order(names: Sequence[str]) -> list[str]:
    """Digits in their numerical order, before other names in the alphabet's."""
    return sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
