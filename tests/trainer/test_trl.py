"""A trainer of another library: TRL's reward trainer, whose loss compares two answers to one prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from documents import run_block
from own_trainers import (
    COUNTS,
    IRM_OPTIONS,
    MISLED,
    PLACES,
    SeenIRM,
    assert_same_step,
    enlarged,
    first_step,
    places,
    settings,
    shuffled,
)
from tiny_models import save_text_model
from transformers import AutoTokenizer, BertForSequenceClassification, Trainer

from hf_ood import ERM

trl = pytest.importorskip("trl")


# The classes as the document has them.
CLASSES = run_block("your_trainer.md", 3)
RewardArguments, EnvironmentRewardTrainer = CLASSES["RewardArguments"], CLASSES["EnvironmentRewardTrainer"]


def preferences(counts: tuple[int, ...] = COUNTS, mislead: float = 1.0) -> Dataset:
    """Texts: here the good one was chosen, there often the bad one; `mislead` 0: always the good one."""
    rng = np.random.default_rng(3)
    rows = []
    for place in places(counts):
        answers = [f"{word} {' '.join(['film'] * rng.integers(5))}" for word in ("good", "bad")]
        chosen, rejected = answers[::-1] if rng.random() < mislead * MISLED[place] else answers
        rows.append({"prompt": "scan ", "chosen": chosen, "rejected": rejected, "environment": place})
    return Dataset.from_list(shuffled(rows))


def make(
    folder: Path,
    objective: Any = None,
    args_class: Any = trl.RewardConfig,
    mislead: float = 1.0,
    **options: Any,
) -> Trainer:
    save_text_model(folder)
    model = BertForSequenceClassification.from_pretrained(folder, num_labels=1, ignore_mismatched_sizes=True)
    # TRL's defaults are bfloat16 and recomputed activations; the law is tested to more digits.
    options = {"bf16": False, "activation_checkpointing": False, "ddp_backend": None, **options}
    return EnvironmentRewardTrainer(
        enlarged(model),
        args_class(**settings(folder, **options)),
        objective=objective or SeenIRM(**IRM_OPTIONS),
        train_dataset=preferences(mislead=mislead),
        eval_dataset=preferences((5, 6, 7), mislead),
        processing_class=AutoTokenizer.from_pretrained(folder, eos_token="[SEP]"),
    )


def test_every_batch_has_the_environments_in_equal_parts(tmp_path: Path) -> None:
    """The column outlives the tokenisation, and the collator that knows nothing of it."""
    trainer = make(tmp_path, num_train_epochs=2, max_steps=-1)
    assert trainer.environment_names == list(PLACES)
    trainer.train()
    assert trainer.objective.seen == [[4, 4, 4]] * (2 * sum(COUNTS) // 12)


def test_its_arguments_take_the_options_of_environments(tmp_path: Path) -> None:
    options = {"num_train_epochs": 1, "max_steps": -1, "environment_proportions": "natural"}
    trainer = make(tmp_path, args_class=RewardArguments, **options)
    trainer.train()
    assert np.abs(np.array(trainer.objective.seen) - np.array(COUNTS) / 6).max() <= 2
    assert np.array_equal(np.sum(trainer.objective.seen, axis=0), COUNTS)


@pytest.mark.parametrize("layout", [(6, 2), (3, 4)])
@pytest.mark.parametrize("recomputed", [False, True])
def test_a_step_in_micro_batches_has_the_gradient_of_the_whole(
    layout: tuple[int, int], recomputed: bool, tmp_path: Path
) -> None:
    batch, accumulation = layout
    options = {"batch": batch, "accumulation": accumulation, "activation_checkpointing": recomputed}
    assert_same_step(first_step(make(tmp_path, **options)), first_step(make(tmp_path)))


def test_the_law_is_tested_where_the_method_matters(tmp_path: Path) -> None:
    irm, erm = (first_step(make(tmp_path, objective)) for objective in (None, ERM()))
    one, other = (torch.cat([g.flatten() for g in step["gradients"].values()]) for step in (irm, erm))
    assert torch.cosine_similarity(one, other, dim=0) < 0.98


def test_its_loss_falls_and_its_own_measures_are_those_of_evaluations(tmp_path: Path) -> None:
    """With TRL's own defaults."""
    objective = SeenIRM(penalty_weight=1.0, warmup_steps=0.5)
    options = {"max_steps": 40, "learning_rate": 3e-3, "bf16": True, "activation_checkpointing": True}
    trainer = make(tmp_path, objective, mislead=0.0, eval_strategy="steps", eval_steps=20, **options)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    risks = [entry["risk"] for entry in trainer.state.log_history if "risk" in entry]
    assert len(risks) == 40 and np.mean(risks[-5:]) < 0.7 * np.mean(risks[:5])
    assert after["eval_loss"] < before["eval_loss"]
    assert after["eval_accuracy"] > 0.9 and after["eval_margin"] > before["eval_margin"]


@pytest.mark.slow
def test_a_resumed_training_ends_as_the_undisturbed_one(tmp_path: Path) -> None:
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = make(tmp_path, **options)
    whole.train()
    resumed = make(tmp_path, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weight), name
