"""Launch files are ones that Accelerate reads; two nodes on this machine train what one process does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file

from hf_ood.cli.train import main

FILES = sorted(Path("hf_ood/launch").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_accelerate_reads_the_launch_file(file: Path) -> None:
    config = load_config_from_file(str(file))
    assert config.num_processes >= 1
    assert f"--config_file {file}" in file.read_text()


def test_the_slurm_script_is_bash() -> None:
    assert subprocess.run(["bash", "-n", "hf_ood/launch/slurm.sh"]).returncode == 0


@pytest.mark.nightly
def test_two_nodes_of_two_processes_train_what_one_process_does(tmp_path: Path) -> None:
    """Four processes as two nodes that find each other by an address. Without GPUs they take gloo."""
    flags = (
        "--method irm --irm.warmup_steps 3 --optim sgd --learning_rate 0.05 --max_train_samples 1152 "
        "--max_steps 6 --save_strategy no --eval_strategy no --seed 3 --disable_tqdm true"
    ).split()
    node = (
        f"{sys.executable} -m torch.distributed.run --nnodes 2 --nproc_per_node 2 --master_addr 127.0.0.1 "
        f"--master_port 29731 trainers/train.py --per_device_train_batch_size 48 "
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
    one = main([*flags, "--per_device_train_batch_size", "192", "--output_dir", str(tmp_path / "one")])
    told = [process.communicate(timeout=180)[0] for process in nodes]
    assert [process.returncode for process in nodes] == [0, 0], told
    four = json.loads((tmp_path / "nodes" / "results.json").read_text())
    for name, entry in one["environments"].items():
        assert four["environments"][name]["count"] == entry["count"]
        assert four["environments"][name]["accuracy"] == pytest.approx(entry["accuracy"], abs=0.002)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "nodes"))
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=1e-3, atol=1e-5)
    assert "".join(told).count("selection:") == 1  # one process prints
