"""The loss of single samples: closed forms against autograd and against sums written out, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_ood.methods.losses import CrossEntropy, SampleLoss
from hf_ood.methods.objectives import functional as F_ood

CLASSES, NUMBER = 3, 12


def make_logits() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (2 * torch.randn(NUMBER, CLASSES, generator=generator, dtype=torch.float64)).requires_grad_()


def make_labels(mixed: bool) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if mixed:
        return torch.rand(NUMBER, CLASSES, generator=generator, dtype=torch.float64).softmax(1)
    return torch.randint(0, CLASSES, (NUMBER,), generator=generator)


TRAINING_LABELS = torch.tensor([0] * 6 + [1] * 3 + [2])
FACTORS = {
    "none": [1, 1, 1],
    "balanced": [10 / 18, 10 / 9, 10 / 3],
    "1,0.5,4": [10 / 11.5, 5 / 11.5, 40 / 11.5],
}
KINDS = [
    (smoothing, weights, mixed) for smoothing in (0.0, 0.3) for weights in FACTORS for mixed in (False, True)
]


@dataclass
class ByAutograd(SampleLoss):
    """Another loss's values alone: its derivatives are the base class's."""

    name: ClassVar[str] = "by_autograd"
    of: SampleLoss

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.of(logits, labels)


@pytest.mark.parametrize(("smoothing", "weights", "mixed"), KINDS)
def test_values_are_the_sum_over_classes(smoothing: float, weights: str, mixed: bool) -> None:
    logits, labels = make_logits(), make_labels(mixed)
    loss = CrossEntropy(smoothing, weights).prepare(TRAINING_LABELS, CLASSES)
    found = loss(logits, labels)
    for row in range(NUMBER):
        shares = labels[row] if mixed else F.one_hot(labels[row], CLASSES)
        factor = sum(float(share) * FACTORS[weights][k] for k, share in enumerate(shares))
        log_probabilities = logits[row] - logits[row].logsumexp(0)
        soft = [(1 - smoothing) * float(share) + smoothing / CLASSES for share in shares]
        expected = -factor * sum(s * log_probabilities[k] for k, s in enumerate(soft))
        torch.testing.assert_close(found[row], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("smoothing", "weights", "mixed"), KINDS)
@pytest.mark.parametrize("derivative", ["slopes", "residuals"])
def test_closed_forms_are_autograds_values_and_gradients(
    derivative: str, smoothing: float, weights: str, mixed: bool
) -> None:
    logits, labels = make_logits(), make_labels(mixed)
    loss = CrossEntropy(smoothing, weights).prepare(TRAINING_LABELS, CLASSES)
    ours = getattr(loss, derivative)(logits, labels)
    theirs = getattr(ByAutograd(loss), derivative)(logits, labels)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    along = torch.linspace(-1, 2, ours.numel(), dtype=ours.dtype).view_as(ours)
    gradients = [torch.autograd.grad((along * values).sum(), logits)[0] for values in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_autograd_derivatives_work_without_grad_and_in_half_precision() -> None:
    logits, labels = make_logits().detach(), make_labels(False)
    loss = ByAutograd(CrossEntropy(0.1))
    with torch.no_grad():
        slopes = loss.slopes(logits, labels)
        half = loss.slopes(logits.bfloat16(), labels)
    torch.testing.assert_close(slopes, CrossEntropy(0.1).slopes(logits, labels))
    assert not slopes.requires_grad and half.dtype == torch.float32


def test_a_regression_is_penalised_by_squared_errors() -> None:
    logits, targets = make_logits()[:, :1], torch.linspace(-1, 1, NUMBER, dtype=torch.float64)
    loss = CrossEntropy().prepare(targets, 1)
    torch.testing.assert_close(loss(logits, targets), (logits[:, 0] - targets).square())
    torch.testing.assert_close(loss.residuals(logits, targets), ByAutograd(loss).residuals(logits, targets))
    torch.testing.assert_close(loss.slopes(logits, targets), ByAutograd(loss).slopes(logits, targets))
    for other in (CrossEntropy(0.1), CrossEntropy(class_weights="balanced")):
        with pytest.raises(ValueError, match="regression"):
            other.prepare(targets, 1)
        with pytest.raises(ValueError, match="regression"):
            other(logits, targets)


@pytest.mark.parametrize("weights", ["balanced", [1, 0.5, 4]])
def test_weights_have_mean_one_over_the_training_samples_and_leave_the_callers_object(
    weights: object,
) -> None:
    loss = CrossEntropy(class_weights=weights)  # type: ignore[arg-type]
    prepared = loss.prepare(TRAINING_LABELS, CLASSES)
    assert prepared.factors is not None and loss.factors is None
    torch.testing.assert_close(prepared.factors[TRAINING_LABELS].mean(), torch.tensor(1.0))
    again = prepared.prepare(TRAINING_LABELS[:7], CLASSES)  # another training's labels
    torch.testing.assert_close(again.factors[TRAINING_LABELS[:7]].mean(), torch.tensor(1.0))
    assert loss.name == "cross_entropy"


def test_a_class_without_training_samples_weighs_nothing_when_balanced() -> None:
    factors = CrossEntropy(class_weights="balanced").prepare(torch.tensor([0, 0, 2]), 3).factors
    assert factors is not None
    torch.testing.assert_close(factors, torch.tensor([0.75, 0.0, 1.5]))


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"loss\.label_smoothing must lie in 0\.\.1"):
        CrossEntropy(label_smoothing=1.0)
    for wrong in ("balancd", "1,-2", "", [], [1, float("nan")]):
        with pytest.raises(ValueError, match=r"loss\.class_weights must be none, .*effective or numbers"):
            CrossEntropy(class_weights=wrong)
    with pytest.raises(ValueError, match="2 numbers, but there are 3 classes"):
        CrossEntropy(class_weights="1,2").prepare(TRAINING_LABELS, CLASSES)
    with pytest.raises(ValueError, match="0 for every training sample"):
        CrossEntropy(class_weights="0,0,0").prepare(TRAINING_LABELS, CLASSES)
    with pytest.raises(ValueError, match="call prepare"):
        CrossEntropy(class_weights="balanced")(make_logits(), make_labels(False))


def test_the_plain_one_is_what_functional_has() -> None:
    for labels in (make_labels(False), make_labels(True)):
        logits = make_logits()
        assert torch.equal(CrossEntropy()(logits, labels), F_ood.sample_losses(logits, labels))
        assert torch.equal(CrossEntropy().slopes(logits, labels), F_ood.sample_slopes(logits, labels))
