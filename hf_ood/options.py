"""How every dataclass of this package declares an option: its default, the sentence that `--help` shows, and
where a sweep looks for it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Search:
    """The space of an option: `low` to `high`, evenly, or evenly in its logarithm; `source`: whose it is.

    `only_with`: another option of the same part and the value with which alone this one has an effect.
    """

    low: float
    high: float
    source: str
    log: bool = False
    only_with: tuple[str, Any] | None = None


@dataclass(frozen=True)
class Flag:
    """What holds for an option wherever it is given.

    `topic`: its heading in `--help`, if not that of the part it belongs to. `stages`: a stage of a run may
    change it. `resume`: a resumed run may differ in it, since it decides nothing about the results. `name`:
    that of the flag, where the field's own would not do. `aliases`: names that Hugging Face's scripts give
    it.
    """

    topic: str = ""
    stages: bool = True
    resume: bool = False
    name: str | None = None
    aliases: Sequence[str] = ()


def option(default: Any, help: str, search: Search | None = None, flag: Flag | None = None) -> Any:
    """A dataclass field; a list as default is copied for each instance."""
    metadata: dict[str, Any] = {"help": help}
    metadata |= {"search": search} if search else {}
    metadata |= {"flag": flag} if flag else {}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def refuse_not_finite(options: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a number that is not one, or infinite: it passes checks by comparison, and would
    train nothing."""
    for name, value in options.items():
        if (wrong := not_finite(value)) is not None:
            raise ValueError(f"{name}: {wrong} is not a finite number.")


def not_finite(value: Any) -> float | None:
    """The first number in a value, its lists and mappings, that is NaN or infinite."""
    if isinstance(value, float):
        return None if math.isfinite(value) else value
    inner: Iterable[Any] = value.values() if isinstance(value, Mapping) else ()
    if isinstance(value, (list, tuple)):
        inner = value
    return next((wrong for part in inner if (wrong := not_finite(part)) is not None), None)
