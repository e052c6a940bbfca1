"""Environments of several columns, asked for by some of them: `site=fonts` is every combination with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from .splits import Protocol


def matching(asked: str, names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The environments of `names` that `asked` stands for: itself, or all combinations of the columns' values
    that agree with the values it gives. Where there are none it is returned as it is, so that whoever looks
    it up says so.

    Example: `matching("site=fonts", ["site=fonts,scanner=1", "site=clips,scanner=1"], ["site", "scanner"])`
    """
    wanted = _values(asked, columns)
    if asked in names or not wanted or len(columns) < 2:
        return [asked]
    found = [name for name in names if wanted.items() <= _values(name, columns).items()]
    return found or [asked]


def all_matching(asked: Sequence[str], names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Those of all that is asked for, each once."""
    return list(dict.fromkeys(name for one in asked for name in matching(one, names, columns)))


def with_combinations(protocol: Protocol, names: Sequence[str], columns: Sequence[str]) -> Protocol:
    """The protocol with whole environments in place of what stands for several of them."""

    def expand(asked: Sequence[str] | None) -> list[str] | None:
        return None if asked is None else all_matching(asked, names, columns)

    validation = protocol.validation
    return replace(
        protocol,
        train_environments=expand(protocol.train_environments),
        test_environments=expand(protocol.test_environments),
        validation=validation if isinstance(validation, float) else expand(validation),
    )


def _values(text: str, columns: Sequence[str]) -> dict[str, str]:
    """`a=1,b=2` -> `{"a": "1", "b": "2"}`, for the given columns; values may hold commas. Empty where the
    text does not begin with a column."""
    either = "|".join(map(re.escape, columns))
    if not re.match(f"(?:{either})=", text):
        return {}
    parts = re.split(f",(?=(?:{either})=)", text)
    return dict(part.split("=", 1) for part in parts)
