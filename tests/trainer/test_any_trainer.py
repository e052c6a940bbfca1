"""The mixin over trainers and data that are not this library's: tokenized texts, a loss of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_args, make_dataset, make_model
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    set_seed,
)

from hf_ood import ERM, IRM, EnvironmentOptions, EnvironmentTrainer, OODTrainer, VREx
from hf_ood.objectives import Outputs, Sums
from hf_ood.trainer import EnvironmentEvaluation

PLACES = ["ward", "clinic", "ambulance"]


class Seen(ERM):
    """ERM that counts the environments of every batch."""

    counts: list[list[int]]

    def sums(self, outputs: Outputs) -> Sums:
        self.counts.append(torch.bincount(outputs.environments, minlength=3).tolist())
        return super().sums(outputs)


def seen() -> Seen:
    objective = Seen()
    objective.counts = []
    return objective


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


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    logits, labels = prediction
    return {"right": float((logits.argmax(-1) == labels).mean())}


def test_a_text_tutorial_trains_on_equal_environments_that_its_column_names(tmp_path: Path) -> None:
    data = make_texts()
    trainer = OODTrainer(
        make_bert(),
        plain_arguments(tmp_path, max_steps=60),
        objective=seen(),
        environment_column="place",
        train_dataset=data,
        eval_dataset=data,
        data_collator=padding(),
        compute_metrics=accuracy,
    )
    trainer.train()
    assert trainer.environment_names == sorted(PLACES)
    assert trainer.objective.counts == [[4, 4, 4]] * 60
    metrics = trainer.evaluate()
    logits = trainer.predict(data).predictions
    right = logits.argmax(1) == np.array(data["label"])
    assert metrics["eval_validation_right"] == right.mean() > 0.9
    for place in PLACES:
        own = right[np.array(data["place"]) == place].mean()
        assert metrics[f"eval_validation_{place}_accuracy"] == pytest.approx(own)


def test_an_image_tutorial_with_a_transform_and_a_collator_of_its_own(tmp_path: Path) -> None:
    pixels = make_dataset((24, 24, 24))
    data = Dataset.from_dict(
        {
            "bytes": [image.numpy().tobytes() for image in pixels.columns["pixel_values"]],
            "label": pixels.labels.tolist(),
            "environment": [PLACES[number] for number in pixels.environments.tolist()],
        }
    )

    def as_pixels(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        arrays = [np.frombuffer(raw, np.uint8).reshape(3, 28, 28) for raw in rows["bytes"]]
        return {**rows, "pixel_values": [torch.from_numpy(array / 255.0).float() for array in arrays]}

    def collate_fn(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        return {
            "pixel_values": torch.stack([row["pixel_values"] for row in rows]),
            "labels": torch.tensor([row["label"] for row in rows]),
        }

    data.set_transform(as_pixels)
    set_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=28
    )
    trainer = OODTrainer(
        ViTForImageClassification(config),
        plain_arguments(tmp_path, remove_unused_columns=False),
        objective=seen(),
        train_dataset=data,
        eval_dataset={"validation": data},
        data_collator=collate_fn,
    )
    trainer.train()
    assert trainer.objective.counts == [[4, 4, 4]] * 4
    assert {f"eval_validation_{place}_accuracy" for place in PLACES} <= set(trainer.evaluate())


class WeightedTrainer(Trainer):
    """A user's trainer with a loss of its own."""

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        outputs = model(**inputs)
        loss = F.cross_entropy(outputs.logits, inputs["labels"], torch.tensor([1.0, 3.0]))
        return (loss, outputs) if return_outputs else loss


class EnvironmentWeightedTrainer(EnvironmentTrainer, WeightedTrainer):
    def per_sample(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        logits = model(inputs["pixel_values"]).logits
        weights = torch.tensor([1.0, 3.0])
        losses = F.cross_entropy(logits, inputs["labels"], weights, reduction="none")
        return losses, logits, inputs["environment"]


def test_a_loss_that_is_only_a_mean_is_refused_with_the_way_out(tmp_path: Path) -> None:
    class Without(EnvironmentTrainer, WeightedTrainer):
        pass

    with pytest.raises(TypeError, match=r"WeightedTrainer computes a loss of its own.*per_sample"):
        Without(make_model(), make_args(tmp_path), train_dataset=make_dataset())


class KeepGradients(TrainerCallback):
    def on_pre_optimizer_step(self, *args: Any, model: nn.Module, **kwargs: Any) -> None:
        self.gradient = torch.cat([p.grad.flatten().clone() for p in model.parameters()])


@pytest.mark.parametrize("method", [IRM, VREx])
def test_with_per_sample_it_obeys_the_law_of_exactness(method: Any, tmp_path: Path) -> None:
    """IRM's slopes are taken by autograd, through the user's loss alone."""
    found, objective = [], method(penalty_weight=50.0, warmup_steps=0)
    for batch, accumulation in ((36, 1), (12, 3)):
        keep = KeepGradients()
        trainer = EnvironmentWeightedTrainer(
            make_model(),
            make_args(
                tmp_path,
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=accumulation,
                max_steps=1,
            ),
            objective=objective,
            train_dataset=make_dataset((12, 12, 12)),
            callbacks=[keep],
        )
        trainer.train()
        found.append(keep.gradient)
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)
    model, data = make_model(), make_dataset((12, 12, 12))
    logits = model(data.columns["pixel_values"].float() / 255).logits
    scale = torch.ones((), requires_grad=True)
    risks = []
    for environment in range(3):
        rows = data.environments == environment
        losses = F.cross_entropy(
            scale * logits[rows], data.labels[rows], torch.tensor([1.0, 3.0]), reduction="none"
        )
        risks.append(losses.mean())
    if isinstance(objective, IRM):
        slopes = [torch.autograd.grad(risk, scale, create_graph=True)[0] for risk in risks]
        penalty = torch.stack(slopes).square().mean()
    else:
        penalty = torch.stack(risks).var(correction=0)
    ((torch.stack(risks).mean() + 50 * penalty) / 50).backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=1e-6)


@dataclass
class Arguments(EnvironmentOptions, TrainingArguments):
    """Those of a user's trainer, and of environments."""


def test_arguments_of_ones_own_take_the_environment_options(tmp_path: Path) -> None:
    arguments = Arguments(
        output_dir=str(tmp_path),
        environment_proportions="natural",
        max_steps=2,
        use_cpu=True,
        save_strategy="no",
    )
    trainer = EnvironmentWeightedTrainer(make_model(), arguments, train_dataset=make_dataset((40, 10, 10)))
    assert trainer.options is trainer.args
    trainer.train()


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
