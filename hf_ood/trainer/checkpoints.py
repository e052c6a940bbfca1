"""Checkpoints that are whole: a manifest says what one holds; what is missing or damaged is an error."""

from __future__ import annotations

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
from ..manifest import (
    LOADED,
    MANIFEST_FILE,
    checkpoints_in,
    find_changes,
    newest_whole_checkpoint,
    read_manifest,
    write_manifest,
)

logger = logging.get_logger(__name__)
PARTS = ("objective", "averaging", "training_record", "start", "frozen_start")
STATE_FILES = {state_file(part) for part in PARTS}
TRAINER_STATE, OPTIMIZER = "trainer_state.json", "optimizer.pt"
EARLIER = "earlier"  # the folder of checkpoints that a training found when it began anew


class CorruptCheckpointError(ForeseenError, RuntimeError):
    """A checkpoint file is damaged or missing; the message names it and the way out."""


def save_state(parts: Mapping[str, Stateful], checkpoint: str | Path, writes: bool = True) -> None:
    """What lives between steps, beside the weights; all processes call it."""
    save_parts(parts, checkpoint, writes)


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


def save_manifest(parts: Mapping[str, Stateful], checkpoint: str | Path, about: Mapping[str, Any]) -> None:
    """Name every file of the checkpoint, with size and SHA-256, every part of the state, and what else is
    known `about` it, such as the data that it was trained on: the last file that is written."""
    folder = Path(checkpoint)
    kept = {name: part.kind for name, part in parts.items() if (folder / state_file(name)).exists()}
    write_manifest(folder, {"parts": kept, **about})


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None."""
    return _find_structural_damage(checkpoint) or find_changes(checkpoint) or _find_missing_end(checkpoint)


def _find_missing_end(checkpoint: Path) -> str | None:
    """Versions that keep the sums since the last log entry end a checkpoint with its manifest."""
    file = checkpoint / MANIFEST_FILE
    if file.exists():
        manifest = read_manifest(checkpoint) or {}
        return None if "parts" in manifest else f"{file} is damaged (it names no parts)"
    if (checkpoint / state_file("training_record")).exists():
        return f"{file} is missing (the checkpoint was not written to its end)"
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
    for checkpoint in reversed(checkpoints_in(output_dir)):
        damage = find_damage(checkpoint)
        if damage is None:
            return str(checkpoint)
        logger.warning(f"{damage}; looking for an earlier checkpoint.")
    return None


def no_whole_checkpoint(output_dir: str) -> str:
    """What is said where there is none, with what is wrong with the latest."""
    found = checkpoints_in(output_dir)
    damage = f": {find_damage(found[-1])}" if found else ""
    return (
        f"There is no whole checkpoint in {output_dir} to resume from{damage}. Begin anew, without "
        "resume_from_checkpoint."
    )


def remove_from_step(output_dir: str | Path, step: int) -> None:
    """Remove checkpoints of `step` and later that an earlier run left, perhaps in part: rotation would take
    them for the latest, and delete what this run has just written."""
    for checkpoint in checkpoints_in(output_dir):
        if int(checkpoint.name[11:]) >= step:
            logger.info(f"{checkpoint} is of an earlier run: removed.")
            shutil.rmtree(checkpoint, ignore_errors=True)


def set_aside(output_dir: str | Path) -> None:
    """Before a training starts over: what an earlier one left must not be found by a later resume. Its
    checkpoints go to the folder `earlier`, in place of those that are there."""
    found = checkpoints_in(output_dir)
    if not found:
        return
    earlier = Path(output_dir) / EARLIER
    earlier.mkdir(exist_ok=True)
    for checkpoint in checkpoints_in(earlier):
        shutil.rmtree(checkpoint, ignore_errors=True)
    for checkpoint in reversed(found):
        checkpoint.rename(earlier / checkpoint.name)
    logger.warning(
        f"{output_dir} has checkpoints of an earlier training ({', '.join(path.name for path in found)}): "
        f"they are in {earlier} now, and this one begins at its first step."
    )


def require_resumable(checkpoint: str | Path) -> None:
    """Raise `CorruptCheckpointError` unless the checkpoint is whole, and can be resumed from."""
    _refuse(find_damage(Path(checkpoint)), checkpoint)
    require_optimizer(checkpoint)


def require_optimizer(checkpoint: str | Path) -> None:
    """Raise `CorruptCheckpointError` where the network was saved alone."""
    if not (Path(checkpoint) / OPTIMIZER).exists() and not _is_sharded(Path(checkpoint)):
        _refuse(f"{checkpoint} holds no {OPTIMIZER} (save_only_model keeps the network alone)", checkpoint)


def require_whole_weights(checkpoint: Path) -> None:
    """Raise `CorruptCheckpointError` unless the weights of the best checkpoint are there and as they were
    written."""
    damage = find_changes(checkpoint, LOADED) if checkpoint.is_dir() else f"{checkpoint} is missing"
    if damage:
        raise CorruptCheckpointError(
            f"{damage}, and the training is to end with this checkpoint, the best so far. Bring it back, set "
            "load_best_model_at_end to False, or start over."
        )


def _refuse(damage: str | None, checkpoint: str | Path) -> None:
    if damage:
        raise CorruptCheckpointError(f"Cannot resume: {damage}. {newest_whole_checkpoint(Path(checkpoint))}")


def _is_sharded(checkpoint: Path) -> bool:
    """Whether FSDP or DeepSpeed wrote the optimizer's state in a way of its own."""
    return any(checkpoint.glob("optimizer*")) or any(checkpoint.glob("global_step*"))
