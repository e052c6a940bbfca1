"""Numbers that carry where they are from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ...evaluation.modules.environment_report.environment_measures import MIN_COUNT

TOO_FEW = "too few to say"


@dataclass(frozen=True)
class Number:
    """`value` as `text`; `source` leads to it: `forecast.json/trials/0/truths/accuracy`, or says what it was
    computed from. On a page it is a `data` element with both, in Markdown its text."""

    value: float
    text: str
    source: str

    def __html__(self) -> str:
        return f'<data value="{self.value!r}" title="{escape(self.source)}">{escape(self.text)}</data>'

    def __str__(self) -> str:
        return self.text


def share(value: float, source: str) -> Number:
    """0.8125 as `81.2 %`."""
    return Number(value, f"{100 * value:.1f} %", source)


def interval(ends: Sequence[float], source: str) -> list[Number]:
    """Both ends, in percent, which the second says."""
    low, high = ends
    return [Number(low, f"{100 * low:.1f}", f"{source}, low"), share(high, f"{source}, high")]


def count(value: int, source: str) -> Number:
    return Number(value, f"{value:,}", source)


def decimal(value: float, source: str) -> Number:
    """Two digits after the point."""
    return Number(value, f"{value:.2f}", source)


def points(value: float, source: str) -> Number:
    """A difference of shares, in points, with its sign."""
    return Number(value, f"{100 * value:+.1f}", source)


def is_few(samples: int) -> bool:
    """Whether so many samples are too few to say anything of a group."""
    return samples < MIN_COUNT


def at(values: Mapping[str, Any] | Sequence[Any], path: str) -> Any:
    """What a source leads to: `at(report, "trials/0/count")`."""
    found: Any = values
    for step in path.split("/"):
        found = found[int(step)] if isinstance(found, list) else found[step]
    return found
