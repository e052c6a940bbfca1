"""What splits are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev", "development"),
    "test": ("test", "testing"),
}
SHARD = r"-\d{5}-of-\d{5}(-[0-9a-f]+)?$"
T = TypeVar("T")


def canonical_split(name: str) -> str | None:
    """`train`, `validation` or `test`, for a name that means one as a whole (`Val`, but not `val-thorens`);
    None otherwise."""
    word = name.strip().lower()
    return next((split for split, words in WORDS.items() if word in words), None)


def split_of_stem(stem: str) -> str | None:
    """The split that a file's name means: `train`, `test-00000-of-00002`."""
    return canonical_split(re.sub(SHARD, "", stem))


def with_canonical_names(splits: Mapping[str, T]) -> dict[str, T]:
    """The splits by the names that they mean. Raises `ValueError` where two mean one."""
    meant: dict[str, str] = {}
    for split in map(str, splits):
        name = canonical_split(split) or split
        if name in meant:
            raise ValueError(
                f"The splits {meant[name]!r} and {split!r} both mean {name}: leave one out (--ignore_splits "
                f"{split}), or rename it."
            )
        meant[name] = split
    return {name: splits[split] for name, split in meant.items()}


def without(splits: Mapping[str, T], ignored: Iterable[str]) -> dict[str, T]:
    """The splits but for those that are to be ignored. Raises `ValueError` for one that is not there."""
    left = dict(splits)
    for name in ignored:
        if name not in left:
            raise ValueError(
                f"There is no split {name!r} to ignore: there are {', '.join(map(str, splits))}."
            )
        del left[name]
    return left
