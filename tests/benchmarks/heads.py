"""Heads on frozen features: one by one, and many as one computation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_ood import (
    EnvironmentDataset,
    HeadSpec,
    LinearConfig,
    LinearForImageClassification,
    OODConfig,
    fit_heads,
)
from hf_ood.trainer.heads import Head
from hf_ood.trainer.heads.fit import fit_alone, resolved

CLASSES, ENVIRONMENTS, ROWS, BATCH = 8, 5, 4000, 192
TRAINED_ALONE = 4  # of the heads, where each is trained alone


@dataclass(frozen=True)
class Heads:
    """So many heads of IRM, each with its own penalty weight and learning rate, on random features."""

    features: int
    number: int = 100

    @property
    def weights(self) -> list[float]:
        return [10 ** (head % 7 - 2 + head / 50) for head in range(self.number)]

    @property
    def rates(self) -> list[float]:
        return [1e-3 * (1 + head / 100) for head in range(self.number)]

    @property
    def specs(self) -> list[HeadSpec]:
        return [
            HeadSpec("irm", {"irm": {"penalty_weight": weight, "warmup_steps": 0}}, learning_rate=rate)
            for weight, rate in zip(self.weights, self.rates, strict=True)
        ]

    @cached_property
    def rows(self) -> EnvironmentDataset:
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(0, CLASSES, (ROWS,), generator=generator)
        inputs = torch.randn(ROWS, self.features, generator=generator)
        inputs[torch.arange(ROWS), labels] += 1.0
        environments = torch.arange(ROWS) % ENVIRONMENTS
        names = [str(number) for number in range(max(CLASSES, ENVIRONMENTS))]
        return EnvironmentDataset(
            None, labels, environments, names[:CLASSES], names[:ENVIRONMENTS], inputs=inputs
        )

    def network(self) -> LinearForImageClassification:
        torch.manual_seed(0)
        options: dict[str, Any] = {"num_features": self.features, "num_labels": CLASSES}
        return LinearForImageClassification(LinearConfig(**options))


def arguments(steps: int) -> OODConfig:
    return OODConfig(
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        use_cpu=True,
        seed=0,
    )


def in_bulk(heads: Heads, steps: int) -> float:
    """Heads a second."""
    start = time.perf_counter()
    fit_heads(heads.rows, heads.specs, arguments(steps))
    return heads.number / (time.perf_counter() - start)


def by_trainer(heads: Heads, steps: int) -> float:
    """`OODTrainer`, one head after the other: heads a second."""
    training = resolved(arguments(steps), None, 0)
    start = time.perf_counter()
    for spec in heads.specs[:TRAINED_ALONE]:
        fit_alone(heads.rows, spec, training, 0, heads.network())
    return TRAINED_ALONE / (time.perf_counter() - start)


def by_plain_loop(heads: Heads, steps: int) -> float:
    """The loop that one would write for one head, one head after the other: heads a second."""
    inputs, labels, environments = heads.rows.columns["inputs"], heads.rows.labels, heads.rows.environments
    start = time.perf_counter()
    for weight, rate in list(zip(heads.weights, heads.rates, strict=True))[:TRAINED_ALONE]:
        head = nn.Linear(heads.features, CLASSES)
        optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.0, fused=True)
        order = torch.randperm(ROWS)
        for step in range(steps):
            rows = order[torch.arange(step * BATCH, (step + 1) * BATCH) % ROWS]
            y, where = labels[rows], environments[rows]
            logits = head(inputs[rows])
            losses = F.cross_entropy(logits, y, reduction="none")
            slopes = ((logits.softmax(1) - F.one_hot(y, CLASSES)) * logits).sum(1)
            loss = _irm(losses[:, None], slopes[:, None], where, torch.tensor([weight]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return TRAINED_ALONE / (time.perf_counter() - start)


def by_batched_loop(heads: Heads, steps: int) -> float:
    """The loop that one would write for IRM's linear heads with rates of their own: heads a second."""
    inputs, labels, environments = heads.rows.columns["inputs"], heads.rows.labels, heads.rows.environments
    start = time.perf_counter()
    number, weights, rates = heads.number, torch.tensor(heads.weights), torch.tensor(heads.rates)
    weight = nn.Parameter(torch.randn(number * CLASSES, heads.features) * 0.02)
    bias = nn.Parameter(torch.zeros(number * CLASSES))
    moments = {own: (torch.zeros_like(own), torch.zeros_like(own)) for own in (weight, bias)}
    order = torch.randperm(ROWS)
    for step in range(steps):
        rows = order[torch.arange(step * BATCH, (step + 1) * BATCH) % ROWS]
        y, where = labels[rows], environments[rows]
        logits = F.linear(inputs[rows], weight, bias).view(BATCH, number, CLASSES)
        logarithms = logits.log_softmax(2)
        losses = -logarithms.gather(2, y[:, None, None].expand(BATCH, number, 1)).squeeze(2)
        slopes = ((logarithms.exp() - F.one_hot(y, CLASSES)[:, None]) * logits).sum(2)
        weight.grad = bias.grad = None
        _irm(losses, slopes, where, weights).backward()
        with torch.no_grad():
            for own, (first, second) in moments.items():
                assert own.grad is not None
                first.lerp_(own.grad, 0.1)
                second.mul_(0.999).addcmul_(own.grad, own.grad, value=0.001)
                scale = second.sqrt().div_((1 - 0.999 ** (step + 1)) ** 0.5).add_(1e-8)
                moved = (first / scale).view(number, CLASSES, -1)
                own.view(number, CLASSES, -1).sub_(moved * (rates / (1 - 0.9 ** (step + 1)))[:, None, None])
    return number / (time.perf_counter() - start)


def _irm(losses: Tensor, slopes: Tensor, where: Tensor, weights: Tensor) -> Tensor:
    """The sum over heads of IRM's objective, from losses and slopes [B, heads]."""
    counts = torch.bincount(where, minlength=ENVIRONMENTS)[:, None]
    zeros = torch.zeros(ENVIRONMENTS, losses.shape[1])
    risks = (zeros.index_add(0, where, losses) / counts).mean(0)
    penalties = (zeros.index_add(0, where, slopes) / counts).square().mean(0)
    return ((risks + weights * penalties) / weights.clamp_min(1)).sum()


def float32_difference(heads: Heads, steps: int) -> float:
    """The largest difference of a logit between heads in bulk and alone, in float32, over that of the
    logits."""
    training = resolved(arguments(steps), None, 0)
    together: list[Head] = fit_heads(heads.rows, heads.specs, training)
    worst = 0.0
    for head in together[:: heads.number // TRAINED_ALONE]:
        alone = fit_alone(heads.rows, head.spec, training, 0, heads.network())
        name = "representation.weight"
        ours, theirs = (heads.rows.columns["inputs"] @ own.weights[name].T for own in (head, alone))
        worst = max(worst, float((ours - theirs).abs().max() / theirs.abs().max()))
    return worst
