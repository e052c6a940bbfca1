"""Adaptation to unlabelled samples, against loops in float64, and on networks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_ood import (
    LeNetConfig,
    LeNetForImageClassification,
    SmallResNetConfig,
    SmallResNetForImageClassification,
)
from hf_ood.evaluation.adaptation import adapt_batch_norm, adapt_tent, predict_t3a, t3a_logits
from hf_ood.evaluation.adaptation.tent import mean_entropy
from hf_ood.models import batch_norms
from hf_ood.models.run_over_dataset import run_over

IMAGES = torch.rand(21, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def resnet() -> SmallResNetForImageClassification:
    torch.manual_seed(0)
    config = SmallResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], id2label=dict(enumerate("abc")))
    return SmallResNetForImageClassification(config).eval()


def batches(size: int) -> list[dict[str, Tensor]]:
    return [{"pixel_values": part} for part in IMAGES.split(size)]


def logits(model: torch.nn.Module) -> Tensor:
    return torch.cat([output.logits for output, _ in run_over(model, batches(5))])


def t3a_by_hand(
    features: Tensor, scores: Tensor, weight: Tensor, bias: Tensor, supports: int
) -> list[list[float]]:
    sets: list[list[tuple[float, Tensor]]] = [[] for _ in weight]
    pairs = [(own, weight @ own + bias) for own in weight] + list(zip(features, scores, strict=True))
    for vector, score in pairs:
        probabilities = torch.exp(score - score.logsumexp(0))
        entropy = -sum(float(p) * float(p.log()) for p in probabilities)
        sets[int(score.argmax())].append((entropy, vector / vector.norm()))
    found = []
    for vector in features:
        row = []
        for members in sets:
            kept = sorted(members, key=lambda member: member[0])[: supports or None]
            centroid = sum((direction for _, direction in kept), torch.zeros_like(vector))
            row.append(float(vector @ centroid / max(float(centroid.norm()), 1e-12)))
        found.append(row)
    return found


@pytest.mark.parametrize("supports", [0, 1, 4])
def test_t3a_is_the_loop(supports: int) -> None:
    random = torch.Generator().manual_seed(1)
    features = torch.randn(17, 4, dtype=torch.float64, generator=random)
    weight = torch.randn(3, 4, dtype=torch.float64, generator=random)
    bias = torch.randn(3, dtype=torch.float64, generator=random)
    scores = features @ weight.T + bias
    expected = torch.tensor(t3a_by_hand(features, scores, weight, bias, supports), dtype=torch.float64)
    torch.testing.assert_close(t3a_logits(features, scores, weight, bias, supports), expected)


def test_order_and_division_of_the_target_change_nothing_for_t3a_and_statistics() -> None:
    model = resnet()
    kept = copy.deepcopy(model.state_dict())
    for small, large in (
        (predict_t3a(model, batches(4)), predict_t3a(model, batches(21))),
        (logits(adapt_batch_norm(model, batches(4))), logits(adapt_batch_norm(model, batches(21)))),
    ):
        np.testing.assert_allclose(np.asarray(small), np.asarray(large), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits(adapt_batch_norm(model, batches(4))), logits(model))
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_tent_moves_normalisations_alone_and_makes_predictions_surer() -> None:
    model = resnet()
    adapted = adapt_tent(model, batches(7) * 5, learning_rate=0.05)
    own = dict(model.named_parameters())
    moved = {name for name, value in adapted.named_parameters() if not torch.equal(value, own[name])}
    norms = {id(parameter) for norm in batch_norms(adapted) for parameter in norm.parameters()}
    assert moved == {name for name, value in adapted.named_parameters() if id(value) in norms}
    assert mean_entropy(logits(adapted)) < mean_entropy(logits(adapt_batch_norm(model, batches(7))))
    assert not adapted.training and all(parameter.requires_grad for parameter in adapted.parameters())


def test_one_step_of_tent_is_adams_on_the_mean_entropy() -> None:
    """Adam's first step is the learning rate in the direction of the gradient."""
    model = resnet()
    adapted = adapt_tent(model, batches(21), learning_rate=1e-3)
    by_hand = copy.deepcopy(model)
    for norm in batch_norms(by_hand):
        norm.train()
    probabilities = by_hand(IMAGES).logits.softmax(1)
    entropy = -sum((row * row.log()).sum() for row in probabilities) / len(IMAGES)
    weight, found = (batch_norms(network)[0].get_parameter("weight") for network in (by_hand, adapted))
    (gradient,) = torch.autograd.grad(entropy, [weight])
    torch.testing.assert_close(
        found, weight - 1e-3 * gradient / (gradient.abs() + 1e-8), atol=1e-6, rtol=1e-5
    )


def test_networks_without_what_is_adapted_are_refused() -> None:
    model = LeNetForImageClassification(LeNetConfig()).eval()
    with pytest.raises(ValueError, match="no batch normalisation with statistics"):
        adapt_batch_norm(model, batches(7))
    with pytest.raises(ValueError, match="no normalisation with weights"):
        adapt_tent(model, batches(7))
