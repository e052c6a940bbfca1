"""A full disk, which every library reports in words of its own."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

FULL = (errno.ENOSPC, errno.EDQUOT)
IN_WORDS = (
    "no space left on device",  # safetensors and Arrow, which keep the system's words
    "disk quota exceeded",
    "database or disk is full",  # SQLite
    "pytorchstreamwriter failed",  # torch, which does not say why
    "file write failed",
    "unexpected pos",
)
LIMIT_IN_WORDS = ("file too large", "filesize limit")


class DiskFullError(OSError):
    """What was written has no room; the message says where, how much there is, and the way on."""


@contextmanager
def room_in(
    folder: Path | str, needed: int | None = None, remove: Path | str | None = None
) -> Iterator[None]:
    """Within, whatever a library raises on a full disk becomes a `DiskFullError` that names `folder`.

    `needed`: about how many bytes are written. `remove`: what is half written then, and goes.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        if not is_disk_full(error):
            raise
        if remove is not None:
            shutil.rmtree(remove, ignore_errors=True)
        raise DiskFullError(told_full(error, folder, needed)) from error


def is_disk_full(error: BaseException) -> bool:
    """Whether it was for want of room, whoever noticed."""
    return any(_has_no_room(one) or _is_over_limit(one) for one in causes(error))


def causes(error: BaseException | None) -> list[BaseException]:
    """An exception and those that it came from, the first one last."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _has_no_room(error: BaseException) -> bool:
    return getattr(error, "errno", None) in FULL or _says(error, IN_WORDS)


def _is_over_limit(error: BaseException) -> bool:
    return getattr(error, "errno", None) == errno.EFBIG or _says(error, LIMIT_IN_WORDS)


def _says(error: BaseException, words: Sequence[str]) -> bool:
    if isinstance(error, (ValueError, SystemExit)):
        return False  # they speak of what was given
    text = str(error).lower()
    return any(word in text for word in words)


def told_full(
    error: BaseException,
    folder: Path | str | None = None,
    needed: int | None = None,
    places: Sequence[Path | str] = (),
) -> str:
    """The message: `disk full while writing runs/a: 3.1 MB free, about 40 MB needed; free space and ...`.

    `folder`: what was being written; without it, the file that the error names, or else the one of `places`
    whose disk is the fullest.
    """
    chain = causes(error)
    told = next((one for one in chain if isinstance(one, DiskFullError)), None)
    if told is not None:
        return str(told)
    named = [str(one.filename) for one in chain if isinstance(one, OSError) and one.filename]
    where = str(folder) if folder else named[0] if named else _fullest(places or written_everywhere())
    vague = not any(getattr(one, "errno", None) in FULL or _says(one, IN_WORDS[:3]) for one in chain)
    limited = any(map(_is_over_limit, chain)) or (vague and _shell_limits_files())
    what = "disk full"
    if limited:
        what = "a file would be larger than this shell (ulimit -f) or the file system allows"
    about = f", about {megabytes(needed)} needed" if needed else ""
    do = "raise the limit" if limited else "free space"
    return f"{what} while writing {where}: {megabytes(_free(where))} free{about}; {do} and {_repeat(where)}."


def _shell_limits_files() -> bool:
    return resource is not None and resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


def written_everywhere() -> list[str]:
    """Where commands write besides what they were told: here, temporary files, the caches of Hugging Face."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    caches = [os.environ.get(name) for name in ("HF_DATASETS_CACHE", "HF_HUB_CACHE")]
    return [".", tempfile.gettempdir(), str(home), *(cache for cache in caches if cache)]


def _fullest(places: Sequence[Path | str]) -> str:
    return str(min(places, key=_free))


def _free(place: Path | str) -> int:
    """Bytes on the disk of a path, which need not be there."""
    path = Path(place).absolute()
    there = next((one for one in (path, *path.parents) if one.exists()), Path("/"))
    return shutil.disk_usage(there).free


def megabytes(size: int) -> str:
    amount = size / 1e6
    return f"{amount / 1000:.1f} GB" if amount >= 1000 else f"{amount:.{0 if amount >= 10 else 1}f} MB"


def _repeat(where: str) -> str:
    """How to go on: from a checkpoint, where there is one beside what was being written."""
    path = Path(where)
    checkpoints = [
        file for folder in (path, path.parent) for file in folder.glob("checkpoint-*/manifest.json")
    ]
    return "repeat the command" + (" with --resume_from_checkpoint true" if checkpoints else "")
