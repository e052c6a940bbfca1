"""The wheel in a virtual environment of its own, and what its `--help` pages show."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHORT = "--max_steps 2 --use_cpu true --num_threads 1"
SMALL = f"--max_train_samples 144 --per_device_train_batch_size 72 {SHORT}"


def install(place: Path) -> Path:
    """A folder with a virtual environment that has the wheel, and the libraries of this one."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(place), str(ROOT)], check=True
    )
    (wheel,) = place.glob("hf_ood-*.whl")
    venv.create(place / "venv", with_pip=True)
    python = place / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", str(wheel)], check=True)
    site = run(place, "python -c 'import sysconfig; print(sysconfig.get_paths()[\"purelib\"])'").strip()
    (Path(site) / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])  # after the wheel's own
    return place


def run(place: Path, command: str) -> str:
    """What a command line prints there; one that fails fails the test."""
    program, *arguments = shlex.split(command)
    launch = [place / "venv" / "bin" / program]
    if program == "torchrun":  # a script of the other environment
        launch = [place / "venv" / "bin" / "python", "-m", "torch.distributed.run"]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*launch, *arguments], cwd=place, capture_output=True, text=True, env=kept)
    assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
    return done.stdout


def examples(page: str) -> list[str]:
    """The command lines of a `--help` page, without what the page says beside them."""
    lines = re.sub(r"\\\n +", " ", page).splitlines()
    shown = [line.strip() for line in lines if re.match(r"  (hf-ood|torchrun) ", line)]
    return [re.split(r" {4,}(?!-)", line)[0] for line in shown]
