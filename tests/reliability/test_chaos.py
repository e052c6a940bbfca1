"""Kills at random moments and damage in between, a few minutes of them; by hand longer: `chaos.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "chaos.py"


@pytest.mark.slow
def test_nothing_is_lost_whenever_it_is_killed() -> None:
    """Twenty kills and more of every kind of method, ten of a command with stages."""
    done = subprocess.run([sys.executable, SCRIPT, "--few", "--kills", "20"], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    assert "lost" in done.stdout and "kill 1" in done.stdout
