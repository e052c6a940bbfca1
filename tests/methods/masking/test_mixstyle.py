"""MixStyle against its paper's equations."""

from __future__ import annotations

import pytest
import torch

from hf_ood.methods.masking import MixStyle
from hf_ood.methods.masking.mixstyle import restyle, style


def maps(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_mixed_style_is_the_papers_equation() -> None:
    features, partners = maps(4, 3, 5, 2), torch.tensor([2, 0, 3, 1])
    shares = torch.tensor([0.0, 0.2, 0.7, 1.0], dtype=torch.float64).view(4, 1, 1, 1)
    mixed = restyle(features, partners, shares)
    for i, j in enumerate(partners.tolist()):
        for c in range(3):
            own, other = features[i, c], features[j, c]
            share = shares[i].item()
            deviations = [(values.var() + 1e-6).sqrt() for values in (own, other)]
            deviation = share * deviations[0] + (1 - share) * deviations[1]
            mean = share * own.mean() + (1 - share) * other.mean()
            torch.testing.assert_close(mixed[i, c], deviation * (own - own.mean()) / deviations[0] + mean)
    torch.testing.assert_close(mixed[3], features[3])
    torch.testing.assert_close(style(mixed)[0][0], style(features)[0][2])  # share 0: its partner's style


def test_no_gradient_passes_through_the_style() -> None:
    features = maps(2, 1, 3, 3).requires_grad_()
    partners, shares = torch.tensor([1, 0]), torch.full((2, 1, 1, 1), 0.25, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(restyle(features, partners, shares).sum(), features)
    deviation = style(features.detach())[1]
    slope = 0.25 + 0.75 * deviation[partners] / deviation
    torch.testing.assert_close(gradient, slope.expand_as(features))


def test_a_share_p_of_the_batches_is_mixed() -> None:
    torch.manual_seed(0)
    features = maps(4, 2, 3, 3)
    mixstyle = MixStyle(p=0.3)
    mixed = sum(mixstyle(features, lambda x: x, None) is not features for _ in range(500))
    assert mixed == pytest.approx(150, abs=35)
    assert MixStyle(p=0.0)(features, lambda x: x, None) is features


@pytest.mark.parametrize("shape", [(4, 8), (4, 8, 1, 1)])
def test_features_without_a_style_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="feature maps"):
        MixStyle()(maps(*shape), lambda x: x, None)


def test_wrong_options_are_named() -> None:
    with pytest.raises(ValueError, match=r"mixstyle\.p must lie"):
        MixStyle(p=1.5)
    with pytest.raises(ValueError, match=r"mixstyle\.alpha must be positive"):
        MixStyle(alpha=0.0)
