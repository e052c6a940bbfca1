"""Statistics of batch normalisation over a whole data set."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hf_ood.models import batch_norms, measure_batch_norms


class Network(nn.Module):
    """Two normalisations, dropout between them, and one that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.dropout, self.second = nn.Dropout(0.5), nn.Conv2d(4, 5, 3)
        self.other, self.head, self.twice = nn.BatchNorm2d(5), nn.Linear(5, 5), nn.BatchNorm1d(5)
        self.double()

    def forward(self, pixel_values: Tensor) -> Any:
        hidden = self.dropout(self.norm(self.first(pixel_values)).relu())
        hidden = self.other(self.second(hidden)).relu().mean((2, 3))
        return self.twice(self.head(self.twice(hidden)))


class Vectors(nn.Module):
    """One normalisation of vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(2), nn.Linear(2, 2)

    def forward(self, inputs: Tensor) -> Any:
        return self.head(self.norm(inputs))


IMAGES = torch.rand(23, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def layer_by_layer(model: Network) -> Network:
    """All images at once, each layer's mean and unbiased variance before the next layer is looked at."""
    model.eval()
    hidden = model.first(IMAGES)
    for norm, rest in ((model.norm, model.second), (model.other, None)):
        norm.running_mean = torch.stack([hidden[:, channel].mean() for channel in range(hidden.shape[1])])
        norm.running_var = torch.stack([hidden[:, channel].var() for channel in range(hidden.shape[1])])
        hidden = rest(norm(hidden).relu()) if rest is not None else hidden
    return model


@pytest.mark.parametrize("size", [1, 4, 23])
def test_the_statistics_are_those_of_all_rows_however_they_are_divided(size: int) -> None:
    model = Network()
    expected = layer_by_layer(copy.deepcopy(model))
    ran = measure_batch_norms(model, [{"pixel_values": part} for part in IMAGES.split(size)])
    assert ran == [model.norm, model.other, model.twice] and model.training
    for ours, theirs in ((model.norm, expected.norm), (model.other, expected.other)):
        torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-11, atol=1e-14)


def test_a_layer_that_runs_twice_takes_both_inputs_together() -> None:
    model, seen = Network(), list[Tensor]()
    measure_batch_norms(model, [{"pixel_values": IMAGES}], [model.norm, model.other])
    before = copy.deepcopy(model).eval()
    before.twice.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    before(IMAGES)
    measure_batch_norms(model, [{"pixel_values": part} for part in IMAGES.split(7)], [model.twice])
    torch.testing.assert_close(model.twice.running_mean, torch.cat(seen).mean(0))
    torch.testing.assert_close(model.twice.running_var, torch.cat(seen).var(0))


def test_only_the_layers_that_are_named_change_and_too_few_values_are_refused() -> None:
    model = Network()
    kept = copy.deepcopy(model.norm.state_dict())
    assert measure_batch_norms(model, [{"pixel_values": IMAGES}], [model.other]) == [model.other]
    assert all(torch.equal(value, kept[name]) for name, value in model.norm.state_dict().items())
    assert len(batch_norms(model)) == 3
    with pytest.raises(ValueError, match="at least two values of each channel"):
        measure_batch_norms(Vectors(), [{"inputs": torch.ones(1, 2)}])
