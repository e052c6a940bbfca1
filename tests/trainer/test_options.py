"""Every option is classed, and what is inherited changes `OODTrainer` as it changes `Trainer`."""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import option_table as table
import pytest
import torch
from conftest import make_args, make_dataset, make_model
from datasets import Dataset
from tiny_models import save_text_model
from torch import Tensor
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    set_seed,
)

from hf_ood import EnvironmentDataset, OODTrainer

# Both read the same rows in the same order.
SAME_ORDER = {"environment_proportions": "natural", "train_sampling_strategy": "sequential"}
CLOCK = ("runtime", "per_second", "_time", "_mem_", "mem_cpu")
TRAINING, VALIDATION = make_dataset((24, 24, 24)), make_dataset((12, 12, 12), seed=1)


class Rows(torch.utils.data.Dataset):
    """What plain `Trainer` reads of a data set with environments."""

    def __init__(self, dataset: EnvironmentDataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            "pixel_values": self.dataset.columns["pixel_values"][index].float() / 255,
            "labels": int(self.dataset.labels[index]),
        }


def make_texts(rows: int = 48) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (rows,), generator=generator)
    ids = torch.randint(4, 12, (rows, 6), generator=generator)
    return Dataset.from_dict(
        {
            "input_ids": ids.tolist(),
            "labels": labels.tolist(),
            "environment": [number % 2 for number in range(rows)],
        }
    )


def make_reader() -> BertForSequenceClassification:
    set_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=12,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=16,
        )
    )


TEXTS, READ = make_texts(), make_texts(16)


def make_pair(
    folder: Path, options: Callable[[], dict[str, Any]] = dict, texts: bool = False, **changes: Any
) -> tuple[OODTrainer, Trainer]:
    """ERM by `OODTrainer` and plain `Trainer`, of the same network on the same rows in the same order.
    `options`: what else both constructors get, made once for each."""
    settings = {"eval_strategy": "no", "load_best_model_at_end": False, "per_device_eval_batch_size": 12}
    settings |= {"report_to": "none", **SAME_ORDER, **changes}
    make = make_reader if texts else make_model
    data: tuple[Any, Any] = (TEXTS, READ) if texts else (TRAINING, VALIDATION)
    ours = OODTrainer(
        make(),
        make_args(folder / "ours", **copy.deepcopy(settings)),
        train_dataset=data[0],
        eval_dataset=data[1],
        **options(),
    )
    plain = [set_.remove_columns("environment") for set_ in data] if texts else [Rows(set_) for set_ in data]
    theirs = Trainer(
        make(),
        make_args(folder / "theirs", **copy.deepcopy(settings)),
        train_dataset=plain[0],
        eval_dataset={"validation": plain[1]},
        **options(),
    )
    return ours, theirs


def train_pair(*args: Any, **changes: Any) -> tuple[OODTrainer, Trainer]:
    pair = make_pair(*args, **changes)
    for trainer in pair:
        set_seed(0)
        trainer.train()
    return pair


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: own.detach().clone() for name, own in trainer.model.named_parameters()}


def history(trainer: Trainer) -> list[dict[str, Any]]:
    """What was logged; of what a clock or the memory decides, that it was."""
    return [
        {name: None if any(part in name for part in CLOCK) else value for name, value in entry.items()}
        for entry in trainer.state.log_history
    ]


def files(trainer: Trainer) -> set[str]:
    folder = Path(str(trainer.args.output_dir))
    return {str(file.relative_to(folder)) for file in folder.rglob("*")}


def assert_alike(ours: OODTrainer, theirs: Trainer, tolerance: float = 1e-4) -> None:
    """The same weights, the same files, the same numbers in the log; ours may have more beside them."""
    for name, expected in weights(theirs).items():
        torch.testing.assert_close(
            weights(ours)[name], expected, rtol=tolerance, atol=tolerance / 10, msg=name
        )
    assert ours.state.global_step == theirs.state.global_step
    for entry, expected_entry in zip(history(ours), history(theirs), strict=True):
        for name, value in expected_entry.items():
            assert entry[name] == (value if value is None else pytest.approx(value, rel=1e-2)), name
    assert files(theirs) <= files(ours)


def differs(one: Trainer, other: Trainer) -> bool:
    """Whether weights, log or files of two trainings of `Trainer` differ."""
    pairs = zip(weights(one).values(), weights(other).values(), strict=True)
    moved = any(not torch.equal(ours, theirs) for ours, theirs in pairs)
    return moved or history(one) != history(other) or files(one) != files(other)


LINEAR = {"lr_scheduler_type": "linear"}
STEPS = {"eval_strategy": "steps", "eval_steps": 2}
SAVED = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": None}
# Option -> what both are trained with; every one changes what `Trainer` does.
COMPARED: dict[str, dict[str, Any]] = {
    "learning_rate": {"learning_rate": 3e-3},
    "optim": {"optim": "adafactor"},
    "optim_args": {"optim": "sgd", "optim_args": "momentum=0.9"},
    "weight_decay": {"weight_decay": 0.5},
    "adam_beta1": {"adam_beta1": 0.5},
    "adam_beta2": {"adam_beta2": 0.9},
    "adam_epsilon": {"adam_epsilon": 1e-2},
    "max_grad_norm": {"max_grad_norm": 0.05},
    "lr_scheduler_type": LINEAR,
    "lr_scheduler_kwargs": {
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.5},
    },
    "warmup_steps": {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 2},
    "per_device_train_batch_size": {"per_device_train_batch_size": 36},
    "dataloader_drop_last": {"per_device_train_batch_size": 20, "dataloader_drop_last": False},
    "num_train_epochs": {"max_steps": -1, "num_train_epochs": 2},
    "max_steps": {"max_steps": 2},
    "gradient_accumulation_steps": {"gradient_accumulation_steps": 2},
    "accelerator_config": {"accelerator_config": {"gradient_accumulation_kwargs": {"num_steps": 3}}},
    "logging_strategy": {"logging_strategy": "epoch"},
    "logging_steps": {"logging_steps": 2},
    "logging_first_step": {"logging_steps": 3, "logging_first_step": True},
    "include_num_input_tokens_seen": {"include_num_input_tokens_seen": "all"},
    "skip_memory_metrics": {"skip_memory_metrics": False},
    "eval_strategy": {"eval_strategy": "epoch"},
    "eval_steps": STEPS,
    "eval_delay": {**STEPS, "eval_delay": 3},
    "eval_on_start": {**STEPS, "eval_on_start": True},
    "save_strategy": {"save_strategy": "epoch"},
    "save_steps": SAVED,
    "save_total_limit": {**SAVED, "save_total_limit": 1},
    "save_only_model": {**SAVED, "save_only_model": True},
}
# These change how a training goes on, not what comes of it.
WORKER = {"dataloader_num_workers": 1, "max_steps": 3}  # an epoch to its end
WITHOUT_TRACE: dict[str, dict[str, Any]] = {
    "per_device_eval_batch_size": {**STEPS, "per_device_eval_batch_size": 9},
    "eval_accumulation_steps": {**STEPS, "eval_accumulation_steps": 1},
    "dataloader_num_workers": {**WORKER},
    "torch_empty_cache_steps": {"torch_empty_cache_steps": 1},
    "optim_target_modules": {"optim_target_modules": "all-linear"},
}


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    return train_pair(tmp_path_factory.mktemp("baseline"))[1]


def test_every_option_of_the_release_is_classed_once() -> None:
    classes = (table.inherited(), set(table.HONOURED), set(table.REFUSED))
    classed = set[str]().union(*classes)
    assert sum(map(len, classes)) == len(classed), "an option stands in two classes"
    assert table.installed() - classed == set(), "class these options in option_table.py"
    assert classed - table.installed() <= set(table.OF_ONE_RELEASE), "these options are no more"


def test_every_option_has_the_test_of_its_class() -> None:
    for tests in ("test_choice", "test_honoured_options"):
        importlib.import_module(tests)  # their marks fill the list of what is shown
    refusals = importlib.import_module("test_refused_options").REFUSALS
    compared = {*COMPARED, *WITHOUT_TRACE, *table.SHOWN}
    assert table.inherited() - set(table.NOT_COMPARED) - compared == set()
    assert set(table.NOT_COMPARED) <= table.inherited() - compared
    assert set(table.HONOURED) - set(table.SHOWN) == set()
    assert set(table.REFUSED) == set(refusals)


@pytest.mark.slow
@pytest.mark.parametrize("option", COMPARED)
def test_what_is_inherited_changes_both_alike(option: str, baseline: Trainer, tmp_path: Path) -> None:
    ours, theirs = train_pair(tmp_path, **COMPARED[option])
    assert_alike(ours, theirs)
    assert differs(theirs, baseline), "an example that changes nothing shows nothing"


@pytest.mark.parametrize("option", WITHOUT_TRACE)
def test_what_leaves_no_trace_in_trainer_leaves_none_here(option: str, tmp_path: Path) -> None:
    ours, theirs = train_pair(tmp_path, **WITHOUT_TRACE[option])
    assert getattr(ours.args, option) == WITHOUT_TRACE[option][option]
    assert_alike(ours, theirs)


@table.shows("dataloader_prefetch_factor", "dataloader_persistent_workers", "dataloader_in_order")
def test_workers_fetch_batches_as_in_trainer(tmp_path: Path) -> None:
    asked = {"prefetch_factor": 3, "persistent_workers": True, "in_order": False}
    for trainer in make_pair(
        tmp_path, **WORKER, **{f"dataloader_{name}": value for name, value in asked.items()}
    ):
        loader = trainer.get_train_dataloader()
        assert {name: getattr(loader, name) for name in asked} == asked


@table.shows("bf16")
def test_bfloat16_is_that_of_trainer(tmp_path: Path) -> None:
    ours, theirs = train_pair(tmp_path / "bf16", bf16=True, texts=True, optim="sgd")
    whole, _ = train_pair(tmp_path / "whole", texts=True, optim="sgd")
    assert_alike(ours, theirs, tolerance=2e-3)
    assert any(not torch.equal(own, weights(whole)[name]) for name, own in weights(ours).items())


@pytest.mark.parametrize("option", ["bf16_full_eval", "fp16_full_eval"])
@table.shows("bf16_full_eval", "fp16_full_eval")
def test_evaluation_in_half_precision_is_that_of_trainer(option: str, tmp_path: Path) -> None:
    ours, theirs = make_pair(tmp_path, texts=True, per_device_eval_batch_size=8, **{option: True})
    found = ours.evaluate()["eval_validation_loss"]
    assert found == pytest.approx(theirs.evaluate()["eval_validation_loss"], rel=1e-4)
    assert next(ours.model.parameters()).dtype == (
        torch.bfloat16 if option == "bf16_full_eval" else torch.float16
    )


@table.shows("neftune_noise_alpha")
def test_noise_on_embeddings_is_that_of_trainer(tmp_path: Path) -> None:
    ours, theirs = train_pair(tmp_path, texts=True, neftune_noise_alpha=20.0)
    quiet, _ = train_pair(tmp_path / "quiet", texts=True)
    assert_alike(ours, theirs)
    assert any(not torch.equal(own, weights(quiet)[name]) for name, own in weights(ours).items())


@table.shows("use_cache")
def test_the_cache_of_keys_is_switched_as_in_trainer(tmp_path: Path) -> None:
    for asked in (True, False):
        ours, theirs = make_pair(tmp_path, texts=True, use_cache=asked)
        assert ours.model.config.use_cache == theirs.model.config.use_cache == asked


@table.shows("full_determinism")
def test_full_determinism_is_switched_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG", "FLASH_ATTENTION_DETERMINISTIC"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    try:
        make_pair(tmp_path, full_determinism=True)[0].train()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False


@table.shows("length_column_name")
def test_lengths_are_read_from_their_column(tmp_path: Path) -> None:
    lengths = TEXTS.add_column("tokens", [1 + number % 7 for number in range(len(TEXTS))])
    strategy = {"train_sampling_strategy": "group_by_length", "length_column_name": "tokens"}
    settings = {"environment_proportions": "natural", "eval_strategy": "no", **strategy}
    args = make_args(tmp_path, remove_unused_columns=True, **settings)
    found = [
        trainer_class(make_reader(), args, train_dataset=lengths)._get_train_sampler()
        for trainer_class in (OODTrainer, Trainer)
    ]
    assert found[0].lengths == found[1].lengths == lengths["tokens"][:]


@table.shows("optimizer_cls_and_kwargs")
def test_an_optimizer_class_of_ones_own_moves_both_alike(baseline: Trainer, tmp_path: Path) -> None:
    given = {"optimizer_cls_and_kwargs": (torch.optim.Adagrad, {"lr": 0.05})}
    ours, theirs = train_pair(tmp_path, lambda: given)
    assert "Adagrad" in type(ours.optimizer.optimizer).__name__
    assert_alike(ours, theirs)
    assert differs(theirs, baseline)


class Listening(TrainerCallback):
    """Writes down the events it hears of, and stops a training after two steps."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            object.__getattribute__(self, "heard").append(name)
        return object.__getattribute__(self, name)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == 2


@table.shows("callbacks")
def test_callbacks_hear_the_same_events_and_can_stop_a_training(tmp_path: Path) -> None:
    listeners: list[Listening] = []

    def options() -> dict[str, Any]:
        listeners.append(Listening())
        return {"callbacks": [listeners[-1]]}

    ours, theirs = train_pair(tmp_path, options, **STEPS, save_strategy="steps", save_steps=1)
    assert_alike(ours, theirs)
    assert ours.state.global_step == 2
    assert listeners[0].heard == listeners[1].heard


@table.shows("processing_class")
def test_the_processor_is_saved_beside_the_weights(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(save_text_model(tmp_path / "reader"))
    ours, theirs = train_pair(tmp_path, lambda: {"processing_class": tokenizer}, texts=True, **SAVED)
    assert "checkpoint-4/tokenizer_config.json" in files(theirs)
    assert files(theirs) <= files(ours)


def resume_pair(folder: Path, step: int, options: Callable[[], dict[str, Any]] = dict, **changes: Any) -> Any:
    pair = make_pair(folder, options, **changes)
    for trainer in pair:
        trainer.train(resume_from_checkpoint=f"{trainer.args.output_dir}/checkpoint-{step}")
    return pair


@table.shows("ignore_data_skip")
def test_a_resumed_run_may_begin_its_epoch_again(tmp_path: Path) -> None:
    train_pair(tmp_path, **SAVED)
    skipped, _ = resume_pair(tmp_path, 1)
    ours, theirs = resume_pair(tmp_path, 1, ignore_data_skip=True)
    assert_alike(ours, theirs)
    assert any(not torch.equal(own, weights(skipped)[name]) for name, own in weights(ours).items())


@table.shows("restore_callback_states_from_checkpoint")
def test_callbacks_go_on_with_their_state(tmp_path: Path) -> None:
    def patience(number: int) -> Callable[[], dict[str, Any]]:
        return lambda: {"callbacks": [EarlyStoppingCallback(number, 10.0)]}  # no step is a better one

    kept = {**SAVED, "eval_strategy": "steps", "eval_steps": 1, "metric_for_best_model": "validation_loss"}
    kept |= {"load_best_model_at_end": True, "greater_is_better": False}
    train_pair(tmp_path, patience(9), **kept)
    restored = resume_pair(tmp_path, 2, patience(1), **kept, restore_callback_states_from_checkpoint=True)
    fresh = resume_pair(tmp_path, 2, patience(1), **kept)
    for trainers, expected in ((restored, 9), (fresh, 1)):
        for trainer in trainers:
            stopping = next(
                c for c in trainer.callback_handler.callbacks if isinstance(c, EarlyStoppingCallback)
            )
            assert stopping.early_stopping_patience == expected
