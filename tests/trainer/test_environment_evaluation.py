"""The evaluating half alone, over a `Trainer` that trains as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from hf_ood.trainer import EnvironmentEvaluation

PLACES = ["ward", "clinic", "ambulance"]


def make_texts() -> Dataset:
    """Tokenized, as a tutorial's `map` leaves them: lists of different lengths, and columns nobody needs."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 96)
    rows = {
        "text": [f"note {i}" for i in range(96)],
        "input_ids": [[1, *(5 + 9 * y + generator.integers(0, 9, 3 + i % 5))] for i, y in enumerate(labels)],
        "label": labels.tolist(),
        "place": [PLACES[i % 7 % 3] for i in range(96)],
    }
    rows["attention_mask"] = [[1] * len(ids) for ids in rows["input_ids"]]
    return Dataset.from_dict(rows)


def make_bert() -> BertForSequenceClassification:
    set_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    return BertForSequenceClassification(config)


def padding() -> DataCollatorWithPadding:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"[PAD]": 0}, "[PAD]")), pad_token="[PAD]"
    )
    return DataCollatorWithPadding(tokenizer)


def plain_arguments(folder: Path, **changes: Any) -> TrainingArguments:
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 12,
        "max_steps": 4,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "learning_rate": 1e-2,
    }
    return TrainingArguments(output_dir=str(folder), **{**defaults, **changes})


@pytest.mark.slow
def test_evaluation_alone_measures_a_trainer_that_trains_as_before(tmp_path: Path) -> None:
    class Measured(EnvironmentEvaluation, Trainer):
        pass

    data, weights = make_texts().rename_column("place", "environment"), []
    for kind in (Trainer, Measured):
        trainer = kind(
            make_bert(),
            plain_arguments(tmp_path, metric_for_best_model="worst_accuracy", greater_is_better=True),
            train_dataset=data,
            eval_dataset=data,
            data_collator=padding(),
        )
        trainer.train()
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    torch.testing.assert_close(*weights)
    assert {"eval_worst_accuracy", "eval_ward_accuracy"} <= set(trainer.evaluate())
