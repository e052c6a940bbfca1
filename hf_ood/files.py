"""Files that are either the old ones or whole new ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

PARTIAL_FOLDER = ".partial"


@contextmanager
def all_or_nothing(folder: Path, last: str) -> Iterator[Path]:
    """A folder to write files into, which move to `folder` at the end, the one named `last` after the others.

    When anything fails on the way, `folder` keeps the files that it had. Raises `OSError` when they cannot be
    written, on a full disk for instance.
    """
    partial = folder / PARTIAL_FOLDER
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in sorted(partial.iterdir(), key=lambda file: (file.name == last, file.name)):
            os.replace(file, folder / file.name)
    except (OSError, SafetensorError) as error:
        raise OSError(f"Could not save to {folder}, which keeps the files that it had: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_text(file: Path, text: str) -> None:
    """Write a text file in one move."""
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, file)
