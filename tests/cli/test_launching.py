"""Launch files are ones that Accelerate reads; two nodes on this machine train what one process does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from hf_ood.cli.train import main

FILES = sorted(Path("trainers/accelerate").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_accelerate_reads_the_launch_file(file: Path) -> None:
    config = load_config_from_file(str(file))
    assert config.num_processes >= 1
    assert f"--config_file {file}" in file.read_text()


def test_the_slurm_script_is_bash() -> None:
    assert subprocess.run(["bash", "-n", "trainers/accelerate/slurm.sh"]).returncode == 0


def test_two_nodes_of_two_processes_train_what_one_process_does(tmp_path: Path) -> None:
    """Four gloo processes, launched as two nodes that find each other by an address."""
    flags = (
        "--method vrex --max_train_samples 240 --num_train_epochs 1 --use_cpu true --save_strategy no "
        "--eval_strategy no --seed 3 --disable_tqdm true"
    ).split()
    node = (
        f"{sys.executable} -m torch.distributed.run --nnodes 2 --nproc_per_node 2 --master_addr 127.0.0.1 "
        f"--master_port 29731 trainers/train.py --per_device_train_batch_size 12 --ddp_backend gloo "
        f"--output_dir {tmp_path / 'nodes'}"
    ).split()
    place = node.index("trainers/train.py")
    nodes = [
        subprocess.Popen(
            [*node[:place], "--node_rank", str(rank), *node[place:], *flags],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    one = main([*flags, "--per_device_train_batch_size", "48", "--output_dir", str(tmp_path / "one")])
    for process in nodes:
        told = process.communicate(timeout=120)[0]
        assert process.returncode == 0, told
    four = json.loads((tmp_path / "nodes" / "results.json").read_text())
    assert four["steps"] == one["steps"]
    for name, entry in one["environments"].items():
        assert four["environments"][name]["loss"] == pytest.approx(entry["loss"], abs=1e-4), name
