"""Commands in processes of their own, as a user starts them, with faults around them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def hf_ood(
    *flags: object, limit_blocks: int | None = None, **environment: str
) -> subprocess.CompletedProcess:
    """`hf-ood ...`. `limit_blocks`: of `ulimit -f`."""
    command = [sys.executable, "-m", "hf_ood", *map(str, flags)]
    if limit_blocks is not None:
        command = ["bash", "-c", f'ulimit -f {limit_blocks}; exec "$@"', "bash", *command]
    kept = {name: value for name, value in os.environ.items() if name != "HF_OOD_DEBUG"}
    given = {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, env=given, cwd=ROOT, capture_output=True, text=True, timeout=300)


def message_of(finished: subprocess.CompletedProcess[str], statuses: Sequence[int] = (1, 2)) -> str:
    """What the command says at its end; fails for a traceback and for another exit status."""
    told = finished.stderr + finished.stdout
    assert finished.returncode in statuses, told
    assert "Traceback" not in told, told
    return finished.stderr[finished.stderr.rindex("error: ") :].strip()


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A real file system of this size at `folder`; skips where it may not be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
