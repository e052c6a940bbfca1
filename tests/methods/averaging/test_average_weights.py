"""The mean of several networks' weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hf_ood.methods.averaging import average_weights


def network(seed: int, inputs: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    found = nn.Sequential(nn.Linear(inputs, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    found(torch.randn(8, inputs, dtype=torch.float64))  # statistics of its own
    return found


@pytest.mark.parametrize("weights", [None, [1.0, 1.0, 1.0], [0.5, 3.0, 0.0]])
def test_the_mean_is_that_of_a_loop(weights: list[float] | None) -> None:
    models = [network(seed) for seed in range(3)]
    before = [copy.deepcopy(model.state_dict()) for model in models]
    found = average_weights(iter(models), weights)
    shares = weights or [1.0] * 3
    for name, value in found.state_dict().items():
        if not value.is_floating_point():
            assert torch.equal(value, before[0][name])
            continue
        expected = sum(share * state[name] for share, state in zip(shares, before, strict=True)) / sum(shares)
        torch.testing.assert_close(value, expected, rtol=1e-14, atol=1e-15)
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_equal_weights_stay_as_they_are_in_half_precision() -> None:
    model = network(0).to(torch.bfloat16)
    found = average_weights([model] * 3)
    assert found[0].weight.dtype == torch.bfloat16
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in found.state_dict().items())


def test_models_with_adapters_are_merged_before_they_are_averaged() -> None:
    peft = pytest.importorskip("peft")
    base, inputs = network(0).eval(), torch.randn(5, 3, dtype=torch.float64)
    adapted = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = peft.LoraConfig(r=2, target_modules=["0"], init_lora_weights=False)
        adapted.append(peft.get_peft_model(copy.deepcopy(base), config).double().eval())
    found = average_weights(adapted)
    deltas = [model.base_model.model[0].get_delta_weight("default") for model in adapted]
    torch.testing.assert_close(found[0].weight, base[0].weight + (deltas[0] + deltas[1]) / 2)
    hidden = sum(model.base_model.model[0](inputs) for model in adapted) / 2
    torch.testing.assert_close(found[0](inputs), hidden)
    assert hasattr(adapted[0], "merge_and_unload") and not hasattr(found, "merge_and_unload")


def test_what_has_no_mean_is_refused() -> None:
    models = [network(0), network(1)]
    for given, weights, message in (
        ([network(0), network(0, inputs=4)], None, r"Different networks .* 0\.weight"),
        (models, [1.0], "1 weights for more models"),
        (models, [1.0, 1.0, 1.0], "3 weights for 2 models"),
        (models, [1.0, -1.0], "at least 0, not -1"),
        (models, [0.0, 0.0], "nothing to average"),
        ([], None, "nothing to average"),
    ):
        with pytest.raises(ValueError, match=message):
            average_weights(given, weights)
