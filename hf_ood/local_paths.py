"""Paths of this machine, which are nobody else's business."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .passwords import without_passwords

# Where an absolute path begins: in a home, on a drive, on a server, at the root. Not in an address (https://...)
# and not inside a relative path.
_START = r"(?<![\w/\\:.~}})\]%-])(?:file://)?(?:~[\w.-]*[\\/]|[A-Za-z]:[\\/]|\\\\[\w.-]|/(?=[^\s/]))"
_PATH = re.compile(rf"""(?P<quote>['"])(?P<quoted>{_START}[^'"\n]*)(?P=quote)|{_START}[^\s"'`<>|,;()\[\]]*""")
_ROOTS = ("home", "Users", "root", "mnt", "media", "tmp", "data", "private", "Volumes")


def is_absolute(text: str) -> bool:
    """Whether the text as a whole is an absolute path of this machine, or of another that has homes or
    drives. `/x` may be a name; `/x/y` is one, where there is no folder `/x`."""
    return bool(re.match(_START, text)) and "\n" not in text and _names_a_root(text)


def _names_a_root(path: str) -> bool:
    path = path.removeprefix("file://")
    if not path.startswith("/"):
        return True
    root, _, inner = path.strip("/").partition("/")
    return bool(inner) and (root in _ROOTS or Path(f"/{root}").is_dir())


def without_local_paths(value: Any) -> Any:
    """Strings, also those inside mappings and lists, with base names in place of absolute paths; what lies in
    the working folder is told from there. Addresses, but for their passwords, relative paths and the keys of
    mappings stay."""
    if isinstance(value, str):
        value = without_passwords(value)
        if is_absolute(value) and os.path.exists(value):  # with spaces and all
            return _told(value)
        return _PATH.sub(_told_match, value)
    if isinstance(value, Mapping):
        return {key: without_local_paths(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_local_paths(inner) for inner in value]
    return value


def _told_match(found: re.Match[str]) -> str:
    path, quote = found["quoted"] or found[0], found["quote"] or ""
    return f"{quote}{_told(path)}{quote}" if _names_a_root(path) else found[0]


def _told(path: str) -> str:
    inside = Path(path.removeprefix("file://"))
    if inside.is_absolute() and inside.is_relative_to(Path.cwd()) and inside != Path.cwd():
        return inside.relative_to(Path.cwd()).as_posix()
    return base_name(path)


def base_name(path: str) -> str:
    """The last part of a path, with whichever separators it was written."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or path
