"""A run's folder: what it is called, and whose it is."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from transformers.utils import logging

from ..data import EnvironmentDataset
from ..data.fingerprint import fingerprint
from ..evaluation.results import RESULTS_FILE
from ..files import replace_text
from ..hub.push import CARD_FILE
from ..json_files import json_text, read_object
from ..locks import acquire
from ..manifest import LOADED, MANIFEST_FILE, checkpoints_in, find_changes, read_manifest
from ..names import file_name
from ..trainer.checkpoints import EARLIER, last_whole_checkpoint
from ..trainer.checks import launched_processes
from ..trainer.data_identity import differences
from ..yaml_files import read_mapping
from .origin import DIVISION, ORIGIN_FILE, other_batches
from .published_command import NOTE as ARGUMENTS_FILE
from .settings import SettingsError, comparable_settings, spec_from_settings
from .spec import RunSpec

DATA_FILE, LOCK = "data.json", "run"
REPORT_FILE = "attribution.json"  # of `hf-ood explain`
NOTES = {ARGUMENTS_FILE, DATA_FILE, ORIGIN_FILE, f"{LOCK}.lock"}  # what a run leaves before its first step
logger = logging.get_logger(__name__)


def default_output_dir(spec: RunSpec) -> str:
    """`runs/<configuration>-<method>-seed<seed>-<hash of all that was given>`: other settings, and another
    number of processes, another folder."""
    content = sorted(comparable_settings(spec).items()) + processes_told()
    digest = hashlib.sha256(repr(content).encode()).hexdigest()[:6]
    data = spec.data.configuration
    return f"runs/{file_name(data)}-{spec.method.name.replace('+', '-')}-seed{spec.training.seed}-{digest}"


def processes_told() -> list[tuple[str, Any]]:
    """What several processes add to the settings: a step of theirs holds the samples of all."""
    number = launched_processes()
    return [("processes", number)] if number > 1 else []


@contextmanager
def claimed(folder: Path, spec: RunSpec, comparable: dict[str, Any], resume: bool) -> Iterator[None]:
    """Within, the folder is this run's alone, its settings noted in it as a recipe. Raises `ValueError` for a
    folder that belongs to another run, or that another process is at work in.

    A folder that is left empty, because of a mistake in the flags, is free again.
    """
    _refuse_other_run(folder, spec, comparable, resume)
    lock = acquire(folder / LOCK)
    if lock is None:
        raise ValueError(
            f"Another process is at work in {folder}: wait until it has ended, or choose another "
            "--output_dir."
        )
    try:
        _refuse_other_run(folder, spec, comparable, resume)  # one that began meanwhile
        if not resume or not (folder / ARGUMENTS_FILE).exists():
            replace_text(folder / ARGUMENTS_FILE, yaml.safe_dump(comparable, sort_keys=True))
        yield
    except BaseException:
        if {file.name for file in folder.iterdir()} <= NOTES:
            shutil.rmtree(folder)
        raise
    finally:
        lock.release()


def _refuse_other_run(folder: Path, spec: RunSpec, comparable: dict[str, Any], resume: bool) -> None:
    note = folder / ARGUMENTS_FILE
    if note.exists():
        if different := _different(note, spec, comparable):
            raise ValueError(
                f"{folder} holds another run: {', '.join(different)} differ "
                f"({note}). Choose another --output_dir, or delete the folder."
            )
    elif folder.is_dir() and {file.name for file in folder.iterdir()} - {f"{LOCK}.lock"}:
        raise ValueError(
            f"{folder} is not empty and holds no run of this program. Choose another --output_dir."
        )
    elif resume:
        raise ValueError(f"There is nothing to resume in {folder}: check --output_dir.")


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
    if resume and note.exists() and (different := differences(identity, read_object(note))):
        raise ValueError(
            f"The data of {folder} have changed since it began: {', '.join(different)} ({note}). Give it "
            "the data of before, or start another run (--output_dir)."
        )
    replace_text(note, json_text(identity, indent=1))
    return identity


def refuse_foreign_checkpoint(checkpoint: Path, spec: RunSpec, comparable: dict[str, Any]) -> None:
    """Raise `ValueError` when the checkpoint to resume from belongs to a run with other settings."""
    note = checkpoint.resolve().parent / ARGUMENTS_FILE
    if note.is_file() and (different := _different(note, spec, comparable)):
        raise ValueError(
            f"{checkpoint} belongs to another run: {', '.join(different)} differ ({note}). To begin with its "
            f"weights only, use --start_from {checkpoint}."
        )


def _different(note: Path, spec: RunSpec, comparable: dict[str, Any]) -> list[str]:
    """The settings in which the run that left `note` differs, by their flags. A step's samples may be divided
    otherwise over processes and micro-batches."""
    ours, theirs = yaml.safe_load(yaml.safe_dump(comparable)), recorded_settings(note)
    ours, theirs = flat(ours), flat(theirs)
    found = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
    batches = other_batches(note.parent, spec)
    if batches is None:
        return found
    return [key for key in found if key.rpartition(".")[2] not in DIVISION] + batches


def is_finished(folder: Path) -> bool:
    """Whether the run or stage of this folder has left everything behind, and what is read of it is whole."""
    if not (folder / RESULTS_FILE).exists():
        return False
    if not (folder / MANIFEST_FILE).exists():  # earlier versions ended with the results
        return not any((place / ORIGIN_FILE).exists() for place in (folder, folder.parent))
    return find_changes(folder, (*LOADED, RESULTS_FILE)) is None


def set_results_aside(folder: Path) -> None:
    """Before a run starts over: what an earlier one left goes to the folder `earlier` of its own. What else
    lies there stays."""
    try:
        named = [*(read_manifest(folder) or {"files": {}})["files"]]
    except ValueError:  # damaged
        named = []
    left = [*named, *LOADED, RESULTS_FILE, REPORT_FILE, CARD_FILE, "*.png", MANIFEST_FILE]
    files = {file for pattern in left for file in folder.glob(pattern) if file.is_file()}
    (folder / EARLIER).mkdir(exist_ok=True)
    for file in sorted(files, key=lambda file: file.name != MANIFEST_FILE):
        file.replace(folder / EARLIER / file.name)
    if not files and not any((folder / EARLIER).iterdir()):
        (folder / EARLIER).rmdir()


def checkpoint_to_go_on_from(folder: Path, resume: str | bool | None) -> str | bool | None:
    """`resume`, or None where it asks for the latest checkpoint and the run was interrupted before it had
    written one."""
    if resume is not True:
        return resume
    written = [path for path in checkpoints_in(folder) if (path / MANIFEST_FILE).exists()]
    if written or last_whole_checkpoint(folder):
        return True
    logger.warning(f"{folder} has no checkpoint yet: the run begins at its first step.")
    return None


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
