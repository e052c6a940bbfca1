"""What went wrong with a run, in one message."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..failures import message_of


def describe(error: BaseException, folder: Path | None = None) -> str:
    """What went wrong, in one message; `folder`: where it was written to."""
    told = error.message if isinstance(error, UsageError) else None
    if told is None and isinstance(error, Exception):
        told = message_of(error, [folder] if folder else [])
    return told or f"{type(error).__name__}: {error}"
