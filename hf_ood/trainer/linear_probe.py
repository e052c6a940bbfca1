"""Linear probing: features of a frozen network once, then heads on them, with any objective."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, repeat

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from ..data import EnvironmentDataset, MemoryEnvironmentDataset
from ..data.collate import images_or_vectors
from ..data.environment_dataset import REPEATS
from ..data.sampler import drawn_shares
from ..data.targets import MULTI_LABEL, PROBLEM_TYPES
from ..engine import ExactStep
from ..engine.own_parameters import rest
from ..methods.losses import BinaryCrossEntropy, SampleLoss, loss_for
from ..methods.masking import FeatureTransform
from ..methods.objectives import ERM, Objective, Outputs
from ..methods.objectives.functional import at_least_float32, sample_losses
from ..models import Penultimate
from ..models.run_over_dataset import batches_of, run_over


class Probe(nn.Module):
    """The last linear layer of a network, the network's own, as a classifier of cached features.

    `inputs`: float [N, D], as in `cached_features`. Training it trains the network's head in place.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.config = getattr(model, "config", None)
        self.classifier = Penultimate(model).classifier

    def forward(
        self,
        inputs: Tensor,
        labels: Tensor | None = None,
        feature_transform: FeatureTransform | None = None,
    ) -> ImageClassifierOutput:
        """`feature_transform`: what is done to the features before the classifier."""
        features = inputs.to(self.classifier.weight.dtype)
        if feature_transform is not None:
            features = feature_transform(features, self.classifier, labels)
        logits = self.classifier(features)
        if labels is None:
            return ImageClassifierOutput(logits=logits)
        several = getattr(self.config, "problem_type", None) == PROBLEM_TYPES[MULTI_LABEL]
        losses = BinaryCrossEntropy()(logits, labels) if several else sample_losses(logits, labels)
        return ImageClassifierOutput(loss=losses.mean(), logits=logits)


@torch.no_grad()
def compute_features(
    model: PreTrainedModel, dataset: EnvironmentDataset, batch_size: int = 256, num_workers: int = 0
) -> Tensor:
    """What the model's last linear layer sees of every sample, in order -> float [N, D], on the CPU.

    The model is run once, in evaluation mode (no dropout, running statistics), where it lies. Raises
    `ValueError` when its logits are not those of its last linear layer on these features.
    """
    head = Probe(model)
    found = [torch.empty(0, head.classifier.in_features)]
    for output, features in run_over(model, batches_of(dataset, batch_size, num_workers), features=True):
        assert features is not None
        if len(found) == 1:
            _check_ends_in(head, at_least_float32(features), output.logits, model)
        found.append(at_least_float32(features).cpu())
    return torch.cat(found)


def _check_ends_in(head: Probe, features: Tensor, logits: Tensor, model: nn.Module) -> None:
    own = head(features).logits
    if own.shape != logits.shape or not torch.allclose(own.float(), logits.float(), rtol=1e-2, atol=1e-3):
        raise ValueError(
            f"{type(model).__name__} does more to its features than one linear layer, so its head cannot be "
            "trained on cached ones: train with the layers of its head as --trainable instead."
        )


def on_features(dataset: EnvironmentDataset, features: Tensor) -> EnvironmentDataset:
    """The same rows, labels, environments, names and processor, with features [N, D] as `inputs`."""
    repeats = {name: column for name, column in dataset.columns.items() if name == REPEATS}
    return MemoryEnvironmentDataset(
        None,
        dataset.labels,
        dataset.environments,
        dataset.label_names,
        dataset.environment_names,
        extras=repeats,
        processor=dataset.processor,
        inputs=features,
    )


def cached_features(
    model: PreTrainedModel, dataset: EnvironmentDataset, batch_size: int = 256
) -> EnvironmentDataset:
    """The dataset with what the model's last linear layer sees of every sample, float [N, D], as
    `inputs`; see `compute_features`."""
    return on_features(dataset, compute_features(model, dataset, batch_size))


def fit_head(
    head: nn.Linear,
    features: EnvironmentDataset,
    objective: Objective | None = None,
    *,
    loss: SampleLoss | None = None,
    steps: int = 1000,
    batch_size: int | None = None,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> nn.Linear:
    """Train `head` in place on cached features with any objective (default: ERM) of any loss of samples
    (default: the usual of the labels, `loss_for`), and return it.

    `batch_size`: rows drawn for each step, as many from every environment; None: all rows at every step.
    Adam, as `OODTrainer`. Raises `ValueError` for fewer environments than the objective compares, for a
    warm-up that outlasts the steps, and for anything but vectors.

    Example:
        features = cached_features(model, data["train"])
        fit_head(Penultimate(model).classifier, features, IRM(penalty_weight=10.0, warmup_steps=0))
    """
    objective = objective or ERM()
    device = head.weight.device
    seen = images_or_vectors(features.columns)
    if seen is None or seen.dim() != 2:
        raise ValueError("fit_head takes vectors in memory, float [N, D], as cached_features gives them.")
    if objective.needs_start:
        raise ValueError(
            f"{objective.name} holds features near those of the network at its start, and cached ones stay "
            "as they are: leave it out."
        )
    inputs = seen.to(device)
    labels, environments = features.labels.to(device), features.environments.to(device)
    number = len(features.environment_names)
    present = torch.bincount(environments, minlength=number) > 0
    if int(present.sum()) < objective.min_environments:
        raise ValueError(
            f"{objective.name} compares environments: it needs at least {objective.min_environments}, the "
            f"features have {int(present.sum())}."
        )
    objective.group_shares = drawn_shares(features, "natural" if batch_size is None else "equal")
    objective.build(inputs.shape[1], head.out_features, present)
    objective.start(steps)
    prepared = loss_for(labels, head.out_features, loss)

    def forward(model: nn.Module, batch: Mapping[str, Tensor]) -> Outputs:
        seen = batch["inputs"]
        return Outputs(model(seen), batch["labels"], batch["environment"], number, seen, prepared, head=head)

    # Fused: a step of a small head is mostly the calls that it takes.
    optimizer = torch.optim.Adam([*head.parameters(), *objective.parameters()], lr=learning_rate, fused=True)
    every_row = (inputs, labels, environments)
    batches = repeat(every_row) if batch_size is None else draw(*every_row, batch_size, seed)
    exact = ExactStep(objective, forward, number)
    for step, (x, y, where) in enumerate(islice(batches, steps)):
        if objective.resets_optimizer(step):
            optimizer.state.clear()
        batch = {"inputs": x, "labels": y, "environment": where}
        exact.begin(head, [batch], step, steps)
        optimizer.zero_grad()
        exact.share(batch).backward()
        rest(objective, head, step)
        optimizer.step()
    return head


def draw(
    inputs: Tensor, labels: Tensor, environments: Tensor, batch_size: int, seed: int, at_once: int = 64
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches for ever: rows with replacement, as many from each environment that is there.

    Drawn for many batches at once: one by one, drawing would take as long as learning.
    """
    order = environments.argsort(stable=True)
    counts = environments.bincount()
    counts = counts[counts > 0].double()
    starts = (counts.cumsum(0) - counts).long()
    share = max(batch_size // len(counts), 1)
    generator = torch.Generator().manual_seed(seed)
    while True:
        numbers = torch.rand(at_once, share, len(counts), generator=generator, dtype=torch.float64)
        rows = order[((numbers.to(counts.device) * counts).long() + starts).flatten(1)]
        for own, y, where in zip(
            rows.unbind(), labels[rows].unbind(), environments[rows].unbind(), strict=True
        ):
            yield inputs.index_select(0, own), y, where
