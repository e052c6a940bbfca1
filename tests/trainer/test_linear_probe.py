"""Heads on cached features are what training the last layer alone would give."""

from __future__ import annotations

import copy

import pytest
import torch
from backbones import make_backbone
from conftest import make_dataset
from torch import nn

from hf_ood import CORAL, DANN, IRM, LeNetConfig, LeNetForImageClassification
from hf_ood.data import collate
from hf_ood.methods.losses import CrossEntropy
from hf_ood.methods.objectives import OBJECTIVES, Objective
from hf_ood.methods.objectives import functional as F_ood
from hf_ood.models import Penultimate
from hf_ood.trainer.linear_probe import cached_features, fit_head


def make_model(family: str) -> nn.Module:
    if family == "lenet":
        torch.manual_seed(0)
        return LeNetForImageClassification(LeNetConfig())
    return make_backbone(family)


@pytest.mark.parametrize("family", ["lenet", "vit"])
def test_the_head_on_cached_features_gives_the_models_logits(family: str) -> None:
    model, data = make_model(family).train(), make_dataset()
    features = cached_features(model, data, batch_size=50)
    assert model.training and len(features) == len(data)
    with torch.no_grad():
        whole = model.eval()(pixel_values=collate(data.__getitems__(range(len(data))))["pixel_values"]).logits
        head = Penultimate(model).classifier(features.columns["inputs"])
    torch.testing.assert_close(head, whole, rtol=1e-4, atol=1e-5)
    assert torch.equal(features.environments, data.environments)


def test_full_batch_steps_are_adams_steps_on_the_objective() -> None:
    features = cached_features(make_model("lenet"), make_dataset())
    x, y, e = features.columns["inputs"], features.labels, features.environments
    torch.manual_seed(1)
    head = nn.Linear(x.shape[1], 2)
    by_hand = nn.Linear(x.shape[1], 2)
    by_hand.load_state_dict(head.state_dict())
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    for _ in range(5):
        logits = by_hand(x)
        risk = F_ood.environment_risks(logits, y, e, 3).mean()
        loss = (risk + 10 * F_ood.irm_penalty(logits, y, e, 3)) / 10
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fit_head(head, features, IRM(penalty_weight=10.0, warmup_steps=0), steps=5, learning_rate=0.01)
    torch.testing.assert_close(head.weight, by_hand.weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, cls in OBJECTIVES.items() if not cls.needs_start])
def test_every_objective_trains_a_head(name: str) -> None:
    features = cached_features(make_model("lenet"), make_dataset())
    head = nn.Linear(features.columns["inputs"].shape[1], 2)
    before = head.weight.detach().clone()
    objective: Objective = OBJECTIVES[name]()
    fit_head(head, features, objective, steps=3, batch_size=30)
    assert head.weight.isfinite().all()
    assert not torch.equal(head.weight, before)


def test_a_head_is_trained_on_the_loss_it_is_given_and_a_warmup_knows_its_steps() -> None:
    features = cached_features(make_model("lenet"), make_dataset())
    heads = []
    for loss in (CrossEntropy(), CrossEntropy(label_smoothing=0.5), CrossEntropy(class_weights=[1, 9])):
        torch.manual_seed(0)
        head = nn.Linear(features.columns["inputs"].shape[1], 2)
        heads.append(fit_head(head, features, IRM(warmup_steps=0.5), loss=loss, steps=6, learning_rate=0.01))
    assert not any(torch.equal(heads[0].weight, other.weight) for other in heads[1:])
    with pytest.raises(ValueError, match=r"irm\.warmup_steps is 500 steps, and the training has 6"):
        fit_head(heads[0], features, IRM(warmup_steps=500), steps=6)


def test_the_head_rests_while_it_is_the_discriminators_turn() -> None:
    features = cached_features(make_model("lenet"), make_dataset())
    torch.manual_seed(1)
    start = nn.Linear(features.columns["inputs"].shape[1], 2)
    heads, discriminators = [], []
    for steps in (1, 2, 3):
        head, objective = copy.deepcopy(start), DANN(discriminator_steps=2, width=8)
        torch.manual_seed(2)
        fit_head(head, features, objective, steps=steps, batch_size=30)
        heads.append(head.weight.detach())
        discriminators.append(torch.cat([p.detach().flatten() for p in objective.parameters()]))
    assert torch.equal(heads[0], start.weight) and torch.equal(heads[1], start.weight)
    assert not torch.equal(heads[2], start.weight)
    assert not torch.equal(discriminators[0], discriminators[1])  # it learns in both of its turns
    assert torch.equal(discriminators[1], discriminators[2])  # and rests while the head moves


def test_too_few_environments_are_refused() -> None:
    features = cached_features(make_model("lenet"), make_dataset((60,)))
    with pytest.raises(ValueError, match="at least 2"):
        fit_head(nn.Linear(features.columns["inputs"].shape[1], 2), features, CORAL())
