"""How many cores this process may use."""

from __future__ import annotations

import os


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores_per_process() -> int:
    """This machine's cores, shared out evenly among its processes."""
    return max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
