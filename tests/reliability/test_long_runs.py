"""Many steps take no more memory than few, and many checkpoints no more room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "long_run.py"


def long_run(*arguments: object) -> list[list[str]]:
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [line.split() for line in done.stdout.splitlines() if not line.startswith("{")]


@pytest.mark.nightly
def test_memory_stays_flat_over_20000_steps(tmp_path: Path) -> None:
    *watched, kept = long_run(tmp_path, 20_000, 500)
    memory = {int(step): float(megabytes) for step, megabytes in watched}
    assert max(memory.values()) - memory[2000] < 10  # what the log of the training itself takes
    assert len(kept) == 3 and kept[-1] == "checkpoint-20000"


@pytest.mark.nightly
def test_1000_checkpoints_rotate_whatever_the_clock_says(tmp_path: Path) -> None:
    *_, kept = long_run(tmp_path, 2000, 2, "jumps")
    assert len(kept) == 3 and "checkpoint-2000" in kept  # the best is the other
