"""The law of exactness where FSDP2 divides the network over two real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sharded_step import ADDITIVE, MICRO_BATCHES, NETWORKS, RESUMED, TRANSFORMED

# An address of its own: the default is this machine's name, which needs a lookup that may fail.
TWO_PROCESSES = "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc_per_node 2".split()


def start(folder: Path, worker: str, *launcher: str) -> subprocess.Popen[bytes]:
    with open(folder / f"log_{len(launcher)}.txt", "w") as log:
        return subprocess.Popen(
            [sys.executable, *launcher, str(Path(__file__).with_name(worker)), str(folder)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def run_both_ways(folder: Path, worker: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `worker` finds on one process and on two."""
    for launcher in ([], TWO_PROCESSES):
        process = start(folder, worker, *launcher)
        try:
            code = process.wait(timeout=600)  # seconds, on a machine that is busy with other things
        finally:
            process.terminate()
        assert code == 0, (folder / f"log_{len(launcher)}.txt").read_text()
    return torch.load(folder / "1.pt"), torch.load(folder / "2.pt")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    return run_both_ways(tmp_path_factory.mktemp("sharding"), "sharded_step.py")


@pytest.mark.slow
@pytest.mark.parametrize("number", MICRO_BATCHES)
@pytest.mark.parametrize("backbone", NETWORKS)
@pytest.mark.parametrize("name", [*ADDITIVE, *(f"{name}+rsc" for name in TRANSFORMED)])
def test_a_divided_network_has_the_gradient_of_the_whole(
    steps: tuple[dict[str, Any], dict[str, Any]], name: str, backbone: str, number: int
) -> None:
    """The whole network sees all samples at once. IRM and SD also penalise the norm of the weights."""
    whole, divided = steps[0][f"{name} {backbone} 1"], steps[1][f"{name} {backbone} {number}"]
    assert whole["gradients"].keys() == divided["gradients"].keys()
    scale = max(gradient.abs().max().item() for gradient in whole["gradients"].values())
    assert scale > 0
    for parameter, gradient in whole["gradients"].items():
        torch.testing.assert_close(
            divided["gradients"][parameter], gradient, rtol=1e-9, atol=1e-12 * max(scale, 1)
        )
    assert divided["loss"] == pytest.approx(whole["loss"], rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", NETWORKS)
@pytest.mark.parametrize("name", RESUMED)
def test_a_divided_training_goes_on_from_where_it_was(
    steps: tuple[dict[str, Any], dict[str, Any]], name: str, backbone: str
) -> None:
    """Weights and optimizer by torch.distributed.checkpoint, the objective's state by `save_parts`."""
    whole, divided = (found[f"{name} {backbone} resumed"] for found in steps)
    for parameter, weight in divided["through"].items():
        assert torch.equal(divided["resumed"][parameter], weight)
        torch.testing.assert_close(weight, whole["through"][parameter], rtol=0, atol=1e-6)
