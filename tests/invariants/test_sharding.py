"""The law of exactness under FSDP2: a network divided over two processes steps as the whole one."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from sharded_step import ADDITIVE, MICRO_BATCHES, NETWORKS, RESUMED, TRANSFORMED, main

from hf_ood.engine import is_sharded

pytestmark = pytest.mark.slow
CASES = [*ADDITIVE, *(f"{name}+rsc" for name in TRANSFORMED)]


@pytest.fixture(scope="session")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of one process with a whole network, and of two with a divided one."""
    folder = tmp_path_factory.mktemp("sharding")
    worker = str(Path(__file__).with_name("sharded_step.py"))
    launcher = "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc_per_node 2".split()
    shown = subprocess.run(
        [sys.executable, *launcher, worker, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert shown.returncode == 0, shown.stderr[-3000:]
    main(folder)
    return torch.load(folder / "1.pt"), torch.load(folder / "2.pt")


@pytest.mark.parametrize(("name", "network", "number"), product(CASES, NETWORKS, MICRO_BATCHES))
def test_a_divided_network_has_the_gradients_of_the_whole(
    steps: tuple[dict[str, Any], dict[str, Any]], name: str, network: str, number: int
) -> None:
    whole, divided = (found[f"{name} {network} {number}"] for found in steps)
    reference = steps[0][f"{name} {network} 1"]
    assert divided["loss"] == pytest.approx(reference["loss"], rel=1e-6)
    scale = max(gradient.abs().max().item() for gradient in reference["gradients"].values())
    for parameter, gradient in reference["gradients"].items():
        torch.testing.assert_close(divided["gradients"][parameter], gradient, rtol=1e-6, atol=1e-8 * scale)
        torch.testing.assert_close(whole["gradients"][parameter], gradient, rtol=1e-6, atol=1e-8 * scale)


@pytest.mark.parametrize(("name", "network"), product(RESUMED, NETWORKS))
def test_it_resumes_to_the_same_weights(
    steps: tuple[dict[str, Any], dict[str, Any]], name: str, network: str
) -> None:
    for found in steps:
        weights = found[f"{name} {network} resumed"]
        for parameter, value in weights["through"].items():
            assert torch.equal(weights["resumed"][parameter], value), parameter


def test_a_whole_network_is_not_taken_for_a_divided_one() -> None:
    assert not is_sharded(torch.nn.Linear(2, 2))
