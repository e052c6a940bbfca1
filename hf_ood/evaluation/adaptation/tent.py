"""Normalisations that are trained to make predictions sure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import PreTrainedModel

from ...models import batch_norms, measure_batch_norms
from ...models.modes import evaluation_mode
from ...models.run_over_dataset import placed

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def mean_entropy(logits: Tensor) -> Tensor:
    """Entropy of the predicted distribution, in nats, mean over samples [N, C]."""
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()


def adapt_tent(
    model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]], learning_rate: float = 1e-3
) -> PreTrainedModel:
    """A copy whose normalisations were trained by one step of Adam on the entropy of each batch.

    Weights and biases of the normalisations move and nothing else. Batch normalisations normalise by the
    batch while they are trained, and end with statistics over all of the target's inputs
    (`measure_batch_norms`), so that a prediction does not depend on the samples beside it. Give
    the rows in random order: a batch of one class has nothing to tell apart. Batches of one sample are left
    out where there is batch normalisation. Raises `ValueError` for a network without normalisations that
    have weights.

    Reference: Wang et al. 2021, arXiv:2006.10726 (TENT; Adam with 1e-3 on CIFAR). Low entropy can also be
    had by calling everything one class, and nothing in the target tells: watch it on samples whose labels are
    known.
    """
    adapted = copy.deepcopy(model)
    norms = [module for module in adapted.modules() if isinstance(module, NORMS)]
    moving = [own for norm in norms for own in norm.parameters(recurse=False)]
    if not moving:
        raise ValueError(
            f"{type(model).__name__} has no normalisation with weights, which tent trains: take t3a, or "
            "leave --adapt out."
        )
    required = {own: own.requires_grad for own in adapted.parameters()}
    for own in adapted.parameters():
        own.requires_grad_(False)
    for own in moving:
        own.requires_grad_(True)
    optimizer = torch.optim.Adam(moving, lr=learning_rate)
    with_statistics = batch_norms(adapted)
    with evaluation_mode(adapted), torch.enable_grad():
        for norm in with_statistics:
            norm.train()
        for batch in batches:
            inputs = placed(batch, adapted)
            if with_statistics and len(next(iter(inputs.values()))) < 2:
                continue
            optimizer.zero_grad()
            mean_entropy(adapted(**inputs).logits.float()).backward()
            optimizer.step()
    for own, needs in required.items():
        own.grad = None
        own.requires_grad_(needs)
    if with_statistics:
        measure_batch_norms(adapted, batches)
    return adapted
