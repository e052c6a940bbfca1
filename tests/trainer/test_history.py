"""A resumed run's history is that of the undisturbed run, and a checkpoint is whole or an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from transformers import set_seed

from hf_ood import EMA, OODTrainer
from hf_ood.methods.registry import build_method
from hf_ood.trainer import CorruptCheckpointError

TRAINING, VALIDATION = make_dataset((24, 24, 24)), make_dataset((8, 8, 8), seed=1)
CLOCK = ("runtime", "per_second", "total_flos", "_time")
METHODS = ("erm", "irm", "group_dro", "dann", "rsc", "mixup", "sam", "ema", "irm+rsc+mixup+sam+ema")


def make(folder: Path, method: str, accumulation: int = 1, **changes: Any) -> OODTrainer:
    """Eight steps, logged every three: a checkpoint at 4 lies in the middle of a window."""
    set_seed(0)
    settings = {
        "max_steps": 8,
        "logging_steps": 3,
        "gradient_accumulation_steps": accumulation,
        "per_device_train_batch_size": 24 // accumulation,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "save_strategy": "steps",
        "save_steps": 4,
        "save_total_limit": None,
        "load_best_model_at_end": False,
        "report_to": "none",
    }
    options = {name: {"warmup_steps": 2} for name in ("irm",) if name in method.split("+")}
    built = build_method(method, options)
    args = make_args(folder, **{**settings, **changes})
    return OODTrainer(make_model(), args, **vars(built), train_dataset=TRAINING, eval_dataset=VALIDATION)


def history(trainer: OODTrainer) -> list[dict[str, Any]]:
    """All that was logged, the end's summary included, but for what a clock decides."""
    return [
        {name: value for name, value in entry.items() if not any(part in name for part in CLOCK)}
        for entry in trainer.state.log_history
    ]


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_it_is_the_same_after_a_resume_in_the_middle_of_a_window(
    method: str, accumulation: int, tmp_path: Path
) -> None:
    whole = make(tmp_path, method, accumulation)
    whole.train()
    resumed = make(tmp_path / "resumed", method, accumulation)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    expected, found = history(whole), history(resumed)
    assert [entry["step"] for entry in expected if "loss" in entry] == [3, 6]
    for entry in (*expected, *found):
        entry.pop("train_loss", None)  # Trainer's own mean counts a resumed run's steps alone
    assert found == expected


@pytest.mark.parametrize(
    "strategy", [{"logging_strategy": "epoch"}, {"logging_steps": 5, "logging_first_step": True}]
)
def test_it_is_the_same_whenever_it_is_logged(strategy: dict[str, Any], tmp_path: Path) -> None:
    whole = make(tmp_path, "group_dro", **strategy)
    whole.train()
    resumed = make(tmp_path / "resumed", "group_dro", **strategy)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    logged = [[entry for entry in history(trainer) if "loss" in entry] for trainer in (whole, resumed)]
    assert logged[0] == logged[1] != []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    make(folder, "group_dro+ema").train()
    return folder


def copied(finished: Path, folder: Path) -> Path:
    target = folder / "checkpoint-4"
    target.mkdir(parents=True)
    for file in (finished / "checkpoint-4").iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


PARTS = ("objective", "averaging", "training_record")


@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
@pytest.mark.parametrize("part", [f"{name}.safetensors" for name in PARTS])
def test_a_damaged_part_of_the_state_is_named(part: str, damage: str, finished: Path, tmp_path: Path) -> None:
    checkpoint = copied(finished, tmp_path)
    file = checkpoint / part
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-9] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    trainer = make(tmp_path, "group_dro+ema")
    with pytest.raises(CorruptCheckpointError, match=rf"{part} is (missing|damaged)"):
        trainer.train(resume_from_checkpoint=str(checkpoint))
    with pytest.raises(ValueError, match="no whole checkpoint"):
        trainer.train(resume_from_checkpoint=True)


def test_every_file_of_a_checkpoint_is_in_its_manifest(finished: Path, tmp_path: Path) -> None:
    for missing in sorted(file.name for file in (finished / "checkpoint-4").iterdir()):
        if missing == "manifest.json":
            continue
        checkpoint = copied(finished, tmp_path / missing)
        (checkpoint / missing).unlink()
        with pytest.raises(CorruptCheckpointError, match=missing):
            make(tmp_path, "group_dro+ema").train(resume_from_checkpoint=str(checkpoint))


def test_a_damaged_manifest_is_named(finished: Path, tmp_path: Path) -> None:
    for content in ("", "{", "[]", json.dumps({"parts": {}})):
        checkpoint = copied(finished, tmp_path / str(len(content)))
        (checkpoint / "manifest.json").write_text(content)
        with pytest.raises(CorruptCheckpointError, match=r"manifest\.json is damaged"):
            make(tmp_path, "group_dro+ema").train(resume_from_checkpoint=str(checkpoint))


def test_a_part_that_nobody_asks_for_is_named(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds the state of ema, which this trainer does not train with"):
        make(tmp_path, "group_dro").train(resume_from_checkpoint=str(finished / "checkpoint-4"))
    assert EMA.name == "ema"


def test_a_part_that_the_checkpoint_never_had_is_named(tmp_path: Path) -> None:
    make(tmp_path, "erm").train()
    with pytest.raises(ValueError, match=r"holds no averaging\.safetensors: it was not trained with ema"):
        make(tmp_path, "ema").train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


def test_a_network_saved_alone_is_not_resumed_from(tmp_path: Path) -> None:
    make(tmp_path, "irm", save_only_model=True).train()
    trainer = make(tmp_path, "irm")
    before = torch.cat([own.detach().flatten() for own in trainer.model.parameters()]).clone()
    with pytest.raises(CorruptCheckpointError, match="save_only_model keeps the network alone"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    after = torch.cat([own.detach().flatten() for own in trainer.model.parameters()])
    assert torch.equal(before, after)
