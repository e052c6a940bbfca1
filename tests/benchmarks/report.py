"""Interleaved measurements, and how they are shown beside their targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Target:
    """What a figure should be. It is said and never asserted: a busy machine is no failure."""

    bound: float
    at_least: bool = False

    def met(self, found: float) -> bool:
        return found >= self.bound if self.at_least else found <= self.bound

    def verdict(self, found: float) -> str:
        rule = "at least" if self.at_least else "at most"
        return f"{rule} {self.bound:,g}: {'met' if self.met(found) else 'missed'}"


def at_most(bound: float) -> Target:
    return Target(bound)


def at_least(bound: float) -> Target:
    return Target(bound, at_least=True)


def interleaved(contenders: Mapping[str, Callable[[], Measured]], rounds: int) -> dict[str, list[Measured]]:
    """Run the contenders in turn, A B A B ..., as the speed of a machine drifts -> their figures by round."""
    found: dict[str, list[Measured]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            found[name].append(measure())
    return found


def ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """These over those, round by round."""
    return [this / that for this, that in zip(these, those, strict=True)]


def milliseconds_more(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """These less those, round by round, from seconds."""
    return [1000 * (this - that) for this, that in zip(these, those, strict=True)]


def heading(title: str) -> None:
    print(f"\n{title}")


def show(label: str, values: Sequence[float], unit: str = "", target: Target | None = None) -> None:
    """One line: the median over rounds, the extremes, and whether the median meets the target."""
    middle = statistics.median(values)
    spread = f"({_number(min(values))} .. {_number(max(values))})"
    verdict = target.verdict(middle) if target else ""
    line = f"  {label:44s} {_number(middle):>9s} {unit:9s} {spread:22s} {verdict}"
    print(line.rstrip(), flush=True)


def show_steps(seconds: Mapping[str, Sequence[float]]) -> None:
    for name, found in seconds.items():
        show(name, [1000 * value for value in found], "ms/step")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"
