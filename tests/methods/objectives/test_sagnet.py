"""SagNet against its equations written out in float64, sample by sample, and what it does to features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import make_args, make_dataset, make_model
from torch import Tensor, nn

from hf_ood import OODTrainer, SagNet
from hf_ood.engine.method_forward import MethodForward
from hf_ood.methods.losses import CrossEntropy
from hf_ood.methods.objectives import Outputs
from hf_ood.methods.objectives.sagnet import LEAST_VARIANCE, mix_styles, standardized
from hf_ood.models.penultimate import last_linear

SIZE, CLASSES, SAMPLES = 5, 3, 7


class Drawn(SagNet):
    """With partners that are known: first those of styles, then those of contents."""

    def partners(self, number: int, device: torch.device) -> Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return torch.arange(number).roll(self.calls)


def make_outputs() -> tuple[Outputs, nn.Linear]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(SAMPLES, SIZE, generator=generator, dtype=torch.float64).requires_grad_()
    head = nn.Linear(SIZE, CLASSES).double()
    nn.init.normal_(head.weight, generator=generator)
    labels = torch.arange(SAMPLES) % CLASSES
    return Outputs(head(features), labels, torch.arange(SAMPLES) % 2, 2, features, head=head), head


def built(weight: float) -> tuple[Drawn, nn.Linear]:
    objective = Drawn(weight=weight)
    objective.build(SIZE, CLASSES, torch.tensor([True, True]))
    second = objective.style_classifier
    assert second is not None
    return objective, second.double()


def style_of(vector: Tensor) -> tuple[Tensor, Tensor]:
    mean = vector.sum() / SIZE
    return mean, (vector - mean).square().sum() / (SIZE - 1)


def written_out(
    features: Tensor, labels: Tensor, shares: Tensor, head: nn.Linear, second: nn.Linear
) -> dict[str, Tensor]:
    """The three parts, each a mean over samples."""
    parts: dict[str, list[Tensor]] = {"risk": [], "style": [], "adversary": []}
    for row, label in enumerate(labels.tolist()):
        (mean, variance), own = style_of(features[row]), features[row]
        other_mean, other_variance = style_of(features[row - 1])
        content = (own - mean) / (variance + LEAST_VARIANCE).sqrt()
        share = shares[row, 0]
        spread = (share * variance + (1 - share) * other_variance + LEAST_VARIANCE).sqrt()
        restyled = content * spread + share * mean + (1 - share) * other_mean
        parts["risk"].append(-(head.weight @ restyled + head.bias).log_softmax(0)[label])
        partner = features[row - 2]
        partner_mean, partner_variance = style_of(partner)
        other = ((partner - partner_mean) / (partner_variance + LEAST_VARIANCE).sqrt()).detach()
        shown = other * (variance + LEAST_VARIANCE).sqrt() + mean
        parts["style"].append(-(second.weight @ shown.detach() + second.bias).log_softmax(0)[label])
        guess = (second.weight.detach() @ shown + second.bias.detach()).log_softmax(0)
        parts["adversary"].append(-guess.sum() / CLASSES)
    return {name: torch.stack(values).mean() for name, values in parts.items()}


def test_loss_and_gradients_are_those_of_the_equations() -> None:
    outputs, head = make_outputs()
    objective, second = built(weight=0.7)
    everything = [outputs.features, *head.parameters(), *second.parameters()]
    torch.manual_seed(5)
    found, parts = objective.loss(objective.sums(outputs), step=0)
    torch.manual_seed(5)
    shares = torch.rand(SAMPLES, 1).double()
    expected = written_out(outputs.features, outputs.labels, shares, head, second)
    whole = expected["risk"] + expected["style"] + 0.7 * expected["adversary"]
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts["style_loss"], expected["style"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts["style_adversary"], expected["adversary"], rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(loss, everything) for loss in (found, whole)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_each_player_descends_its_own_part() -> None:
    outputs, head = make_outputs()
    objective, second = built(weight=1.0)
    totals = objective.sums(outputs)
    for name, moved, resting in (
        ("style", second.weight, outputs.features),
        ("adversary", outputs.features, second.weight),
        ("loss", head.weight, second.weight),
    ):
        gradient, nothing = torch.autograd.grad(
            totals[name].sum(), [moved, resting], retain_graph=True, allow_unused=True
        )
        assert gradient.abs().sum() > 0
        assert nothing is None


def test_a_mixed_style_lies_between_the_two_and_keeps_the_content() -> None:
    features = torch.randn(4, 50, dtype=torch.float64) * torch.tensor([[1.0], [5.0], [2.0], [9.0]]) + 3
    partners = torch.tensor([1, 0, 3, 2])
    content, mean, variance = standardized(features)
    for share in (0.0, 0.25, 1.0):
        mixed = standardized(mix_styles(features, partners, torch.full((4, 1), share)))
        torch.testing.assert_close(mixed[0], content, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mixed[1], share * mean + (1 - share) * mean[partners])
        torch.testing.assert_close(
            mixed[2], share * variance + (1 - share) * variance[partners], rtol=1e-4, atol=1e-4
        )


def test_what_it_cannot_do_is_refused() -> None:
    outputs, _ = make_outputs()
    objective, _ = built(weight=1.0)
    losses = CrossEntropy()(outputs.logits, outputs.labels)
    with pytest.raises(ValueError, match="losses of these cannot be given"):
        objective.sums(replace(outputs, given_losses=losses))
    with pytest.raises(ValueError, match="head=classifier"):
        objective.sums(replace(outputs, head=None))
    with pytest.raises(ValueError, match="this model has 1 output"):
        SagNet().build(4, 1, torch.tensor([True]))
    with pytest.raises(RuntimeError, match="no second classifier yet"):
        SagNet().sums(outputs)
    with pytest.raises(ValueError, match=r"sagnet\.weight must be 0 or more, not -1"):
        SagNet(weight=-1)


class Scaled(nn.Module):
    """A classifier whose logits are more than its last linear layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = make_model()
        self.config = self.inner.config

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> object:
        output = self.inner(pixel_values)
        output.logits = output.logits * 2
        output.loss = None if labels is None else F.cross_entropy(output.logits, labels)
        return output


def test_logits_must_be_the_last_layers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does more to its logits than its last linear layer"):
        OODTrainer(Scaled(), make_args(tmp_path), objective=SagNet(), train_dataset=make_dataset())


def test_the_head_reads_in_the_precision_of_its_weights() -> None:
    forward = MethodForward(make_model().bfloat16(), None, needs_features=True, samples={})
    size = last_linear(make_model()).in_features
    assert forward.head(torch.randn(3, size)).dtype == torch.bfloat16
