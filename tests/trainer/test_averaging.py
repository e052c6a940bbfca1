"""Averaged weights in the engine: what is evaluated, saved, chosen and left at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import TrainerCallback, set_seed

from hf_ood import BMA, EMA, SWA, SWAD, LeNetConfig, LeNetForImageClassification, OODTrainer
from hf_ood.engine import state_file
from hf_ood.methods.averaging import Averaging
from hf_ood.trainer.checkpoints import find_damage

Weights = dict[str, Tensor]


def state(model: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


class Followed(TrainerCallback):
    """The weights after every step and after every evaluation, and the validation losses."""

    def __init__(self) -> None:
        self.steps: list[Weights] = []
        self.at_evaluation: list[Weights] = []
        self.losses: list[float] = []

    def on_step_end(self, *args: Any, model: nn.Module, **kwargs: Any) -> None:
        self.steps.append(state(model))

    def on_evaluate(self, *args: Any, model: nn.Module, metrics: dict[str, float], **kwargs: Any) -> None:
        self.at_evaluation.append(state(model))
        self.losses.append(metrics["eval_validation_loss"])


def train(
    folder: Path, averaging: Averaging | None, model: nn.Module | None = None, **args: Any
) -> tuple[OODTrainer, Followed]:
    followed = Followed()
    model = model or make_model()
    settings = {"max_steps": 8, "eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": False}
    trainer = OODTrainer(
        model,
        make_args(folder, **{**settings, **args}),
        averaging=averaging,
        train_dataset=make_dataset(),
        eval_dataset=make_dataset((20, 20, 20), seed=1),
        callbacks=[followed],
    )
    trainer.train()
    return trainer, followed


def mean(weights: list[Weights]) -> Weights:
    return {name: torch.stack([w[name] for w in weights]).mean(0) for name in weights[0]}


def ema(weights: list[Weights], decay: float) -> Weights:
    average = weights[0]
    for w in weights[1:]:
        average = {name: decay * value + (1 - decay) * w[name] for name, value in average.items()}
    return average


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_end_is_the_average_of_the_optimizer_steps(accumulation: int, tmp_path: Path) -> None:
    args = {"gradient_accumulation_steps": accumulation, "per_device_train_batch_size": 24 // accumulation}
    _, plain = train(tmp_path, None, **args)
    for averaging in (EMA(0.5, warmup=False), SWA(start=0.5), SWAD(n_converge=1, n_tolerance=1), BMA(1.0)):
        trainer, followed = train(tmp_path, averaging, **args)
        for ours, theirs in zip(followed.steps, plain.steps, strict=True):
            assert all(torch.equal(ours[name], value) for name, value in theirs.items())  # only looked at
        match averaging:
            case EMA():
                expected = ema(plain.steps, 0.5)
            case SWA():
                expected = mean(plain.steps[4:])
            case BMA():
                expected = mean([state(make_model()), *plain.steps])
            case _:  # converged at once; the loss never rises beyond the tolerance
                assert max(plain.losses) < 1.3 * plain.losses[0]
                expected = mean(plain.steps)
        torch.testing.assert_close(state(trainer.model), expected, rtol=1e-5, atol=1e-6)


def test_evaluation_is_of_the_average_and_training_goes_on_with_the_weights(tmp_path: Path) -> None:
    trainer, followed = train(tmp_path, EMA(0.5, warmup=False))
    _, plain = train(tmp_path, None)
    images = make_dataset((20, 20, 20), seed=1)
    for number, loss in enumerate(followed.losses):
        model = make_model().eval()
        model.load_state_dict(ema(plain.steps[: 2 * number + 2], 0.5))
        with torch.no_grad():
            logits = model(images.columns["pixel_values"].float() / 255).logits
        expected = nn.functional.cross_entropy(logits, images.labels)
        assert loss == pytest.approx(expected.item(), rel=1e-4)
        for name, value in plain.steps[2 * number + 1].items():
            assert torch.equal(followed.at_evaluation[number][name], value)
    assert trainer.evaluate()["eval_validation_loss"] == pytest.approx(followed.losses[-1], rel=1e-5)


def test_swad_is_told_the_losses_of_the_weights_as_they_are(tmp_path: Path) -> None:
    trainer, _ = train(tmp_path, SWAD())
    _, plain = train(tmp_path, None)
    assert trainer.averaging.losses == plain.losses


def test_checkpoints_hold_the_average_and_the_best_one_is_loaded(tmp_path: Path) -> None:
    args = {"load_best_model_at_end": True, "save_strategy": "steps", "save_steps": 2, "save_total_limit": 9}
    trainer, followed = train(tmp_path, EMA(0.5, warmup=False), **args)
    for step in (2, 4, 6, 8):
        checkpoint = tmp_path / f"checkpoint-{step}"
        torch.testing.assert_close(
            load_file(checkpoint / "model.safetensors"), ema(followed.steps[:step], 0.5), rtol=1e-5, atol=1e-6
        )
        beside = load_file(checkpoint / state_file("averaging"))
        assert all(torch.equal(beside[f"own/{name}"], w) for name, w in followed.steps[step - 1].items())
    best = load_file(Path(trainer.state.best_model_checkpoint) / "model.safetensors")
    assert all(torch.equal(state(trainer.model)[name], value) for name, value in best.items())
    assert trainer.selection == "best validation mean accuracy over evaluations"
    (checkpoint / "model.safetensors").unlink()
    assert "holds no weights" in str(find_damage(checkpoint))  # the average's file is not the weights


@pytest.mark.parametrize("averaging", [SWA(), SWAD()])
def test_an_average_of_the_whole_training_is_the_choice(averaging: Averaging, tmp_path: Path) -> None:
    args = {"load_best_model_at_end": True, "save_strategy": "steps", "save_steps": 4}
    trainer, followed = train(tmp_path, averaging, **args)
    assert trainer.selection == averaging.selection
    expected = mean(followed.steps[6:]) if isinstance(averaging, SWA) else trainer.averaging.final
    torch.testing.assert_close(state(trainer.model), expected, rtol=1e-5, atol=1e-6)


class WithBatchNorm(LeNetForImageClassification):
    def __init__(self, config: LeNetConfig):
        super().__init__(config)
        self.batch_norm = nn.BatchNorm2d(3)

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        return super().forward_features(self.batch_norm(pixel_values))


def test_batch_statistics_are_averaged_along(tmp_path: Path) -> None:
    set_seed(0)
    trainer, followed = train(tmp_path, SWA(start=0.5), WithBatchNorm(LeNetConfig()))
    found = state(trainer.model)
    means = [weights["batch_norm.running_mean"] for weights in followed.steps]
    torch.testing.assert_close(found["batch_norm.running_mean"], torch.stack(means[4:]).mean(0))
    assert not torch.equal(means[-1], means[-2])
    assert found["batch_norm.num_batches_tracked"] == 8


def test_training_again_starts_a_new_average(tmp_path: Path) -> None:
    trainer, _ = train(tmp_path, EMA())
    trainer.train()
    assert trainer.averaging is not None and trainer.averaging.count == 8


def test_what_cannot_be_averaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="swad goes by the validation loss: give an eval_dataset"):
        OODTrainer(make_model(), make_args(tmp_path), averaging=SWAD(), train_dataset=make_dataset())
    train(tmp_path, None, save_strategy="steps", save_steps=4)
    without = OODTrainer(make_model(), make_args(tmp_path), averaging=EMA(), train_dataset=make_dataset())
    with pytest.raises(ValueError, match="it was not trained with ema"):
        without.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


@pytest.mark.nightly
def test_two_processes_hold_one_average_and_resume_to_it(tmp_path: Path) -> None:
    worker = str(Path(__file__).with_name("averaged_run.py"))
    launcher = "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc_per_node 2".split()
    shown = subprocess.run(
        [sys.executable, *launcher, worker, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert shown.returncode == 0, shown.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for averaging, (whole, resumed) in first.items():
        for name, value in whole.items():
            for other in (resumed, *second[averaging]):
                assert torch.equal(other[name], value), (averaging, name)
