"""The law of exactness where FSDP2 divides the network over two real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from one_step import DATA, make_divided
from sharded_step import ADDITIVE, MICRO_BATCHES, NETWORKS, RESUMED, TRANSFORMED, Loop
from torch import nn
from transformers import AutoModelForImageClassification

from hf_ood import OODConfig, OODTrainer
from hf_ood.methods.averaging import AVERAGINGS
from hf_ood.methods.objectives.squared_norm import squared_norm
from hf_ood.methods.updates import UPDATES
from hf_ood.trainer.checks import check_division

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


@pytest.mark.nightly
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


@pytest.mark.nightly
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


def test_the_norm_of_the_weights_matters_to_the_law() -> None:
    """What it adds to the gradients is a thousand times what may differ, and some weights belong to one
    process alone (a class token [1, 1, D])."""
    loop = Loop("irm", "vit")
    loop.model.zero_grad()
    penalty = loop.objective.parameter_penalty(loop.model.parameters(), 0)
    assert penalty is not None
    penalty.backward()
    added = loop.gradients()
    assert min(gradient.abs().max() for gradient in added.values() if gradient.any()) > 1e-6
    assert added["vit.embeddings.cls_token"].any()
    expected = sum(parameter.square().sum() for parameter in loop.model.parameters())
    torch.testing.assert_close(squared_norm(loop.model.parameters()), expected)


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sharded_trainer")
    make_divided("vit", DATA["ragged"])[0].save_pretrained(folder / "vit")
    return run_both_ways(folder, "sharded_trainer.py")


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["irm+rsc", "coral", "best"])
def test_trainer_trains_a_divided_network_as_a_whole_one(
    trainings: tuple[dict[str, Any], dict[str, Any]], name: str
) -> None:
    """Read with from_pretrained(distributed_config=...); two micro-batches, clipped gradients, AdamW."""
    whole, divided = (found[name] for found in trainings)
    for parameter, weight in whole["weights"].items():
        torch.testing.assert_close(divided["weights"][parameter], weight, rtol=0, atol=1e-8)
    torch.testing.assert_close(divided["predictions"], whole["predictions"], rtol=0, atol=1e-8)
    for ours, theirs in zip(divided["logs"], whole["logs"], strict=True):
        assert ours.keys() == theirs.keys()
        for key in ours:
            if not key.endswith(("runtime", "per_second", "total_flos")):
                assert ours[key] == pytest.approx(theirs[key], rel=1e-6, abs=1e-8), key


@pytest.mark.nightly
def test_a_saved_network_is_whole_and_the_best_is_loaded(
    trainings: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    best = trainings[1]["best"]
    saved = AutoModelForImageClassification.from_pretrained(best["best"], dtype=torch.float64)
    for parameter, weight in saved.named_parameters():
        assert torch.equal(best["weights"][parameter], weight.detach()), parameter
    assert Path(best["best"]).name != "checkpoint-3", "the last weights would be those of the best anyway"


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "how"),
    [
        *product([*AVERAGINGS, *UPDATES], ["read", "by hand"]),
        *product(
            ["dann", "cdann", "miro", "sagnet"], ["read"]
        ),  # by hand, the network itself is refused first
    ],
)
def test_what_needs_whole_weights_refuses_a_divided_network(
    trainings: tuple[dict[str, Any], dict[str, Any]], name: str, how: str
) -> None:
    said = trainings[1]["refusals"][f"{name} {how}"]
    assert said.startswith(name)
    assert "FSDP" in said


@pytest.mark.nightly
def test_other_refusals_under_two_processes(trainings: tuple[dict[str, Any], dict[str, Any]]) -> None:
    refusals = trainings[1]["refusals"]
    assert refusals["fsdp"].startswith("fsdp does nothing on a CPU")
    assert "save_only_model" in refusals["checkpoint"]  # said by Trainer
    assert "divided by hand" in refusals["divided by hand"]
    assert refusals["divided by from_pretrained"] == ""
    assert "not finite (noticed at step 7)" in refusals["not finite"]


def test_one_process_refuses_fsdp_too(tmp_path: Path) -> None:
    """Said by Trainer, which wants several processes before it looks at the device."""
    args = OODConfig(output_dir=str(tmp_path), use_cpu=True, fsdp="full_shard")
    with pytest.raises(ValueError, match="fsdp"):
        OODTrainer(nn.Linear(2, 2), args)


@pytest.mark.parametrize("degree", ["tp_size", "pp_size", "ep_size"])
def test_processes_that_see_the_same_samples_are_refused(degree: str) -> None:
    model = nn.Linear(2, 2)
    model.config = SimpleNamespace(distributed_config=SimpleNamespace(**{degree: 2}))
    with pytest.raises(ValueError, match=degree):
        check_division(model, by_accelerate=False)
