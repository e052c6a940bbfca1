"""Checkpoints that are whole: a manifest says what one holds; what is missing or damaged is an error."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from transformers.utils import logging

from ..engine import Stateful, load_parts, save_parts, state_file
from ..errors import ForeseenError

logger = logging.get_logger(__name__)
MANIFEST_FILE = "manifest.json"
PARTS = ("objective", "averaging", "training_record")
STATE_FILES = {state_file(part) for part in PARTS}
TRAINER_STATE, OPTIMIZER = "trainer_state.json", "optimizer.pt"


class CorruptCheckpointError(ForeseenError, RuntimeError):
    """A checkpoint file is damaged or missing; the message names it and the way out."""


def save_state(parts: Mapping[str, Stateful], checkpoint: str | Path) -> None:
    """What lives between steps, beside the weights."""
    save_parts(parts, checkpoint)


def load_state(parts: Mapping[str, Stateful], checkpoint: str | Path) -> None:
    """Restore what `save_state` saved.

    Raises `ValueError` for a part of another method, one that is missing, and one that nobody asks for.
    """
    manifest = read_manifest(Path(checkpoint))
    if manifest is None:  # of a version that kept no manifest, nor the sums since the last log entry
        logger.warning(f"{checkpoint} is from before manifests: its files are taken as they are.")
        parts = {name: part for name, part in parts.items() if name != "training_record"}
    else:
        for name in manifest["parts"]:
            if name not in parts:
                raise ValueError(
                    f"{checkpoint} holds the state of {manifest['parts'][name]}, which this trainer does not "
                    "train with: start again, or resume with it."
                )
    load_parts(parts, checkpoint)


def save_manifest(parts: Mapping[str, Stateful], checkpoint: str | Path, data: Mapping[str, Any]) -> None:
    """Name every file of the checkpoint, with size and SHA-256, every part of the state, and the data that it
    was trained on: the last file that is written."""
    folder = Path(checkpoint)
    files = {
        str(file.relative_to(folder)): {"size": file.stat().st_size, "sha256": _sha256(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST_FILE
    }
    kept = {name: part.kind for name, part in parts.items() if state_file(name) in files}
    partial = folder / f"{MANIFEST_FILE}.partial"
    partial.write_text(json.dumps({"parts": kept, "data": data, "files": files}, indent=1))
    partial.replace(folder / MANIFEST_FILE)


def read_manifest(checkpoint: Path) -> dict[str, Any] | None:
    """What `save_manifest` wrote; None where there is none. Raises `ValueError` for a damaged one."""
    file = checkpoint / MANIFEST_FILE
    if not file.exists():
        return None
    manifest = json.loads(file.read_text())
    if not isinstance(manifest, dict) or not {"parts", "files"} <= manifest.keys():
        raise ValueError("it names no files")
    return manifest


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None."""
    try:
        manifest = read_manifest(checkpoint)
    except ValueError as error:
        return f"{checkpoint / MANIFEST_FILE} is damaged ({error})"
    return _find_structural_damage(checkpoint) or (_find_changes(checkpoint, manifest) if manifest else None)


def _find_changes(checkpoint: Path, manifest: Mapping[str, Any]) -> str | None:
    for name, entry in manifest["files"].items():
        file = checkpoint / name
        if not file.is_file():
            return f"{file} is missing"
        if file.stat().st_size != entry["size"]:
            return f"{file} is damaged ({file.stat().st_size} of {entry['size']} bytes)"
        if _sha256(file) != entry["sha256"]:
            return f"{file} is damaged (its bytes are not those that were written)"
    return None


def _find_structural_damage(checkpoint: Path) -> str | None:
    state = checkpoint / TRAINER_STATE
    try:
        json.loads(state.read_text())
    except FileNotFoundError:
        return f"{state} is missing"
    except ValueError as error:
        return f"{state} is damaged ({error})"
    weights = list(checkpoint.glob("*.safetensors"))
    if not any(file.name not in STATE_FILES for file in weights):
        return f"{checkpoint} holds no weights (*.safetensors)"
    for file in weights:
        try:
            with safetensors.safe_open(file, framework="pt"):
                pass
        except safetensors.SafetensorError as error:
            return f"{file} is damaged ({error})"
    for file in [*checkpoint.glob("*.pt"), *checkpoint.glob("*.pth")]:
        if not zipfile.is_zipfile(file):
            return f"{file} is damaged (cut off)"
    return None


def last_whole_checkpoint(output_dir: str | Path) -> str | None:
    """The latest checkpoint that was written to its end; damaged ones are named in a warning and passed
    over."""
    for checkpoint in reversed(_checkpoints(output_dir)):
        damage = find_damage(checkpoint)
        if damage is None:
            return str(checkpoint)
        logger.warning(f"{damage}; looking for an earlier checkpoint.")
    return None


def remove_from_step(output_dir: str | Path, step: int) -> None:
    """Remove checkpoints of `step` and later that an earlier run left, perhaps in part: rotation would take
    them for the latest, and delete what this run has just written."""
    for checkpoint in _checkpoints(output_dir):
        if int(checkpoint.name[11:]) >= step:
            logger.info(f"{checkpoint} is of an earlier run: removed.")
            shutil.rmtree(checkpoint, ignore_errors=True)


def _checkpoints(output_dir: str | Path) -> list[Path]:
    found = [path for path in Path(output_dir).glob("checkpoint-*") if path.name[11:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[11:]))


def require_whole(checkpoint: str | Path) -> None:
    """Raise `CorruptCheckpointError` unless the checkpoint is whole, and can be resumed from."""
    damage = find_damage(Path(checkpoint))
    if damage is None and not (Path(checkpoint) / OPTIMIZER).exists() and not _is_sharded(Path(checkpoint)):
        damage = f"{checkpoint} holds no {OPTIMIZER} (save_only_model keeps the network alone)"
    if damage:
        raise CorruptCheckpointError(
            f"Cannot resume: {damage}. Resume from an earlier checkpoint, or with --resume_from_checkpoint "
            "true, which takes the latest whole one."
        )


def _is_sharded(checkpoint: Path) -> bool:
    """Whether FSDP or DeepSpeed wrote the optimizer's state in a way of its own."""
    return any(checkpoint.glob("optimizer*")) or any(checkpoint.glob("global_step*"))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
