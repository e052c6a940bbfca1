"""Data, networks and trainers of the shapes that users bring: tokenised texts with a padding collator, images
behind `set_transform`, a trainer with a loss of its own.

As a script it takes the first step of IRM on two processes; the gradients go to a file:
torchrun --nproc_per_node 2 tests/own_trainers.py FOLDER
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from datasets import ClassLabel, Dataset
from PIL import Image
from tiny_models import save_image_model, save_text_model
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    EvalPrediction,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    ViTForImageClassification,
)

from hf_ood import IRM, EnvironmentTrainer, OODTrainer
from hf_ood.methods.objectives import Objective, Outputs, Sums

PLACES = ("cinema", "hospital", "radio")
MISLED = {"cinema": 0.1, "hospital": 0.3, "radio": 0.8}  # how often the input tells the other label
COUNTS = (12, 36, 24)  # samples in each place, shuffled among each other
WEIGHTS = torch.tensor([0.5, 1.5])  # of the classes, in the user's own loss
IRM_OPTIONS = {"penalty_weight": 200.0, "warmup_steps": 0}  # a penalty that matters from the first step


class SeenIRM(IRM):
    """IRM that keeps how many samples of each environment were in every batch that it saw."""

    def sums(self, outputs: Outputs) -> Sums:
        counts = outputs.environments.bincount(minlength=outputs.num_environments).tolist()
        self.seen = [*getattr(self, "seen", []), counts]
        return super().sums(outputs)


class KeepGradients(TrainerCallback):
    """The gradients just before the optimizer's first step."""

    gradients: dict[str, Tensor]

    def on_pre_optimizer_step(self, *args: Any, model: nn.Module, **kwargs: Any) -> None:
        if not hasattr(self, "gradients"):
            self.gradients = {
                name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
            }


class WeightedTrainer(Trainer):
    """As users write it: cross-entropy weighted by class, of which only the mean leaves `compute_loss`."""

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = F.cross_entropy(outputs.logits, labels, weight=WEIGHTS)
        return (loss, outputs) if return_outputs else loss


class WithoutHook(EnvironmentTrainer, WeightedTrainer):
    """What is refused."""


class WeightedEnvironmentTrainer(EnvironmentTrainer, WeightedTrainer):
    """And the way out."""

    def per_sample(self, model: nn.Module, inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        labels, environments = inputs.pop("labels"), inputs.pop("environment")
        logits = model(**inputs).logits
        return F.cross_entropy(logits, labels, weight=WEIGHTS, reduction="none"), logits, environments


def shuffled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]


def places(counts: tuple[int, ...]) -> list[str]:
    return [place for place, count in zip(PLACES, counts, strict=True) for _ in range(count)]


def text_data(folder: Path, counts: tuple[int, ...] = COUNTS) -> Dataset:
    """Tokenised and not padded, with columns that no network takes: the text and the name of its place."""
    rng = np.random.default_rng(1)
    rows = []
    for place in places(counts):
        words = " ".join(rng.choice(["film", "scan", "lung", "."], rng.integers(1, 8)))
        label = int(rng.integers(2))
        noisy = label ^ int(rng.random() < MISLED[place])
        rows.append({"text": f"{words} {('bad', 'good')[noisy]}", "label": label, "environment": place})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Dataset.from_list(shuffled(rows)).map(lambda batch: tokenizer(batch["text"]), batched=True)


def image_data(counts: tuple[int, ...] = COUNTS) -> Dataset:
    """Images of several sizes, read and resized when they are needed."""
    rng = np.random.default_rng(2)
    rows = []
    for place in places(counts):
        label, size = int(rng.integers(2)), int(rng.integers(16, 24))
        noisy = label ^ int(rng.random() < MISLED[place])
        pixels = rng.integers(0, 80, (size, size, 3)) + 160 * noisy
        rows.append({"image": Image.fromarray(pixels.astype("uint8")), "label": label, "environment": place})
    data = Dataset.from_list(shuffled(rows)).cast_column("label", ClassLabel(names=["dark", "bright"]))

    data.set_transform(lambda batch: {**batch, "pixel_values": [*map(to_pixels, batch["image"])]})
    return data


def to_pixels(image: Image.Image) -> Tensor:
    small = np.asarray(image.convert("RGB").resize((16, 16)))
    return torch.tensor(small).permute(2, 0, 1).float() / 127.5 - 1


def pick_pixels(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """A collator that knows two columns."""
    return {
        "pixel_values": torch.stack([row["pixel_values"] for row in rows]),
        "labels": torch.tensor([row["label"] for row in rows]),
    }


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """As tutorials have it."""
    return {"hit_rate": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def settings(folder: Path, batch: int = 12, accumulation: int = 1, **options: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "output_dir": str(folder / "run"),
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "max_steps": 1,
        "logging_steps": 1,
        "save_strategy": "no",
        "max_grad_norm": 0.0,
        "disable_tqdm": True,
        "use_cpu": True,
        "report_to": "none",
        "ddp_backend": "gloo" if "WORLD_SIZE" in os.environ else None,
    }
    return {**defaults, **options}


def enlarged(model: Any) -> Any:
    """With larger weights: near their start logits are nearly equal, slopes nearly 0, and penalties with
    them."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
        model.classifier.weight.mul_(4)
    return model


def text_trainer(
    folder: Path, trainer_class: Any = OODTrainer, objective: Objective | None = None, **options: Any
) -> Trainer:
    """Plain `TrainingArguments`, which drop the columns that the network does not take."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return trainer_class(
        model=enlarged(BertForSequenceClassification.from_pretrained(folder)),
        args=TrainingArguments(**settings(folder, **options)),
        objective=objective or SeenIRM(**IRM_OPTIONS),
        train_dataset=text_data(folder),
        eval_dataset=text_data(folder, (5, 6, 7)),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
    )


def image_trainer(
    folder: Path, trainer_class: Any = OODTrainer, objective: Objective | None = None, **options: Any
) -> Trainer:
    return trainer_class(
        model=enlarged(ViTForImageClassification.from_pretrained(folder)),
        args=TrainingArguments(**settings(folder, remove_unused_columns=False, **options)),
        objective=objective or SeenIRM(**IRM_OPTIONS),
        train_dataset=image_data(),
        eval_dataset=image_data((5, 6, 7)),
        data_collator=pick_pixels,
        compute_metrics=accuracy,
    )


def own_loss_trainer(
    folder: Path, trainer_class: Any = WeightedEnvironmentTrainer, **options: Any
) -> Trainer:
    return text_trainer(folder, trainer_class, **options)


TRAINERS: dict[str, tuple[Callable[..., Path], Callable[..., Trainer]]] = {
    "text": (save_text_model, text_trainer),
    "images": (save_image_model, image_trainer),
    "own loss": (save_text_model, own_loss_trainer),
}


def first_step(trainer: Trainer) -> dict[str, Any]:
    """The gradients of a trainer's first step, and the loss that was logged for it."""
    keep = KeepGradients()
    trainer.add_callback(keep)
    trainer.train()
    return {"gradients": keep.gradients, "loss": trainer.state.log_history[0]["loss"]}


def assert_same_step(step: dict[str, Any], whole: dict[str, Any]) -> None:
    """Gradients and loss are equal up to the rounding of float32."""
    assert step["gradients"].keys() == whole["gradients"].keys()
    scale = max(gradient.abs().max().item() for gradient in whole["gradients"].values())
    for name, gradient in whole["gradients"].items():
        torch.testing.assert_close(step["gradients"][name], gradient, rtol=1e-4, atol=1e-5 * scale)
    torch.testing.assert_close(step["loss"], whole["loss"], rtol=1e-5, atol=1e-6)


def main(folder: Path) -> None:
    found = {}
    for name, (_, make) in TRAINERS.items():
        for layout in ((6, 1), (3, 2)):
            found[name, layout] = first_step(make(folder / name, batch=layout[0], accumulation=layout[1]))
    if os.environ["RANK"] == "0":
        torch.save(found, folder / "two.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
