"""The command line as it may be told to others."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..methods.losses.by_name import NAME
from ..passwords import without_passwords
from .network import MODEL_CONFIG
from .sections import LOSS
from .settings import STAGES, Settings, settings_of
from .spec import RunSpec

TRAIN = "trainers/train.py"
NOTE = "arguments.yaml"  # the recipe that a run leaves in its folder

PRIVATE = ("token", "output_dir", "storage")
# Scripts whose command has another name.
COMMANDS = {"measure_shift": "shift", "push": "publish"}


def command_line(script: str, flags: Sequence[str]) -> str:
    """`hf-ood train --method irm`, with its launcher, without tokens and without output folder.

    `script`: the program's file in a clone, `trainers/train.py`, which is told where a script of that folder
    was started; the console command otherwise, whoever called: a sweep, a study, a script of one's own. A
    flag is left out with its values when its name ends in one of `PRIVATE`.
    """
    kept: list[str] = []
    private = False
    for flag in flags:
        if flag.startswith("--"):
            private = flag.partition("=")[0].replace("-", "_").endswith(PRIVATE)
        if not private:
            kept.append(without_passwords(flag, [flag]))
    return shlex.join([*_program(script), *kept])


def _program(script: str) -> list[str]:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    launcher = ["torchrun", "--nproc_per_node", str(processes)] if processes > 1 else []
    if Path(sys.argv[0]).resolve().parent == Path(script).parent.resolve():  # in the folder of a clone
        return [*(launcher or ["python"]), script]
    command = COMMANDS.get(Path(script).stem, Path(script).stem)
    return [*launcher, "-m", "hf_ood", command] if launcher else ["hf-ood", command]


def run_command(spec: RunSpec) -> str:
    """The command that makes a run again which no command made: of a study, a sweep, a script.

    Stages have no flags: a run with stages is told by the recipe in its folder.
    """
    settings = settings_of(spec)
    if STAGES in settings:
        return command_line(TRAIN, ["--config", NOTE])
    return command_line(TRAIN, flags_of(settings))


def flags_of(settings: Settings) -> list[str]:
    """Settings without stages, as the flags that they stand for."""
    flags: list[str] = []
    for name, value in settings.items():
        if isinstance(value, dict) and name != "lr_scheduler_kwargs":
            for key, inner in value.items():
                flags += _tokens(name if (name, key) == (LOSS, NAME) else f"{name}.{key}", inner)
        else:
            flags += _tokens(name, value)
    return flags


def _tokens(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, dict) or (name.startswith(f"{MODEL_CONFIG}.") and not isinstance(value, str)):
        return [f"--{name}", json.dumps(value)]
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)] if value else []
    return [f"--{name}", str(value).lower() if isinstance(value, bool) else str(value)]
