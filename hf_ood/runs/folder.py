"""A run's folder: what it is called, and whose it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ..data import EnvironmentDataset
from ..data.fingerprint import fingerprint
from ..files import replace_text
from ..names import file_name
from ..trainer.data_identity import differences
from ..yaml_files import read_mapping
from .published_command import NOTE as ARGUMENTS_FILE
from .settings import SettingsError, comparable_settings, spec_from_settings
from .spec import RunSpec

DATA_FILE = "data.json"


def default_output_dir(spec: RunSpec) -> str:
    """`runs/<configuration>-<method>-seed<seed>-<hash of all that was given>`: other settings, another
    folder."""
    digest = hashlib.sha256(repr(sorted(comparable_settings(spec).items())).encode()).hexdigest()[:6]
    data = spec.data.configuration
    return f"runs/{file_name(data)}-{spec.method.name.replace('+', '-')}-seed{spec.training.seed}-{digest}"


def claim_output_dir(folder: Path, comparable: dict[str, Any], resume: bool) -> None:
    """Note the run's settings in its folder, as a recipe; refuse a folder that belongs to another run."""
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


def claim_data(folder: Path, datasets: Mapping[str, EnvironmentDataset], resume: bool) -> dict[str, Any]:
    """Note in the run's folder which rows it reads; what is noted. Raises `ValueError` for a resumed run
    whose rows or names have changed since."""
    first = next(iter(datasets.values()))
    identity = {
        "label_names": first.label_names,
        "environment_names": first.environment_names,
        "rows": {split: len(data) for split, data in datasets.items()},
        "fingerprint": fingerprint(datasets),
    }
    note = folder / DATA_FILE
    if resume and note.exists() and (different := differences(identity, json.loads(note.read_text()))):
        raise ValueError(
            f"The data of {folder} have changed since it began: {', '.join(different)} ({note}). Give it "
            "the data of before, or start another run (--output_dir)."
        )
    replace_text(note, json.dumps(identity, indent=1))
    return identity


@contextmanager
def released_when_unused(folder: Path) -> Iterator[None]:
    """A folder that a run claimed and left empty, because of a mistake in its flags, is free again."""
    try:
        yield
    except BaseException:
        if folder.is_dir() and {file.name for file in folder.iterdir()} <= {ARGUMENTS_FILE, DATA_FILE}:
            shutil.rmtree(folder)
        raise


def refuse_foreign_checkpoint(checkpoint: Path, comparable: dict[str, Any]) -> None:
    """Raise `ValueError` when the checkpoint to resume from belongs to a run with other settings."""
    note = checkpoint.resolve().parent / ARGUMENTS_FILE
    if note.is_file() and (different := _different(note, comparable)):
        raise ValueError(
            f"{checkpoint} belongs to another run: {', '.join(different)} differ ({note}). To begin with its "
            f"weights only, use --start_from {checkpoint}."
        )


def _different(note: Path, comparable: dict[str, Any]) -> list[str]:
    """The settings in which the run that left `note` differs, by their flags."""
    ours, theirs = yaml.safe_load(yaml.safe_dump(comparable)), recorded_settings(note)
    ours, theirs = flat(ours), flat(theirs)
    return sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))


def flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """`{"irm": {"l2": 1}}` -> `{"irm.l2": 1}`; of a stage, `{"stages.pretrain.method": "erm"}`."""
    if isinstance(settings, list) and settings and all(isinstance(entry, dict) for entry in settings):
        settings = {entry.get("name", number): entry for number, entry in enumerate(settings)}
    if not isinstance(settings, dict):
        return {prefix: settings}
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def recorded_spec(folder: Path) -> RunSpec:
    """The run that left its settings in this folder."""
    note = folder / ARGUMENTS_FILE
    try:
        return spec_from_settings(recorded_settings(note))
    except SettingsError as error:
        raise ValueError(f"{note}: {error}") from error


def recorded_settings(note: Path) -> dict[str, Any]:
    """The settings that a run left. Raises `ValueError` with the way out when the file is damaged."""
    try:
        return read_mapping(note)[0]
    except ValueError as error:
        raise ValueError(
            f"The settings of this run are damaged: {error} Without them nobody knows what the run is: start "
            "it again in another --output_dir, or delete the folder."
        ) from error
