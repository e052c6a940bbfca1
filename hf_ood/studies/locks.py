"""One process at a time does a run, however many share a folder of runs."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


def acquire(file: Path) -> IO[str] | None:
    """Lock a file, or return None while another process holds it. Closing the handle releases it.

    The kernel keeps the lock (flock): it ends with the process that holds it, however that one ends.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = file.open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle
