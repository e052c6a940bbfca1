"""Files that are either the old ones or whole new ones."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from .disk import DiskFullError, is_disk_full, told_full

PARTIAL_FOLDER = ".partial"


@contextmanager
def all_or_nothing(folder: Path, last: str, needed: int | None = None) -> Iterator[Path]:
    """A folder to write files into, which move to `folder` at the end, the one named `last` after the others.

    When anything fails on the way, `folder` keeps the files that it had. Raises `OSError` when they cannot be
    written, of a full disk `DiskFullError`; `needed`: about how many bytes these are.
    """
    partial = folder / PARTIAL_FOLDER
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        for file in sorted(partial.iterdir(), key=lambda file: (file.name == last, file.name)):
            os.replace(file, folder / file.name)
    except Exception as error:
        if is_disk_full(error):
            shutil.rmtree(partial, ignore_errors=True)
            raise DiskFullError(
                f"{told_full(error, folder, needed)} The folder keeps the files that it had."
            ) from error
        if isinstance(error, (OSError, SafetensorError)):
            kept = "which keeps the files that it had"
            raise OSError(f"Could not save to {folder}, {kept}: {error}") from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_text(file: Path, text: str) -> None:
    """Write a text file in one move."""
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, file)


@contextmanager
def replaced_folder(folder: Path, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """An empty folder to write into, which takes the place of `folder` at the end, in one move.

    Until then, whatever happens, `folder` is the old one. Of the old folder's files go those that `is_ours`
    (given their path in it) says; all others, also ones that come while this works, are in the new one too.
    What a killed process left beside the folder is put right by the next one.

    Raises `ValueError` when a file that is not ours has the name of a new one, and `OSError` when the folder
    cannot be replaced: it is then as it was.
    """
    folder = folder.resolve()
    if Path.cwd().is_relative_to(folder):
        raise ValueError(f"{folder} is the working folder, or around it: run this from outside it.")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, not a folder: choose another name.")
    new, old = _beside(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    put_right(folder)
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        _keep_others(folder, new, is_ours, refuse=True)
        if folder.exists():
            shutil.copymode(folder, new)
        if not folder.exists():
            os.replace(new, folder)
        elif _exchange(new, folder):
            _keep_others(new, folder, is_ours)
        else:
            os.replace(folder, old)
            os.replace(new, folder)
            _keep_others(old, folder, is_ours)
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def put_right(folder: Path) -> None:
    """Bring back the folder that `replaced_folder` had moved away when it was killed, on a file system where
    that takes two moves."""
    _, old = _beside(folder.resolve())
    if old.exists() and not folder.exists():
        os.replace(old, folder)


def _beside(folder: Path) -> tuple[Path, Path]:
    """Where the new folder is written, and where the old one waits."""
    short = os.fsdecode(os.fsencode(folder.name)[:200])
    return folder.with_name(f".{short}.new-build"), folder.with_name(f".{short}.old-build")


def _keep_others(source: Path, target: Path, is_ours: Callable[[Path], bool], refuse: bool = False) -> None:
    """Link the files that are not ours into another folder, where they are not there already."""
    for parent, folders, files in os.walk(source):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in [*files, *links]:
            inside = (Path(parent) / name).relative_to(source)
            there = target / inside
            if is_ours(inside):
                continue
            if os.path.lexists(there):
                if refuse:
                    raise ValueError(
                        f"{source / inside} is not a file of an earlier build, and a new one would take its "
                        "name: move it away, or choose another folder."
                    )
                continue
            there.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source / inside, there, follow_symlinks=False)
            except OSError:  # a file system without links
                shutil.copy2(source / inside, there, follow_symlinks=False)
        if not (folders or files) and Path(parent) != source:
            (target / Path(parent).relative_to(source)).mkdir(parents=True, exist_ok=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step of the file system. False where it has none."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0
