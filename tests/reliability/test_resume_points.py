"""A training ends with the same bytes and the same log from whichever of its checkpoints it goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from transformers import EarlyStoppingCallback, TrainerCallback, set_seed

from hf_ood import OODTrainer
from hf_ood.manifest import checkpoints_in
from hf_ood.methods.registry import build_method
from hf_ood.trainer import CorruptCheckpointError

TRAINING, VALIDATION = make_dataset((24, 24, 24)), make_dataset((8, 8, 8), seed=1)  # 3 steps an epoch
CLOCK = ("runtime", "per_second", "total_flos", "_time")
BY_STEPS = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": None}
BY_EPOCH = {"save_strategy": "epoch", "eval_strategy": "epoch", "save_total_limit": None}
EVERY_STEP = {"eval_strategy": "steps", "eval_steps": 1}
BEST = {"load_best_model_at_end": True, "metric_for_best_model": "eval_validation_loss"}
STOPS = {**BEST, "early_stopping_patience": 2, "early_stopping_threshold": 10.0, "max_steps": 12}
RUNS: dict[str, dict[str, Any]] = {
    "steps that end in an epoch": {"max_steps": 8, "logging_steps": 3},
    "steps that end with an epoch": {"max_steps": 6, "logging_steps": 4},
    "epochs": {"max_steps": -1, "num_train_epochs": 3, "logging_steps": 2},
    "part of an epoch": {"max_steps": -1, "num_train_epochs": 2.5, "logging_steps": 2},
    "evaluated by epoch": {"max_steps": 7, "eval_strategy": "epoch", "logging_strategy": "epoch"},
    "evaluated by steps": {"max_steps": 8, "eval_strategy": "steps", "eval_steps": 3, "logging_steps": 5},
    "evaluated at first": {"max_steps": 3, "eval_on_start": True, "eval_strategy": "steps", "eval_steps": 2},
    "the best of each epoch": {"max_steps": -1, "num_train_epochs": 3, **BY_EPOCH, **BEST},
    "the best of steps": {"max_steps": 7, "eval_strategy": "steps", "eval_steps": 1, **BEST},
    "only the best is kept": {"max_steps": 7, **EVERY_STEP, **BEST, "learning_rate": 0.1,
                              "save_total_limit": 1},
    "early stopping by steps": {**STOPS, "eval_strategy": "steps", "eval_steps": 1},
    "early stopping by epoch": {**STOPS, **BY_EPOCH},
    "first step logged": {"max_steps": 5, "logging_first_step": True, "logging_steps": 4},
    "clipped, with a schedule": {"max_steps": 7, "max_grad_norm": 0.1, "lr_scheduler_type": "cosine",
                                 "logging_strategy": "epoch"},
    "micro-batches": {"max_steps": 7, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 12},
}  # fmt: skip
AVERAGES = {"ema": {}, "swa": {"start_step": 2}, "swad": {}, "bma": {}, "group_dro+ema": {}}


def make(folder: Path, method: str = "erm", callbacks: Any = (), **changes: Any) -> OODTrainer:
    set_seed(0)
    settings = {**BY_STEPS, "logging_steps": 2, "eval_strategy": "no", "report_to": "none", **changes}
    args = make_args(folder, **{"load_best_model_at_end": False, **settings})
    built = vars(build_method(method, {}))
    data = {"train_dataset": TRAINING, "eval_dataset": VALIDATION}
    return OODTrainer(make_model(), args, **built, **data, callbacks=list(callbacks))


def log_of(trainer: OODTrainer) -> list[dict[str, Any]]:
    """All but what a clock decides."""
    return [
        {name: value for name, value in entry.items() if not any(part in name for part in CLOCK)}
        for entry in trainer.state.log_history
    ]


def weights(trainer: OODTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_same_from_every_checkpoint(folder: Path, **settings: Any) -> list[int]:
    """Train, then go on from each checkpoint as a killed process would; the steps of the checkpoints."""
    whole = make(folder / "whole", **settings)
    output = whole.train()
    points = checkpoints_in(folder / "whole")
    for point in points:
        killed = folder / point.name
        shutil.copytree(folder / "whole", killed)
        for later in checkpoints_in(killed):
            if int(later.name[11:]) > int(point.name[11:]):
                shutil.rmtree(later)
        resumed = make(killed, **settings)
        again = resumed.train(resume_from_checkpoint=True)
        assert resumed.state.global_step == whole.state.global_step, point.name
        assert log_of(resumed) == log_of(whole), point.name
        assert again.training_loss == output.training_loss
        for name, value in weights(whole).items():
            assert torch.equal(weights(resumed)[name], value), (point.name, name)
    return [int(point.name[11:]) for point in points]


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_a_training_ends_alike_from_every_checkpoint(run: str, tmp_path: Path) -> None:
    assert assert_same_from_every_checkpoint(tmp_path, **RUNS[run])


@pytest.mark.slow
@pytest.mark.parametrize("method", AVERAGES)
def test_an_average_ends_alike_from_every_checkpoint(method: str, tmp_path: Path) -> None:
    evaluated = {"eval_strategy": "steps", "eval_steps": 1, "max_steps": 7, "logging_steps": 3}
    assert_same_from_every_checkpoint(tmp_path, method=method, **evaluated)


class StopsAtStepFive(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 5:
            control.should_training_stop = True


def test_what_another_callback_decided_stays_decided(tmp_path: Path) -> None:
    steps = assert_same_from_every_checkpoint(tmp_path, callbacks=[StopsAtStepFive()], max_steps=9)
    assert steps == [1, 2, 3, 4, 5]


def test_a_finished_training_goes_on_where_more_steps_are_asked_for(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", max_steps=8)
    whole.train()
    make(tmp_path / "parts", max_steps=4).train()
    longer = make(tmp_path / "parts", max_steps=8)
    longer.train(resume_from_checkpoint=True)
    assert longer.state.global_step == 8
    assert all(torch.equal(value, weights(longer)[name]) for name, value in weights(whole).items())


def test_more_patience_goes_on(tmp_path: Path) -> None:
    evaluated = {"max_steps": 12, "eval_strategy": "steps", "eval_steps": 1}
    stops = {**STOPS, **evaluated}
    make(tmp_path, **stops).train()
    longer = make(tmp_path, **{**stops, "early_stopping_patience": 4})
    longer.train(resume_from_checkpoint=True)
    assert longer.state.global_step == 5
    plain = make(tmp_path, callbacks=[EarlyStoppingCallback(9)], **{**evaluated, **BEST})
    plain.train(resume_from_checkpoint=True)
    assert plain.state.global_step == 12


def test_the_best_checkpoint_is_found_where_the_folder_was_moved_to(tmp_path: Path) -> None:
    best = {"max_steps": 6, "eval_strategy": "steps", "eval_steps": 1, **BEST, "learning_rate": 0.1}
    whole = make(tmp_path / "whole", **best)
    whole.train()
    chosen = Path(whole.state.best_model_checkpoint).name
    assert chosen != "checkpoint-6"
    (tmp_path / "whole").rename(tmp_path / "moved")
    moved = make(tmp_path / "moved", **best)
    moved.train(resume_from_checkpoint=True)
    assert all(torch.equal(value, weights(moved)[name]) for name, value in weights(whole).items())
    (tmp_path / "moved" / chosen / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CorruptCheckpointError, match=rf"{chosen}.model.safetensors is damaged.*best so far"):
        make(tmp_path / "moved", **best).train(
            resume_from_checkpoint=str(tmp_path / "moved" / "checkpoint-6")
        )


def test_an_earlier_trainings_checkpoints_are_set_aside_before_the_first_step(tmp_path: Path) -> None:
    make(tmp_path, max_steps=4).train()
    found: list[str] = []

    class Looks(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            found.extend(path.name for path in checkpoints_in(tmp_path))
            control.should_training_stop = True

    make(tmp_path, callbacks=[Looks()], max_steps=2, save_strategy="no").train()
    assert found == [] == checkpoints_in(tmp_path)
    assert [path.name for path in checkpoints_in(tmp_path / "earlier")] == [
        f"checkpoint-{n}" for n in range(1, 5)
    ]


def test_a_step_of_other_samples_is_refused(tmp_path: Path) -> None:
    whole = make(tmp_path, max_steps=6)
    whole.train()
    same = make(tmp_path / "other", max_steps=6, per_device_train_batch_size=8, gradient_accumulation_steps=3)
    same.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(same)[name], value, msg=name)
    other = make(tmp_path / "other", max_steps=6, per_device_train_batch_size=12)
    with pytest.raises(ValueError, match=r"24 samples a step.*now there would be 12.*to be 24"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


def test_a_checkpoint_without_its_end_is_passed_over(tmp_path: Path) -> None:
    make(tmp_path, max_steps=3).train()
    (tmp_path / "checkpoint-3" / "manifest.json").unlink()  # a process killed just before it was written
    with pytest.raises(
        CorruptCheckpointError, match=r"manifest\.json is missing.*newest whole.*checkpoint-2"
    ):
        make(tmp_path / "other", max_steps=3).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    resumed = make(tmp_path, max_steps=3)
    resumed.train(resume_from_checkpoint=True)
    assert (tmp_path / "checkpoint-3" / "manifest.json").exists()
