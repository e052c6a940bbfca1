"""Kills at random moments and damage in between, a few minutes of them; by hand longer: `chaos.py`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "chaos.py"


@pytest.mark.slow
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.nightly)])
def test_nothing_is_lost_whenever_it_is_killed(kills: int) -> None:
    """So many kills and more of every kind of method, half as many of a command with stages."""
    command = [sys.executable, SCRIPT, "--few", "--kills", str(kills)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    killed = re.search(r"^faults: .*\bkill (\d+)", done.stdout, re.MULTILINE)
    assert killed and int(killed[1]) >= 6 * kills + kills // 2  # six kinds of method, and a command
