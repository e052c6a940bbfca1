"""What a study shows while it runs."""

from __future__ import annotations

import io
from collections.abc import Generator
from pathlib import Path

import pytest
from rich.console import Console

from hf_ood.experiments.dispatch import Ended, Event, Started, Waiting
from hf_ood.experiments.progress import duration, follow
from hf_ood.experiments.study import load_study


def shown(whole: Path, terminal: bool) -> tuple[str, list[str]]:
    first, second, third, fourth = load_study(whole / "recipes" / "small.yaml").runs("quick")

    def events() -> Generator[Event, None, None]:
        yield from (Started(first, 0), Started(second, 1), Waiting(third), Ended(first, 0))
        yield from (Started(fourth, 0), Ended(second, 1, "ValueError: [1, 2] is wrong"))
        yield from (Ended(third, None), Ended(fourth, 0))

    console = Console(file=io.StringIO(), force_terminal=terminal, width=150, highlight=False)
    failed = follow(events(), 4, whole / "runs", console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue(), failed


@pytest.mark.slow
def test_plain_lines_tell_what_ended_with_its_accuracy(whole: Path) -> None:
    text, failed = shown(whole, terminal=False)
    lines = text.splitlines()
    assert len(lines) == 5 and "small: 0.01, seed 1: another process" in lines[0]
    assert lines[1].startswith("[1/4] small: 0.01, seed 0: ") and "mean test accuracy" in lines[1]
    assert lines[2].startswith("[2/4] small: ERM, seed 0: failed, see ") and lines[2].endswith(".log")
    assert lines[3].endswith("done by another process")
    assert len(failed) == 1 and "[1, 2] is wrong (log: " in failed[0]


@pytest.mark.slow
def test_a_terminal_shows_every_slot_and_the_whole(whole: Path) -> None:
    text, _ = shown(whole, terminal=True)
    for expected in ("small: ERM, seed 1", "idle", "4/4", "[4/4] small: ERM, seed 1"):
        assert expected in text


def test_durations_are_readable() -> None:
    assert [duration(s) for s in (0.01, 41, 23 * 60, 12000)] == ["1 s", "41 s", "23 min", "3 h 20 min"]
