"""Real runs of the command, on a table of patients, and real `kill -9`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
CLOCK = ("seconds", "cpu_seconds", "samples_per_second")
FLAGS = (
    "--feature_columns age bmi --environment_column hospital --test_environments C --model mlp "
    "--per_device_train_batch_size 24 --save_strategy steps --save_steps 2 --save_total_limit 9 "
    "--eval_strategy steps --eval_steps 2 --learning_rate 0.01 --num_threads 1 --use_cpu true"
).split()


def write_patients(file: Path, rows: int = 240, ill: str = "ill") -> Path:
    rng = np.random.default_rng(0)
    sick = rng.random(rows) < 0.5
    columns = {
        "age": rng.integers(20, 90, rows),
        "bmi": (25 + 8 * sick + rng.normal(size=rows)).round(2),
        "hospital": [*"ABC"] * (rows // 3),
        "label": np.where(sick, ill, "well"),
    }
    pd.DataFrame(columns).to_csv(file, index=False)
    return file


def start(*flags: str, processes: int = 1) -> subprocess.Popen[str]:
    """The command in a process group of its own."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [*launcher, str(ROOT / "trainers" / "train.py")] if processes > 1 else ["-m", "hf_ood", "train"]
    return subprocess.Popen(
        [sys.executable, *command, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def finish(*flags: str, processes: int = 1) -> tuple[int, str]:
    """Its exit status, and what it said."""
    process = start(*flags, processes=processes)
    said, errors = process.communicate(timeout=300)
    return process.returncode, said + errors


def kill_when(reached: Callable[[], bool], *flags: str) -> None:
    """`kill -9` to every process of the command as soon as it is so far."""
    process = start(*flags)
    deadline = time.monotonic() + 120
    while not reached() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def results_of(folder: Path) -> dict[str, Any]:
    """But for what a clock decides."""
    results = json.loads((folder / "results.json").read_text())
    for part in (results, *results.get("stages", [])):
        for key in CLOCK:
            part.pop(key, None)
    return results


def assert_same_run(ours: Path, theirs: Path) -> None:
    assert results_of(ours) == results_of(theirs)
    assert (ours / "model.safetensors").read_bytes() == (theirs / "model.safetensors").read_bytes()
