"""Checkpoints that are whole, and the objective's state inside them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import safetensors
from safetensors.torch import load_file, save_file
from transformers.utils import logging

from ..objectives import Objective

logger = logging.get_logger(__name__)
OBJECTIVE_FILE = "objective.safetensors"
AVERAGING_FILE = "averaging.safetensors"
STATE_FILES = {OBJECTIVE_FILE, AVERAGING_FILE}


class CorruptCheckpointError(RuntimeError):
    """A checkpoint file is damaged or missing; the message names it and the way out."""


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None. Reads headers, not weights."""
    state = checkpoint / "trainer_state.json"
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
    found = [path for path in Path(output_dir).glob("checkpoint-*") if path.name[11:].isdigit()]
    for checkpoint in sorted(found, key=lambda path: int(path.name[11:]), reverse=True):
        damage = find_damage(checkpoint)
        if damage is None:
            return str(checkpoint)
        logger.warning(f"{damage}; looking for an earlier checkpoint.")
    return None


def require_whole(checkpoint: str | Path) -> None:
    """Raise `CorruptCheckpointError` unless the checkpoint is whole."""
    damage = find_damage(Path(checkpoint))
    if damage:
        raise CorruptCheckpointError(
            f"Cannot resume: {damage}. Resume from an earlier checkpoint, or with --resume_from_checkpoint "
            "true, which takes the latest whole one."
        )


def save_objective(objective: Objective, checkpoint: str | Path) -> None:
    save_file(
        objective.state_dict(), Path(checkpoint) / OBJECTIVE_FILE, metadata={"objective": objective.name}
    )


def load_objective(objective: Objective, checkpoint: str | Path) -> None:
    """Restore what `save_objective` saved. Raises `ValueError` when it is the state of another objective."""
    file = Path(checkpoint) / OBJECTIVE_FILE
    if not file.exists():
        return
    with safetensors.safe_open(file, framework="pt") as saved:
        name = (saved.metadata() or {}).get("objective", objective.name)
    if name != objective.name:
        raise ValueError(
            f"{checkpoint} was trained with {name}, not with {objective.name}: start again, or resume with "
            f"{name}."
        )
    objective.load_state_dict(load_file(file))
