"""The command line as it may be told to others."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

PRIVATE = ("token", "output_dir")
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
            kept.append(flag)
    return shlex.join([*_program(script), *kept])


def _program(script: str) -> list[str]:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    launcher = ["torchrun", "--nproc_per_node", str(processes)] if processes > 1 else []
    if Path(sys.argv[0]).resolve().parent == Path(script).parent.resolve():  # in the folder of a clone
        return [*(launcher or ["python"]), script]
    command = COMMANDS.get(Path(script).stem, Path(script).stem)
    return [*launcher, "-m", "hf_ood", command] if launcher else ["hf-ood", command]
