"""The supervised contrastive loss against equation 2 of its paper, pair by pair in float64."""

from __future__ import annotations

import pytest
import torch
from test_functional import same_value_and_gradient
from torch import Tensor

from hf_ood.methods.objectives import Outputs, SupCon
from hf_ood.methods.objectives.functional import environment_risks
from hf_ood.methods.objectives.supcon import supervised_contrastive_loss


def pair_by_pair(features: Tensor, labels: list[int], temperature: float) -> Tensor:
    units = [row / row.square().sum().sqrt() for row in features]
    terms = []
    for i, label in enumerate(labels):
        others = [a for a in range(len(labels)) if a != i]
        total = sum((units[i] @ units[a] / temperature).exp() for a in others)
        positives = [p for p in others if labels[p] == label]
        if positives:
            shares = [((units[i] @ units[p] / temperature).exp() / total).log() for p in positives]
            terms.append(-torch.stack(shares).mean())
    return torch.stack(terms).mean() if terms else 0 * features.sum()


@pytest.mark.parametrize("labels", [[0, 0], [0, 1, 0, 1, 1], [0, 1, 2, 2, 0, 3], [0, 1, 2], [4]], ids=str)
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_it_is_the_mean_log_share_of_the_positives(labels: list[int], temperature: float) -> None:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(len(labels), 4, generator=generator, dtype=torch.float64).requires_grad_()
    ours = supervised_contrastive_loss(features, torch.tensor(labels), temperature)
    same_value_and_gradient(ours, pair_by_pair(features, labels, temperature), features)


def test_it_is_added_to_the_risk() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, features = (torch.randn(12, size, generator=generator) for size in (2, 5))
    outputs = Outputs(logits, torch.arange(12) % 2, torch.arange(12) % 3, 3, features)
    supcon = SupCon(penalty_weight=0.5, temperature=0.2)
    contrast = supervised_contrastive_loss(features, outputs.labels, 0.2)
    risk = environment_risks(logits, outputs.labels, outputs.environments, 3).mean()
    torch.testing.assert_close(supcon.loss(supcon.sums(outputs), 0)[0], risk + contrast / 2)
