"""One process for each run, trial or file, on machines that share a folder of runs."""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout


def acquire(file: Path) -> BaseFileLock | None:
    """Take the lock of a file, or return None while another process has it; `release` gives it back.

    The kernel keeps the lock: it ends with the process that has it, however that one ends.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file.with_name(f"{file.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock
