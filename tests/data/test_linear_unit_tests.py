"""The linear unit tests of invariance: what makes each of them the problem that it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hf_ood.data import EnvironmentDataset, linear_unit_test_tensors
from hf_ood.data.linear_unit_tests import EXAMPLES


def of(dataset: EnvironmentDataset, environment: int) -> tuple[Tensor, Tensor]:
    """Inputs and labels of one environment, in float64."""
    rows = dataset.environments == environment
    return dataset.columns["inputs"][rows].double(), dataset.labels[rows].double()


def residual(inputs: Tensor, targets: Tensor) -> float:
    """Mean squared error of the best linear prediction."""
    solution = torch.linalg.lstsq(inputs, targets[:, None]).solution
    return float((inputs @ solution - targets[:, None]).square().mean())


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("scrambled", [False, True])
def test_shapes_and_reproducibility(example: str, scrambled: bool) -> None:
    options: dict[str, Any] = {"environments": 5, "invariant_dims": 4, "spurious_dims": 2, "samples": 30}
    one, again = (linear_unit_test_tensors(example, **options, scrambled=scrambled) for _ in range(2))
    other = linear_unit_test_tensors(example, **options, scrambled=scrambled, seed=1)
    for split, data in one.items():
        assert data.columns["inputs"].shape == (150, 6)
        assert data.columns["inputs"].dtype == torch.float32
        assert data.environment_counts() == {f"environment_{number}": 30 for number in range(5)}
        assert data.labels.is_floating_point() == (example == "example_1")
        assert torch.equal(data.columns["inputs"], again[split].columns["inputs"])
        assert not torch.equal(data.columns["inputs"], other[split].columns["inputs"])


@pytest.mark.parametrize("example", EXAMPLES)
def test_scrambling_is_a_rotation_of_the_same_data(example: str) -> None:
    (before, labels), (after, same) = (
        of(linear_unit_test_tensors(example, samples=200, scrambled=flag)["test"], 0)
        for flag in (False, True)
    )
    assert torch.equal(labels, same) and not torch.allclose(after, before)
    rotation = torch.linalg.lstsq(before, after).solution
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(10).double(), atol=1e-4, rtol=0)


def test_example_1_noise_follows_the_environment_and_effects_tell_more() -> None:
    data = linear_unit_test_tensors("example_1", samples=4000)
    for environment, scale in enumerate((0.1, 1.5, 2.0)):
        inputs, targets = of(data["train"], environment)
        assert residual(inputs[:, :5], targets) == pytest.approx(5 * scale**2, rel=0.1)  # 5 noises add up
        if scale > 1:
            assert residual(inputs, targets) < 0.8 * residual(inputs[:, :5], targets)


@pytest.mark.parametrize("example", EXAMPLES)
def test_in_the_test_spurious_values_tell_nothing(example: str) -> None:
    for oracle, splits in ((False, ("test",)), (True, ("train", "validation", "test"))):
        data = linear_unit_test_tensors(example, samples=4000, oracle=oracle)
        for split in splits:
            inputs, targets = of(data[split], 2)
            targets = targets - targets.mean()
            spurious = inputs[:, 5:] - inputs[:, 5:].mean(0)
            assert residual(spurious, targets) > 0.99 * float(targets.square().mean())


def test_example_2_is_exact_in_the_faint_values_and_nearly_so_in_the_loud_ones() -> None:
    data = linear_unit_test_tensors("example_2", samples=4000)["train"]
    for environment, (fits, cows) in enumerate(((0.95, 0.3), (0.97, 0.5), (0.99, 0.7))):
        inputs, labels = of(data, environment)
        assert torch.equal((inputs[:, :5].sum(1) > 0).double(), labels)
        assert float(labels.mean()) == pytest.approx(cows, abs=0.03)
        guess = (inputs[:, 5:].sum(1) > 0).double()
        assert float((guess == labels).double().mean()) == pytest.approx(fits, abs=0.01)
        assert float(inputs[:, :5].std() / inputs[:, 5:].std()) == pytest.approx(0.01, rel=0.1)


def test_example_3_margins() -> None:
    data = linear_unit_test_tensors("example_3", samples=2000)["train"]
    directions = []
    for environment in range(3):
        inputs, labels = of(data, environment)
        side = (1 - 2 * labels)[:, None]
        torch.testing.assert_close(
            (side * inputs[:, :5]).mean(0), torch.full((5,), 0.1).double(), atol=0.02, rtol=0
        )
        directions.append((side * inputs[:, 5:]).mean(0))
    assert torch.stack(directions).norm(dim=1).min() > 0.5  # five times the invariant margin's 0.1 * sqrt(5)
    assert torch.cosine_similarity(directions[0], directions[1], dim=0).abs() < 0.99


def test_bad_input_is_refused() -> None:
    for arguments, message in (
        (("exampel_1", {}), "Did you mean 'example_1'"),
        (("example_1", {"sample": 3}), "Did you mean 'samples'"),
        (("example_1", {"environments": 1}), "environments must be at least 2, not 1"),
        (("example_1", {"spurious_dims": 0}), "spurious_dims must be at least 1"),
    ):
        name, options = arguments
        with pytest.raises(ValueError, match=message):
            linear_unit_test_tensors(name, **options)
