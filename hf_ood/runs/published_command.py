"""The command line as it may be told to others."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

PRIVATE = ("token", "output_dir")


def command_line(script: str, flags: Sequence[str]) -> str:
    """`python trainers/train.py --method irm`, with its launcher, without tokens and without output folder.

    A flag is left out with its values when its name ends in one of `PRIVATE`.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    launcher = ["torchrun", "--nproc_per_node", str(processes)] if processes > 1 else ["python"]
    if sys.argv[0].startswith("hf-ood "):  # the console command, which stands for a script
        launcher, script = ["hf-ood"], sys.argv[0].removeprefix("hf-ood ")
    kept: list[str] = []
    private = False
    for flag in flags:
        if flag.startswith("--"):
            private = flag.partition("=")[0].replace("-", "_").endswith(PRIVATE)
        if not private:
            kept.append(flag)
    return shlex.join([*launcher, script, *kept])
