"""What a saved folder holds: a list of its files with sizes and SHA-256, written last.

Every checkpoint and every run's folder has one. Whoever loads from the folder checks the files that it reads;
others may be added or edited.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from transformers.utils import logging

from .data.features import FEATURES_FILE
from .files import replace_text

logger = logging.get_logger(__name__)
MANIFEST_FILE = "manifest.json"
# What a model is loaded from: weights, configuration and processor.
LOADED = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "preprocessor_config.json",
    "processor_config.json",
    FEATURES_FILE,
    "tokenizer*.json",
    *("special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model"),  # slow tokenizers
)
# What tells a folder of this program that has no manifest from a folder with a model of anyone.
OURS = (MANIFEST_FILE, "arguments.yaml", "trainer_state.json")


def write_manifest(folder: Path, about: Mapping[str, Any]) -> None:
    """Name every file of the folder, beside what else there is to say `about` it, in one move."""
    files = {
        str(file.relative_to(folder)): {"size": file.stat().st_size, "sha256": _sha256(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST_FILE
    }
    replace_text(folder / MANIFEST_FILE, json.dumps({**about, "files": files}, indent=1, allow_nan=False))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What `write_manifest` wrote; None where there is none. Raises `ValueError` for a damaged one."""
    file = folder / MANIFEST_FILE
    if not file.exists():
        return None
    manifest = json.loads(file.read_text())
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ValueError("it names no files")
    return manifest


def find_changes(folder: Path, patterns: Iterable[str] = ("*",)) -> str | None:
    """What is wrong with the manifest or with the files that it names, or None. Only files that match one of
    `patterns` are looked at."""
    try:
        manifest = read_manifest(folder)
    except ValueError as error:
        return f"{folder / MANIFEST_FILE} is damaged ({error})"
    for name, entry in manifest["files"].items() if manifest else ():
        file = folder / name
        if not any(fnmatch(name, pattern) for pattern in patterns):
            continue
        if not file.is_file():
            return f"{file} is missing"
        if file.stat().st_size != entry["size"]:
            return f"{file} is damaged ({file.stat().st_size} of {entry['size']} bytes)"
        if _sha256(file) != entry["sha256"]:
            return f"{file} is damaged (its bytes are not those that were written)"
    return None


def is_whole(folder: Path) -> bool:
    """Whether it was written to its end and holds all that it held then."""
    return (folder / MANIFEST_FILE).is_file() and find_changes(folder) is None


def refuse_damaged_model(model: str | Path) -> None:
    """Raise `ValueError` for a folder whose model is not what was saved there, naming the file and the newest
    whole checkpoint. Of a folder from before manifests it is said that nobody knows; a Hub id has none."""
    folder = Path(model)
    if not folder.is_dir():
        return
    if damage := find_changes(folder, LOADED):
        raise ValueError(f"{damage}. {newest_whole_checkpoint(folder)}")
    if not (folder / MANIFEST_FILE).exists() and is_ours(folder):
        logger.warning(f"{folder} has no {MANIFEST_FILE} (earlier versions wrote none): taken as it is.")


def is_ours(model: str | Path) -> bool:
    """Whether it is the folder of a run or a checkpoint of this program."""
    return any((Path(model) / file).exists() for file in OURS)


def checkpoints_in(folder: str | Path) -> list[Path]:
    """The checkpoints of a training, the latest last."""
    found = [path for path in Path(folder).glob("checkpoint-*") if path.name[11:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[11:]))


def newest_whole_checkpoint(folder: Path) -> str:
    """A sentence that names it: that of the run whose folder this is, or whose checkpoint it is."""
    run = folder.resolve().parent if folder.resolve() in checkpoints_in(folder.resolve().parent) else folder
    for checkpoint in reversed(checkpoints_in(run)):
        if is_whole(checkpoint):
            return (
                f"The newest whole checkpoint is {checkpoint}: the run's command with "
                "--resume_from_checkpoint true goes on from it and writes the files again."
            )
    return "There is no whole checkpoint beside it: train again, or fetch the folder again."


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
