"""Results of runs that were carried out together: a line each, in one file for those that were."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..evaluation.results import told
from ..files import replace_text
from ..json_files import json_text

FOLDER = "heads"  # below the folder of all runs
SETTLED = 10**8  # nanoseconds after which a folder's time will not hide a change
RUN, RESULTS, MADE_ON = "run", "results", "made_on"


@dataclass
class _Index:
    """What the files of one folder hold: the lines of runs, by the name of the run's folder, and the versions
    that each was made on. Lines are read when they are asked for."""

    changed: int = -1
    read: set[str] = field(default_factory=set)
    lines: dict[str, str] = field(default_factory=dict)
    made_on: dict[str, dict[str, str]] = field(default_factory=dict)


_INDICES: dict[Path, _Index] = {}


def write_results(
    root: Path, results: Mapping[str, Mapping[str, Any]], made_on: Mapping[str, str]
) -> Path | None:
    """Keep results by the names of their runs' folders, in one file that appears in one move."""
    if not results:
        return None
    text = content(results, made_on)
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{hashlib.sha256(' '.join(sorted(results)).encode()).hexdigest()[:16]}.jsonl"
    replace_text(file, text)
    return file


def content(results: Mapping[str, Mapping[str, Any]], made_on: Mapping[str, str]) -> str:
    """The text of such a file."""
    head = json_text({MADE_ON: dict(made_on)})
    lines = (
        f'{{"{RUN}": {json.dumps(name)}, "{RESULTS}": {json_text(told(one))}}}'
        for name, one in results.items()
    )
    return "\n".join([head, *lines]) + "\n"


def read_results(root: Path, name: str) -> dict[str, Any] | None:
    """The results of the run whose folder would be called `name`; None where it was not carried out together
    with others. Raises `ValueError` for a damaged line."""
    line = _index(root).lines.get(name)
    if line is None:
        return None
    try:
        return json.loads(line)[RESULTS]
    except (ValueError, KeyError) as error:
        raise ValueError(_damaged(root / FOLDER, f"what it says of {name}: {error}")) from error


def has_results(root: Path, name: str) -> bool:
    return name in _index(root).lines


def versions_of(root: Path, name: str) -> dict[str, str]:
    """The versions and code that the run was made on; empty where it was not carried out together."""
    return _index(root).made_on.get(name, {})


def _index(root: Path) -> _Index:
    folder = root.resolve() / FOLDER
    index = _INDICES.setdefault(folder, _Index())
    try:
        changed = folder.stat().st_mtime_ns
    except FileNotFoundError:
        _INDICES[folder] = _Index()
        return _INDICES[folder]
    if changed != index.changed:
        # What comes within the same tick of the clock must not be missed.
        index.changed = changed if time.time_ns() - changed > SETTLED else -1
        files = {file.name: file for file in folder.glob("*.jsonl")}
        if index.read - files.keys():  # taken away, so that their runs are carried out again
            index = _INDICES[folder] = _Index(index.changed)
        for name in files.keys() - index.read:
            _read(files[name], index)
    return index


def _read(file: Path, index: _Index) -> None:
    try:
        head, *lines = file.read_text(encoding="utf-8").splitlines()
        made_on = json.loads(head)[MADE_ON]
        names = [_name(line) for line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(_damaged(file, str(error))) from error
    index.lines |= dict(zip(names, lines, strict=True))
    index.made_on |= dict.fromkeys(names, made_on)
    index.read.add(file.name)


def _name(line: str) -> str:
    """The run that a line is of, without reading all of it. Raises `ValueError` for no such line."""
    start = f'{{"{RUN}": "'
    if not line.startswith(start) or not line.endswith("}"):
        raise ValueError(f"a line that begins with {line[:40]!r}")
    return line[len(start) : line.index('"', len(start))]


def _damaged(file: Path, reason: str) -> str:
    return f"{file} is damaged ({reason}): delete it, and its runs are carried out again."
