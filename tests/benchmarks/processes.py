"""Images per second on one process or several, each with one thread.

As a script, one worker of such a training:
torchrun --nproc_per_node 2 tests/benchmarks/processes.py ood_trainer STEPS FILE
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from hand_written import run_loop
from steps import BATCH, Clock, lenet, run_ood_trainer, run_trainer
from transformers import set_seed

from hf_ood.data import colored_mnist_tensors

LOOPS: dict[str, Callable[..., Clock]] = {
    "hand_written": run_loop,
    "trainer": run_trainer,
    "ood_trainer": run_ood_trainer,
}
LAUNCHER = "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc_per_node"


def images_per_second(loop: str, processes: int, steps: int) -> float:
    """Train LeNet with `BATCH` images on each process, in processes of their own."""
    launcher = [*LAUNCHER.split(), str(processes)] if processes > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images_per_second"
        command = [sys.executable, *launcher, __file__, loop, str(steps), str(file)]
        done = subprocess.run(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
        return float(file.read_text())


def work(loop: str, steps: int, file: Path) -> None:
    """One worker's part; the first writes down how many images all of them saw in a second."""
    processes, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if processes > 1:
        dist.init_process_group("gloo")
    torch.set_num_threads(1)
    set_seed(0)
    data = colored_mnist_tensors("unseen_colors")["train"]
    clock = LOOPS[loop](lenet(), data, steps)
    if rank == 0:
        file.write_text(str(processes * BATCH / clock.mean))
    if processes > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
