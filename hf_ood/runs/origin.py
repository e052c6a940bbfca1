"""On what a run was begun: versions, code, number of processes, samples of a step, the command that asked."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..evaluation.results import versions
from ..files import replace_text
from ..trainer import OODConfig
from .spec import RunSpec

logger = logging.get_logger(__name__)
ORIGIN_FILE = "origin.json"
ONLY_SHOW = ("cli", "experiments", "hub", "reporting")  # rooms that cannot change what a run gives
CODE = "hf_ood's code"
# How a step's samples are divided: a resumed run may do so otherwise.
DIVISION = ("per_device_train_batch_size", "gradient_accumulation_steps")


@lru_cache
def code_hash() -> str:
    """Changes with every edit of the code that a run's results depend on."""
    package = Path(__file__).parents[1]
    files = sorted(
        file for file in package.glob("*/**/*.py") if file.relative_to(package).parts[0] not in ONLY_SHOW
    )
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@lru_cache
def commit() -> str:
    """The commit that this code is, with `+` where its files were edited since; empty outside a checkout."""
    package = Path(__file__).parents[1]

    def git(*arguments: str) -> str | None:
        try:
            found = subprocess.run(["git", *arguments], cwd=package, capture_output=True, text=True)
        except OSError:  # no git on this machine
            return None
        return found.stdout.strip() if found.returncode == 0 else None

    if (
        git("ls-files", "--error-unmatch", "__init__.py") is None
    ):  # installed, perhaps inside another checkout
        return ""
    head = git("rev-parse", "--short=10", "HEAD")
    return f"{head}{'+' if git('status', '--porcelain', '--', '*.py') else ''}" if head else ""


def carrier() -> dict[str, str]:
    """Versions and code that runs in this process are made with."""
    return {"python": platform.python_version(), **versions(), CODE: code_hash()[:12]}


def step_samples(training: OODConfig) -> int:
    """Samples of an optimizer step, over all processes."""
    return training.train_batch_size * training.gradient_accumulation_steps * training.world_size


def steps_samples(spec: RunSpec) -> dict[str, int]:
    """Those of a run, or of each of its stages, by the names that its settings have for them."""
    stages = {f"stages.{name}.": stage.training for name, stage in spec.stages.items()}
    return {f"{name}batch": step_samples(own) for name, own in (stages or {"": spec.training}).items()}


def read_origin(folder: Path) -> dict[str, Any] | None:
    """What `note_origin` left; None for a run of an earlier version. Raises `ValueError` for damage."""
    file = folder / ORIGIN_FILE
    if not file.exists():
        return None
    try:
        origin = json.loads(file.read_text())
        if not isinstance(origin, dict) or not {"begun_on", "batches", "resumed_on"} <= origin.keys():
            raise ValueError("it does not say on what the run was begun")
    except ValueError as error:
        raise ValueError(
            f"{file} is damaged ({error}). Bring it back, or delete it to go on without what it says."
        ) from error
    return origin


def made_on(folder: Path) -> dict[str, str]:
    """Versions and code that the run of this folder was begun, or last resumed, with; empty where it does not
    say."""
    origin = read_origin(folder)
    parts = [] if origin is None else [origin["begun_on"], *origin["resumed_on"]]
    return {name: version for part in parts for name, version in part.items()}


def commit_of(folder: Path) -> str:
    """The commit that the run of this folder was begun, or last resumed, at; empty where it does not say."""
    return (read_origin(folder) or {}).get("commit", "")


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs, in words."""
    other = [name for name in now if then.get(name) != now[name]]
    return ", ".join(f"{name} {then.get(name)}, now {now[name]}" for name in other)


def note_origin(folder: Path, spec: RunSpec, resume: bool) -> dict[str, Any]:
    """Note in the run's folder on what it is begun, or what has changed where it is resumed, and say so; what
    is noted."""
    now, before = carrier(), read_origin(folder) if resume else None
    if before is None:
        if resume:
            logger.warning(
                f"{folder} does not say on which versions it was begun; now it goes on with these."
            )
        origin: dict[str, Any] = {
            "command": spec.command,
            "commit": commit(),
            "begun_on": now,
            "batches": steps_samples(spec),
            "resumed_on": [],
        }
    else:
        origin = before
        last = made_on(folder)
        changed = {name: version for name, version in now.items() if last.get(name) != version}
        if changed:
            told = changes(last, now)
            logger.warning(
                f"{folder} was begun, or last resumed, with other versions: {told}. It goes on, and its "
                "results say so; only a new run (--output_dir) is of these versions alone."
            )
            origin["resumed_on"].append(changed)
            origin["commit"] = commit()
    replace_text(folder / ORIGIN_FILE, json.dumps(origin, indent=1, allow_nan=False))
    return origin


def other_batches(folder: Path, spec: RunSpec) -> list[str] | None:
    """The steps, of the run or its stages, that would hold other samples than when the run of this folder was
    begun; None where that is not known."""
    origin = read_origin(folder)
    if origin is None:
        return None
    then, now = origin["batches"], steps_samples(spec)
    return [
        f"{name.removesuffix('batch')}samples of a step ({then.get(name)}, now {now.get(name)})"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def recorded(origin: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's results say of it: nothing for one that was not resumed on other versions."""
    return {"resumed_on": origin["resumed_on"]} if origin["resumed_on"] else {}
