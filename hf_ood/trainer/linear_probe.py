"""Linear probing: features of a frozen network once, then heads on them, with any objective."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler
from transformers import PreTrainedModel

from ..data import EnvironmentDataset, collate
from ..models import Penultimate
from ..objectives import ERM, Objective, Outputs
from ..objectives.functional import at_least_float32


@torch.no_grad()
def cached_features(
    model: PreTrainedModel, dataset: EnvironmentDataset, batch_size: int = 256
) -> EnvironmentDataset:
    """What the model's last linear layer sees of every sample, float [N, D] as `pixel_values`, in order.

    The model is run once, in evaluation mode, where it lies. Labels, environments and names are the data's.
    Raises `ValueError` when the model ends in no linear layer.
    """
    penultimate = Penultimate(model)
    was_training = model.training
    model.eval()
    found = []
    for batch in DataLoader(dataset, batch_size, sampler=SequentialSampler(dataset), collate_fn=collate):
        inputs = {
            name: values.to(model.device)
            for name, values in batch.items()
            if name not in ("labels", "environment")
        }
        with penultimate:
            model(**inputs)
        found.append(at_least_float32(penultimate.take()).cpu())
    model.train(was_training)
    return EnvironmentDataset(
        torch.cat(found),
        dataset.labels,
        dataset.environments,
        dataset.label_names,
        dataset.environment_names,
    )


def fit_head(
    head: nn.Linear,
    features: EnvironmentDataset,
    objective: Objective | None = None,
    *,
    steps: int = 1000,
    batch_size: int | None = None,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> nn.Linear:
    """Train `head` in place on cached features with any objective (default: ERM), and return it.

    `batch_size`: rows drawn for each step, as many from every environment; None: all rows at every step.
    Adam, as `OODTrainer`. Raises `ValueError` for fewer environments than the objective compares.

    Example:
        features = cached_features(model, data["train"])
        fit_head(Penultimate(model).classifier, features, IRM(penalty_weight=10.0, warmup_steps=0))
    """
    objective = objective or ERM()
    device = head.weight.device
    inputs = features.columns["pixel_values"].to(device)
    labels, environments = features.labels.to(device), features.environments.to(device)
    number = len(features.environment_names)
    present = torch.bincount(environments, minlength=number) > 0
    if int(present.sum()) < objective.min_environments:
        raise ValueError(
            f"{objective.name} compares environments: it needs at least {objective.min_environments}, the "
            f"features have {int(present.sum())}."
        )
    objective.build(inputs.shape[1], head.out_features, present)
    optimizer = torch.optim.Adam([*head.parameters(), *objective.parameters()], lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    rows = [(environments == e).nonzero().squeeze(1) for e in present.nonzero().squeeze(1).tolist()]
    for step in range(steps):
        objective.progress = step / steps
        chosen = slice(None) if batch_size is None else draw(rows, batch_size, generator)
        x, where = inputs[chosen], environments[chosen]
        sums = objective.sums(Outputs(head(x), labels[chosen], where, number, x))
        objective.update({name: total.detach() for name, total in sums.items()}, step)
        loss, _ = objective.loss(sums, step)
        penalty = objective.parameter_penalty(head.parameters(), step)
        optimizer.zero_grad()
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
    return head


def draw(rows: list[Tensor], batch_size: int, generator: torch.Generator) -> Tensor:
    """Row numbers, with replacement, in equal parts of each environment's rows."""
    share = max(batch_size // len(rows), 1)
    parts = [own[torch.randint(len(own), (share,), generator=generator).to(own.device)] for own in rows]
    return torch.cat(parts)
