"""One optimizer step of a tiny smooth network, whose formulas can be written out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from conftest import make_args, make_dataset
from torch import Tensor, nn
from transformers import TrainerCallback, set_seed

from hf_ood import OODTrainer
from hf_ood.data import EnvironmentDataset
from hf_ood.methods.registry import build_method

Weights = dict[str, Tensor]
COUNTS = (13, 11)
LEARNING_RATE = 0.1


class Tiny(nn.Module):
    """A smooth network in float64 that sees 12 numbers of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(12, 5).double()
        self.head = nn.Linear(5, 2).double()
        self.batch_norm = nn.BatchNorm1d(12, momentum=0.5).double()
        self.dropout: nn.Module = nn.Identity()
        self.normalised = False

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
        seen = F.adaptive_avg_pool2d(pixel_values.to(self.hidden.weight.dtype), 2).flatten(1)
        seen = self.batch_norm(seen) if self.normalised else 4 * seen
        return SimpleNamespace(logits=self.head(self.dropout(self.hidden(seen).tanh())))


class Keep(TrainerCallback):
    """The gradients that the optimizer gets, and how many samples the record counted in each step."""

    def on_pre_optimizer_step(self, *args: Any, model: nn.Module, **kwargs: Any) -> None:
        self.gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.counted = self.trainer.record.sums[:, 0].tolist()

    trainer: OODTrainer


def make_tiny(model_class: type[Tiny] = Tiny) -> Tiny:
    set_seed(3)
    model = model_class()
    model.batch_norm.requires_grad_(False)
    return model


def make_data() -> EnvironmentDataset:
    return make_dataset(COUNTS, seed=1)


def train(
    folder: Path, method: str, options: dict[str, Any] | None = None, model: Tiny | None = None, **args: Any
) -> tuple[OODTrainer, Keep]:
    """One step on all 24 samples, in two micro-batches."""
    built, keep = build_method(method, options), Keep()
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 12,
        "gradient_accumulation_steps": 2,
        "environment_proportions": "natural",
        "max_steps": 1,
        "optim": "sgd",
        "learning_rate": LEARNING_RATE,
    }
    keep.trainer = OODTrainer(
        model or make_tiny(),
        make_args(folder, **{**defaults, **args}),
        **vars(built),
        train_dataset=make_data(),
        callbacks=[keep],
    )
    keep.trainer.train()
    return keep.trainer, keep


def start() -> Weights:
    return {n: p.detach().clone() for n, p in make_tiny().named_parameters() if p.requires_grad}


def weights_of(trainer: OODTrainer) -> Weights:
    return {n: p.detach() for n, p in trainer.model.named_parameters() if p.requires_grad}


def same(found: Weights, expected: Weights) -> bool:
    return all(torch.allclose(found[n], expected[n], rtol=1e-6, atol=1e-9) for n in expected)
