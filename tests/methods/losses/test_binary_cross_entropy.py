"""The loss of several labels a sample, against scikit-learn and autograd, in float64, and methods on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor

from hf_ood.methods.losses import BinaryCrossEntropy, CrossEntropy, loss_for
from hf_ood.methods.objectives import IRM, Fishr, GroupDRO, Objective, Outputs, VREx
from hf_ood.methods.objectives.functional import head_inputs

NUMBER, LABELS, ENVIRONMENTS = 12, 3, 2
places = torch.arange(NUMBER) % ENVIRONMENTS


def make(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(NUMBER, LABELS, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(0, 2, (NUMBER, LABELS), generator=generator).double()


def test_the_loss_is_the_mean_over_labels_of_their_log_losses() -> None:
    logits, labels = make()
    probabilities = logits.sigmoid().detach().numpy()
    expected = [
        np.mean(
            [log_loss([labels[i, k].item()], [probabilities[i, k]], labels=[0, 1]) for k in range(LABELS)]
        )
        for i in range(NUMBER)
    ]
    assert BinaryCrossEntropy()(logits, labels).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("mixed", [False, True])
def test_residuals_and_slopes_are_derivatives(mixed: bool) -> None:
    logits, labels = make()
    labels = 0.3 * labels + 0.7 * labels.roll(1, 0) if mixed else labels
    loss, scale = BinaryCrossEntropy(), torch.ones(NUMBER, 1, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(loss(logits, labels).sum(), logits)
    torch.testing.assert_close(loss.residuals(logits, labels), expected)
    (expected,) = torch.autograd.grad(loss(scale * logits, labels).sum(), scale)
    torch.testing.assert_close(loss.slopes(logits, labels), expected[:, 0])


def test_irm_penalises_the_squared_slope_of_every_environments_risk() -> None:
    """Value and gradient in the logits, against double backward through the risks."""
    logits, labels = make()
    objective = IRM(penalty_weight=3.0, warmup_steps=0, divisor=1.0)
    outputs = Outputs(logits, labels, places, ENVIRONMENTS, loss=BinaryCrossEntropy())
    found, _ = objective.loss(objective.sums(outputs), step=0)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    risks = torch.stack(
        [
            torch.nn.functional.binary_cross_entropy_with_logits(
                scale * logits[places == e], labels[places == e]
            )
            for e in range(ENVIRONMENTS)
        ]
    )
    slopes = [torch.autograd.grad(risk, scale, create_graph=True)[0] for risk in risks]
    expected = risks.mean() + 3 * torch.stack(slopes).square().mean()
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_fishr_compares_the_variances_of_the_heads_gradients() -> None:
    _, labels = make()
    features = torch.randn(NUMBER, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    head = torch.nn.Linear(4, LABELS, dtype=torch.float64)
    loss = BinaryCrossEntropy()
    gradients = []
    for i in range(NUMBER):
        own = loss(head(features[i : i + 1]), labels[i : i + 1]).sum()
        weight, bias = torch.autograd.grad(own, list(head.parameters()))
        gradients.append(torch.cat([weight, bias[:, None]], dim=1))
    stacked = torch.stack(gradients)
    variances = torch.stack([stacked[places == e].var(0, correction=0) for e in range(ENVIRONMENTS)])
    expected = (variances - variances.mean(0)).square().mean()  # over weights and environments
    objective = Fishr(warmup_steps=0, ema=0.0)
    outputs = Outputs(head(features), labels, places, ENVIRONMENTS, features, loss=loss)
    _, parts = objective.loss(objective.sums(outputs), step=0)
    torch.testing.assert_close(parts["fishr_penalty"], expected)
    assert head_inputs(features).shape == (NUMBER, 5)


@pytest.mark.parametrize("objective", [VREx(warmup_steps=0), GroupDRO(), IRM(warmup_steps=0)])
def test_sums_over_parts_of_a_batch_add_up(objective: Objective) -> None:
    logits, labels = make()
    whole = objective.sums(Outputs(logits, labels, places, ENVIRONMENTS, loss=BinaryCrossEntropy()))
    parts = [
        objective.sums(Outputs(logits[p], labels[p], places[p], ENVIRONMENTS, loss=BinaryCrossEntropy()))
        for p in (slice(0, 5), slice(5, NUMBER))
    ]
    for name, value in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], value)


def test_labels_choose_their_loss() -> None:
    _, several = make()
    classes, targets = torch.tensor([0, 1, 1]), torch.tensor([0.5, 2.0])
    assert isinstance(loss_for(several, LABELS), BinaryCrossEntropy)
    assert isinstance(loss_for(classes, 2), CrossEntropy) and isinstance(loss_for(targets, 1), CrossEntropy)
    with pytest.raises(
        ValueError, match="cross_entropy is not the loss of these data, which have 3 labels a sample"
    ):
        loss_for(several, LABELS, CrossEntropy(class_weights="balanced"))
    with pytest.raises(
        ValueError, match="binary_cross_entropy is not the loss of these data, which have one label"
    ):
        loss_for(classes, 2, BinaryCrossEntropy())
    with pytest.raises(ValueError, match="label_smoothing_factor moves shares between classes"):
        loss_for(several, LABELS, label_smoothing=0.1)
