"""The fit of a last layer: against its own optimality conditions, and on groups of which one is rare."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_ood import L1Logistic
from hf_ood.methods.last_layer.l1_logistic import _fit


def rows(classes: int = 2, each: int = 200, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features (a weak cause, a strong shortcut, noise in other units), labels and groups; where the shortcut
    misleads, a class has a twentieth of its rows."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(each)
    misled = (torch.arange(len(labels)) % 20 == 0).long()
    seen = (labels + misled) % classes
    noise = torch.randn(len(labels), 2 * classes + 3, generator=generator, dtype=torch.float64)
    features = noise.clone()
    features[:, :classes] += 1.5 * torch.nn.functional.one_hot(labels, classes)
    features[:, classes : 2 * classes] += 4.0 * torch.nn.functional.one_hot(seen, classes)
    features[:, -3:] = 100 * noise[:, -3:] + 1000
    return features, labels, 2 * labels + misled


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("strength", [1.0, 0.03])
def test_one_fit_is_where_no_weight_can_lower_the_penalised_loss(classes: int, strength: float) -> None:
    features, labels, _ = rows(classes)
    found = _fit(features.numpy(), labels.numpy(), strength, seed=0)
    weight, bias = map(torch.from_numpy, found)
    deviation, mean = features.std(0, correction=0), features.mean(0)
    weight, bias = (weight * deviation).requires_grad_(), bias + weight @ mean
    logits = (features - mean) / deviation @ weight.T + bias
    slope = torch.zeros_like(weight)
    for one, label in zip(logits, labels, strict=True):
        loss = -one.log_softmax(0)[label]
        slope += strength * torch.autograd.grad(loss, weight, retain_graph=True)[0]
    weight = weight.detach()
    if classes == 2:  # log-odds have one weight, which is the difference of ours
        weight, slope = 2 * weight[1:], slope[1:]
    used = weight.abs() > 1e-8
    torch.testing.assert_close(slope[used], -weight[used].sign(), rtol=0, atol=0.02)
    assert (slope[~used].abs() <= 1.02).all() and used.any()
    assert strength == 1.0 or not used.all()


@pytest.mark.parametrize("classes", [2, 3])
def test_a_balanced_fit_looks_at_the_cause_where_an_unbalanced_one_looks_at_the_shortcut(
    classes: int,
) -> None:
    def worst(weight: Tensor, bias: Tensor) -> float:
        features, labels, groups = rows(classes, each=2000, seed=1)
        right = (features @ weight.T + bias).argmax(1) == labels
        return min(right[groups == group].double().mean().item() for group in groups.unique())

    features, labels, groups = rows(classes, each=400)
    layer = L1Logistic(subsets=3, inverse_strengths=[1.0, 0.1]).fit(features, labels, groups, classes)
    assert layer.weight.shape == (classes, features.shape[1]) and layer.weight.dtype == torch.float64
    assert layer.rows == 20 * 2 * classes  # the rare groups have 20 rows
    plain = map(torch.from_numpy, _fit(features.numpy(), labels.numpy(), layer.inverse_strength, 0))
    assert worst(layer.weight, layer.bias) > worst(*plain) + 0.2


def test_it_is_the_mean_of_fits_on_balanced_subsets_with_the_strength_that_the_other_half_chose() -> None:
    features, labels, groups = rows()
    fit = L1Logistic(subsets=4, inverse_strengths=[0.3, 0.01])
    layer = fit.fit(features, labels, groups, 2, seed=7)
    x, y, g = features.numpy(), labels.numpy(), groups.numpy()
    random = np.random.default_rng(7)

    def balanced(chosen: np.ndarray) -> np.ndarray:
        smallest = min(int((g[chosen] == group).sum()) for group in range(4))
        return np.concatenate(
            [chosen[random.permutation(np.flatnonzero(g[chosen] == group))[:smallest]] for group in range(4)]
        )

    halves = [np.array_split(random.permutation(np.flatnonzero(g == group)), 2) for group in range(4)]
    first, second = (np.concatenate([half[part] for half in halves]) for part in (0, 1))
    subset, worst = balanced(first), {}
    for strength in (0.3, 0.01):
        weight, bias = _fit(x[subset], y[subset], strength, 7)
        right = (x[second] @ weight.T + bias).argmax(1) == y[second]
        worst[strength] = min(right[g[second] == group].mean() for group in range(4))
    best = max(worst, key=lambda strength: worst[strength])
    assert (layer.inverse_strength, layer.worst_group) == (best, worst[best])
    weights, biases = zip(*[
        _fit(x[chosen], y[chosen], best, 7) for chosen in [balanced(np.arange(len(y))) for _ in range(4)]
    ], strict=True)  # fmt: skip
    torch.testing.assert_close(layer.weight, torch.from_numpy(np.mean(weights, 0)))
    torch.testing.assert_close(layer.bias, torch.from_numpy(np.mean(biases, 0)))


def test_a_feature_that_never_changes_does_no_harm() -> None:
    features, labels, groups = rows()
    features[:, -1] = 3.0
    layer = L1Logistic(subsets=1, inverse_strengths=[1.0]).fit(features, labels, groups, 2)
    assert layer.weight.isfinite().all() and not layer.weight[:, -1].any()


def test_what_cannot_be_fitted_is_refused() -> None:
    features, labels, groups = rows()
    alone = groups.clone()
    alone[0] = 9
    for given, message in (
        ((features, labels, alone, 2), "one has a single sample, of class 0"),
        ((features, labels, groups, 3), "class 2 has no sample"),
    ):
        with pytest.raises(ValueError, match=message):
            L1Logistic().fit(*given)
    for options, message in (({"subsets": 0}, "subsets"), ({"inverse_strengths": [0.0]}, "positive")):
        with pytest.raises(ValueError, match=message):
            L1Logistic(**options)
