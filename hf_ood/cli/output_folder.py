"""A run's folder: what it is called, and whose it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ..files import replace_text
from .arguments import Arguments

ARGUMENTS_FILE = "arguments.yaml"


def default_output_dir(arguments: Arguments) -> str:
    """`runs/<configuration>-<method>-seed<seed>-<hash of all that was given>`: other arguments, another
    folder."""
    run = arguments.run
    digest = hashlib.sha256(repr(sorted(comparable_arguments(arguments).items())).encode()).hexdigest()[:6]
    return f"runs/{run.dataset_config}-{run.method.replace('+', '-')}-seed{arguments.training.seed}-{digest}"


def claim_output_dir(folder: Path, comparable: dict[str, Any], resume: bool) -> None:
    """Note the run's arguments in its folder; refuse a folder that belongs to a run with other arguments."""
    note = folder / ARGUMENTS_FILE
    if note.exists():
        if different := _different(note, comparable):
            raise ValueError(
                f"{folder} holds another run: {', '.join(different)} differ "
                f"({note}). Choose another --output_dir, or delete the folder."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"{folder} is not empty and holds no run of this program. Choose another --output_dir."
        )
    elif resume:
        raise ValueError(f"There is nothing to resume in {folder}: check --output_dir.")
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(note, yaml.safe_dump(comparable, sort_keys=True))


@contextmanager
def released_when_unused(folder: Path) -> Iterator[None]:
    """A folder that a run claimed and left empty, because of a mistake in its flags, is free again."""
    try:
        yield
    except BaseException:
        if folder.is_dir() and [file.name for file in folder.iterdir()] == [ARGUMENTS_FILE]:
            (folder / ARGUMENTS_FILE).unlink()
            folder.rmdir()
        raise


def refuse_foreign_checkpoint(checkpoint: Path, comparable: dict[str, Any]) -> None:
    """Raise `ValueError` when the checkpoint to resume from belongs to a run with other arguments."""
    note = checkpoint.resolve().parent / ARGUMENTS_FILE
    if note.is_file() and (different := _different(note, comparable)):
        raise ValueError(
            f"{checkpoint} belongs to another run: {', '.join(different)} differ ({note}). To begin with its "
            f"weights only, use --start_from {checkpoint}."
        )


def _different(note: Path, comparable: dict[str, Any]) -> list[str]:
    """The arguments in which the run that left `note` differs."""
    ours, theirs = yaml.safe_load(yaml.safe_dump(comparable)), yaml.safe_load(note.read_text())
    return sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))


def comparable_arguments(arguments: Arguments) -> dict[str, Any]:
    """All given arguments, flat, without those that do not change the run, and without secrets."""
    flat = {
        f"{section}.{key}": value
        for section, values in arguments.given.items()
        for key, value in values.items()
    }
    ignored = {
        "output_dir",
        "resume_from_checkpoint",
        "hub_token",
        "hub_model_id",
        "hub_private_repo",
        "hub_revision",
        "disable_tqdm",
        "push_to_hub",
        "num_threads",
    }
    kept = {key: value for key, value in flat.items() if key.rpartition(".")[2] not in ignored}
    for number, (name, stage) in enumerate(arguments.stages.items(), 1):
        kept |= {f"{number}-{name}.{key}": value for key, value in comparable_arguments(stage).items()}
    return kept
