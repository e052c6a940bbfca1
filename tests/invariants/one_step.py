"""One optimizer step of every additive objective and every update, on one or several processes; the
gradients go to a file.

torchrun --nproc_per_node 2 tests/invariants/one_step.py FOLDER
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from backbones import BACKBONES, LANGUAGE, make_backbone
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast, TrainerCallback, set_seed

from hf_ood import RSC, LeNetConfig, LeNetForImageClassification, OODConfig, OODTrainer, SagNet
from hf_ood.data import EnvironmentDataset, collate
from hf_ood.data.mapped_dataset import ArrowEnvironmentDataset
from hf_ood.data.text import Pad, TokenReader
from hf_ood.methods.losses import LDAM, CrossEntropy, Focal, LogitAdjusted, SampleLoss
from hf_ood.methods.objectives import OBJECTIVES, Objective
from hf_ood.methods.registry import build_method
from hf_ood.methods.updates import UPDATES, Update

BATCH = 48
# Every layout of one batch of 48 over processes and micro-batches.
LAYOUTS = {1: [(48, 1), (12, 4), (16, 3)], 2: [(24, 1), (12, 2)]}
# Equal environments; ragged ones, of which the smallest is absent from most micro-batches and one process.
DATA = {"equal": (16, 16, 16), "ragged": (30, 16, 2)}
# Weights that make each penalty's gradient as large as the risk's.
OPTIONS: dict[str, dict[str, Any]] = {
    "irm": {"warmup_steps": 0, "penalty_weight": 20.0, "l2": 0.01},
    "vrex": {"warmup_steps": 0, "penalty_weight": 20.0},
    "group_dro": {"step_size": 20.0},
    "sample_cvar": {"initial_threshold": 0.7, "share": 0.3},
    "reweighting": {"power": 4.0},
    "eqrm": {"burn_in_steps": 0},
    "ib_erm": {"warmup_steps": 0},
    "ib_irm": {"warmup_steps": 0, "bottleneck_warmup_steps": 0},
    "sd": {"penalty_weight": 10.0, "l2": 0.01},
    "coral": {"penalty_weight": 1e6},
    "causirl": {"penalty_weight": 1e6},
    "mmd": {"penalty_weight": 1e3},
    "rdm": {"warmup_steps": 0, "penalty_weight": 300.0, "variance_weight": 3.0},
    "fishr": {"warmup_steps": 0, "penalty_weight": 1e5},
    "sam": {"rho": 0.5},
    "sand_mask": {"k": 1e-3},
    "iga": {"penalty_weight": 1.0},
    "dann": {"schedule": "constant", "weight": 30.0, "width": 16},
    "cdann": {"schedule": "constant", "weight": 30.0, "width": 16},
    "miro": {"weight": 30.0},
    "sagnet": {"weight": 30.0},
}

# Options that change what is summed up, or how it is put together: each as a method of its own.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "erm by environment": ("erm", {"weighting": "environments"}),
    "irm unbiased": ("irm", {"estimator": "unbiased"}),
    "fishr by environment": ("fishr", {"weighting": "environments"}),
    "rdm by moments": ("rdm", {"match": "moments"}),
    "sd by environment": ("sd", {"weighting": "environments"}),
    "dann + gradient": ("dann", {"gradient_penalty": 3.0, "weighting": "environments"}),
    "cdann + gradient": ("cdann", {"gradient_penalty": 3.0}),
}
# Losses of samples, beneath an objective that needs no pass in advance and two that do.
LOSSES: dict[str, SampleLoss] = {
    "smoothed": CrossEntropy(label_smoothing=0.2),
    "weighted": CrossEntropy(class_weights="1,8"),
    "focal": Focal(gamma=2.0, class_weights="1,8"),
    "adjusted": LogitAdjusted(tau=2.0),
    "margins": LDAM(max_margin=0.8, scale=2.0),
}
UNDER_LOSSES = ("erm", "irm", "fishr")

# Also SAM on an objective that needs a pass in advance; MLDG on one with a penalty on the weights.
UPDATED = [*UPDATES, "vrex+sam", "sd+mldg"]

# Networks of transformers, under a method on features and a transform that treats each sample alone.
BACKBONE_METHOD = ("fishr", {"mask": "channel", "restoration": "none"})
# In float64, as some amplify the rounding of float32; each as a whole and divided both ways at once.
BACKBONE_LAYOUTS = {1: (48, 1), 2: (12, 2)}
# Also with a network that has a loss of its own; of these, IRM needs a pass in advance and ERM does not.
WITH_OWN_LOSS = ("erm", "irm")


MAX_GRAD_NORM = 0.5  # of "dann+clipped", below the norm that it finds


def own_partners(self: SagNet, number: int, device: torch.device) -> torch.Tensor:
    """Everyone is his own partner: others depend on who shares a micro-batch."""
    return torch.arange(number, device=device)


with_own_partners = patch.object(SagNet, "partners", own_partners)


class WithOwnLoss(LeNetForImageClassification):
    """LeNet with an auxiliary loss [B]: features are to be of unit length, another one for each sample."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs, output_hidden_states=True)
        features = output.hidden_states[0].flatten(1)
        output.hidden_states = None
        output["auxiliary_loss"] = (features.square().mean(1) - 1).square()
        return output


class KeepGradients(TrainerCallback):
    """Copies the gradients just before the optimizer uses them: the network's, and the objective's own."""

    objective: Objective

    def on_pre_optimizer_step(self, *args: Any, model: nn.Module, **kwargs: Any) -> None:
        self.gradients = {
            name: parameter.grad.clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self.own_gradients = {
            str(number): parameter.grad.clone()
            for number, parameter in enumerate(self.objective.parameters())
        }


class MoveFromStart(TrainerCallback):
    """Moves the weights once the training has kept its start: before, nothing would hold features back."""

    def on_train_begin(self, *args: Any, model: nn.Module, **kwargs: Any) -> None:
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    noise = torch.randn(parameter.shape, generator=generator)
                    parameter.add_(noise * 0.1 * parameter.abs().mean())


def make_data(counts: tuple[int, ...]) -> EnvironmentDataset:
    generator = torch.Generator().manual_seed(1)
    total = sum(counts)
    return EnvironmentDataset(
        torch.randint(0, 256, (total, 3, 28, 28), generator=generator, dtype=torch.uint8),
        torch.randint(0, 2, (total,), generator=generator),
        torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)),
        ["a", "b"],
        [f"environment_{number}" for number in range(len(counts))],
    )


def make_texts(counts: tuple[int, ...]) -> EnvironmentDataset:
    """The same labels and environments, of texts of 2 to 12 tokens: micro-batches are padded differently."""
    generator, like = torch.Generator().manual_seed(2), make_data(counts)
    lengths = torch.randint(2, 13, (len(like),), generator=generator).tolist()
    ids = [torch.randint(1, 30, (length,), generator=generator).tolist() for length in lengths]
    tokens = {"input_ids": ids, "attention_mask": [[1] * length for length in lengths]}
    padding = Tokenizer(WordLevel({"[PAD]": 0}, "[PAD]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=padding, pad_token="[PAD]")
    return ArrowEnvironmentDataset(
        Dataset.from_dict(tokens),
        TokenReader(tuple(tokens)),
        torch.arange(len(like)),
        like.labels,
        like.environments,
        like.label_names,
        like.environment_names,
        finish=Pad(tokenizer),
        processor=tokenizer,
    )


def make_divided(backbone: str, counts: tuple[int, ...]) -> tuple[PreTrainedModel, EnvironmentDataset]:
    """A network of float64 without randomness, and data that it takes."""
    model = make_backbone(backbone, num_labels=2).double()
    for module in model.modules():
        for name, value in vars(module).items():
            if isinstance(value, float) and (isinstance(module, nn.Dropout) or "drop" in name):
                setattr(module, name, 0.0)
    return model, make_texts(counts) if backbone in LANGUAGE else make_data(counts)


def collate_double(batch: Any) -> dict[str, Any]:
    """As the dataset collates, pixels in float64."""
    batch = collate(batch)
    return {name: part.double() if part.is_floating_point() else part for name, part in batch.items()}


def backbone_gradients(
    backbone: str, data_name: str, layout: tuple[int, int], folder: Path, transformed: bool = True
) -> dict[str, Any]:
    name, rsc = BACKBONE_METHOD
    model, data = make_divided(backbone, DATA[data_name])
    return gradients(
        OBJECTIVES[name](**OPTIONS[name]),
        data,
        *layout,
        folder,
        model,
        RSC(**rsc) if transformed else None,
        collator=collate_double,
        freeze_batch_norm=True,
    )


def make_model(
    model_class: type[LeNetForImageClassification] = LeNetForImageClassification,
) -> LeNetForImageClassification:
    """A LeNet with weights twice as large as at its start, where logits are nearly 0 and penalties with
    them."""
    set_seed(0)
    model = model_class(LeNetConfig())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def roughen(parameters: list[nn.Parameter]) -> None:
    """Random weights everywhere, also where an objective's own network starts at zero."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)


def gradients(
    objective: Objective,
    data: EnvironmentDataset,
    batch: int,
    accumulation: int,
    folder: Path,
    model: nn.Module | None = None,
    feature_transform: RSC | None = None,
    loss: SampleLoss | None = None,
    update: Update | None = None,
    collator: Callable[[Any], dict[str, Any]] = collate,
    **options: Any,
) -> dict[str, Any]:
    """The gradients of the first step, and the loss that was logged for it."""
    keep = KeepGradients()
    trainer = OODTrainer(
        model or make_model(),
        OODConfig(
            output_dir=str(folder),
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            environment_proportions="natural",
            max_steps=1,
            logging_steps=1,
            save_strategy="no",
            use_cpu=True,
            ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
            disable_tqdm=True,
            **options,
        ),
        objective=objective,
        update=update,
        feature_transform=feature_transform,
        loss=loss,
        train_dataset=data,
        data_collator=collator,
        callbacks=[keep, *([MoveFromStart()] if objective.needs_start else [])],
    )
    keep.objective = trainer.objective
    roughen(trainer.objective.parameters())
    trainer.train()
    return {
        "gradients": keep.gradients,
        "own_gradients": keep.own_gradients,
        **trainer.state.log_history[0],
    }


@with_own_partners
def main(folder: Path) -> None:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    gc.freeze()  # Trainer collects garbage after every run: not in what the libraries hold
    found = {}
    cases = [(name, LeNetForImageClassification) for name, cls in OBJECTIVES.items() if cls.additive]
    cases += [(name, WithOwnLoss) for name in WITH_OWN_LOSS]
    updated = [(name, LeNetForImageClassification) for name in UPDATED]
    for data_name, counts in DATA.items():
        for name, model_class in [*cases, *(updated if data_name == "ragged" else [])]:
            for batch, accumulation in LAYOUTS[processes]:
                method = build_method(name, OPTIONS)
                own = "+own_loss" if model_class is WithOwnLoss else ""
                key = f"{name}{own} {data_name} {processes}x{batch}x{accumulation}"
                found[key] = gradients(
                    method.objective,
                    make_data(counts),
                    batch,
                    accumulation,
                    folder / f"run_{processes}",
                    make_model(model_class),
                    update=method.update,
                )
        for batch, accumulation in LAYOUTS[processes]:
            layout, folder_here = (batch, accumulation), folder / f"run_{processes}"
            for key, (name, changes) in VARIANTS.items():
                objective = OBJECTIVES[name](**{**OPTIONS.get(name, {}), **changes})
                found[f"{key} {data_name} {processes}x{batch}x{accumulation}"] = gradients(
                    objective, make_data(counts), *layout, folder_here
                )
            for (key, loss), name in product(LOSSES.items(), UNDER_LOSSES):
                found[f"{name} {key} {data_name} {processes}x{batch}x{accumulation}"] = gradients(
                    OBJECTIVES[name](**OPTIONS.get(name, {})),
                    make_data(counts),
                    *layout,
                    folder_here,
                    loss=loss,
                )
        batch, accumulation = BACKBONE_LAYOUTS[processes]
        for backbone in BACKBONES:
            found[f"{backbone} {data_name} {processes}x{batch}x{accumulation}"] = backbone_gradients(
                backbone, data_name, (batch, accumulation), folder / f"run_{processes}"
            )
        for batch, accumulation in LAYOUTS[processes]:
            found[f"dann+clipped {data_name} {processes}x{batch}x{accumulation}"] = gradients(
                OBJECTIVES["dann"](**OPTIONS["dann"]),
                make_data(counts),
                batch,
                accumulation,
                folder / f"run_{processes}",
                max_grad_norm=MAX_GRAD_NORM,
            )
    if int(os.environ.get("RANK", "0")) == 0:
        torch.save(found, folder / f"{processes}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
