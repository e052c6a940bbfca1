"""Averages of weights against straightforward means, and the valley against the paper's algorithm."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hf_ood.methods.averaging import BMA, EMA, SWA, SWAD, Averaging, interpolate
from hf_ood.methods.averaging.base import averaged_tensors, put
from hf_ood.methods.averaging.swad import loss_valley

STEPS = 12


def path(steps: int = STEPS) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "a": torch.randn(3, generator=generator, dtype=torch.float64),
            "b": torch.randn(2, 2, generator=generator, dtype=torch.float64),
        }
        for _ in range(steps)
    ]


START = {"a": torch.full((3,), 7.0, dtype=torch.float64), "b": torch.zeros(2, 2, dtype=torch.float64)}


def follow(averaging: Averaging, weights: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    averaging.begin(START)
    for step, current in enumerate(weights, 1):
        averaging.update(current, step, len(weights))
    return averaging.final


def mean(weights: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([w[name] for w in weights]).mean(0) for name in weights[0]}


@pytest.mark.parametrize(
    ("ema", "decay"),
    [
        (EMA(decay=0.9, warmup=False), lambda t: 0.9),
        (EMA(decay=0.5), lambda t: min(0.5, (1 + t) / (10 + t))),
        (EMA(), lambda t: (1 + t) / (10 + t)),
    ],
)
def test_ema_is_its_recursion(ema: EMA, decay: Callable[[int], float]) -> None:
    expected = path()[0]
    for t, weights in enumerate(path()[1:], 1):
        expected = {n: decay(t) * e + (1 - decay(t)) * weights[n] for n, e in expected.items()}
    torch.testing.assert_close(follow(ema, path()), expected)


@pytest.mark.parametrize(
    ("swa", "chosen"),
    [(SWA(), slice(9, 12)), (SWA(start=0.0, every=5), slice(0, 12, 5)), (SWA(0.5, 2), slice(6, 12, 2))],
)
def test_swa_is_the_mean_of_every_kth_weight_from_its_start(swa: SWA, chosen: slice) -> None:
    torch.testing.assert_close(follow(swa, path()), mean(path()[chosen]))


def paper_valley(losses: list[float], converge: int, tolerance: int, ratio: float) -> tuple[int, int] | None:
    """Algorithm 1 of the paper as it reads, one evaluation after the other: t_s and t_e."""
    start, limit = None, 0.0
    for i in range(len(losses)):
        if start is None:
            window = losses[i - converge + 1 : i + 1]
            if i >= converge - 1 and losses[i - converge + 1] == min(window):
                start, limit = i - converge + 1, (1 + ratio) * sum(window) / converge
        elif i >= tolerance - 1 and limit < min(losses[i - tolerance + 1 : i + 1]):
            return start, i - tolerance
    return None if start is None else (start, len(losses) - 1)


@pytest.mark.parametrize(("converge", "tolerance"), [(3, 6), (3, 2), (2, 4), (4, 1), (1, 3)])
def test_the_valley_is_the_papers(converge: int, tolerance: int) -> None:
    generator = torch.Generator().manual_seed(converge)
    for _ in range(300):
        number = int(torch.randint(1, 25, (), generator=generator))
        curve = torch.linspace(-1, 1.5, number).square() + 0.3 * torch.rand(number, generator=generator)
        losses = curve.tolist()
        found = loss_valley(losses, converge, tolerance, 0.3)
        expected = paper_valley(losses, converge, tolerance, 0.3)
        if expected is None:
            assert not found
        elif expected[1] < number - 1:
            assert (found.start, found.stop - 1) == expected
        else:  # it lasts to the end: a tail of high losses, shorter than the tolerance, is left out
            assert found.start == expected[0]
            limit = 1.3 * sum(losses[found.start : found.start + converge]) / converge
            assert all(loss > limit for loss in losses[found.stop :])
            assert losses[found.stop - 1] <= limit or found.stop - found.start <= converge
        decided = loss_valley(losses, converge, tolerance, 0.3, over=False)
        assert decided.start == found.start and decided.stop <= found.stop


# Falls to its lowest at 3; the mean of 0.5, 0.6, 0.55 times 1.3 is 0.715; two in a row above it begin at 8.
CURVE = [2.0, 1.2, 0.8, 0.5, 0.6, 0.55, 0.9, 0.7, 0.8, 0.9, 0.5, 0.6]


def swad_over(losses: list[float], n_tolerance: int, per_evaluation: int = 3) -> SWAD:
    swad = SWAD(n_tolerance=n_tolerance)
    weights = path(per_evaluation * len(losses))
    for step, current in enumerate(weights, 1):
        swad.update(current, step, len(weights))
        if step % per_evaluation == 0:
            swad.evaluated(losses[step // per_evaluation - 1])
            kept = SWAD(n_tolerance=n_tolerance)
            kept.load_state_dict(swad.state_dict())  # what a checkpoint holds goes on as if uninterrupted
            swad = kept
            assert len(swad.segments) <= max(swad.n_converge, n_tolerance)
    return swad


@pytest.mark.parametrize(
    ("evaluations", "n_tolerance", "first", "last"),
    [
        (12, 2, 3, 7),
        (12, 6, 3, 11),
        (9, 2, 3, 7),
        (8, 2, 3, 7),
        (7, 2, 3, 5),
        (6, 2, 3, 5),
        (5, 2, 4, 4),
        (1, 2, 0, 0),
    ],
)
def test_swad_averages_every_weight_of_the_valley(
    evaluations: int, n_tolerance: int, first: int, last: int
) -> None:
    """`first` and `last` evaluation whose steps count; before a valley is reached, the last evaluation's."""
    swad = swad_over(CURVE[:evaluations], n_tolerance)
    expected = mean(path(3 * evaluations)[3 * first : 3 * last + 3])
    torch.testing.assert_close(swad.final, expected)
    assert swad.average == {}  # what is evaluated on the way are the weights as they are


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_bma_weighs_start_and_steps_by_the_density_of_the_beta_distribution(beta: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    weights = [START, *path()]
    counts = [float(stats.beta(beta, beta).pdf((t + 0.5) / (STEPS + 1))) for t in range(STEPS + 1)]
    expected = {
        name: sum(count * w[name] for count, w in zip(counts, weights, strict=True)) / sum(counts)
        for name in START
    }
    found = follow(BMA(beta), path())
    torch.testing.assert_close(found, expected)
    kept = BMA(beta)
    kept.begin(START)
    for step, current in enumerate(path(), 1):
        kept.update(current, step, STEPS)
        resumed = BMA(beta)
        resumed.begin(current)  # as where a checkpoint's weights are there already
        resumed.load_state_dict(kept.state_dict())
        kept = resumed
    torch.testing.assert_close(kept.final, found, rtol=0, atol=0)
    with pytest.raises(ValueError, match="call begin with them first"):
        BMA().update(START, 1, 2)


def test_swad_without_an_evaluation_yet_is_the_mean_of_all() -> None:
    torch.testing.assert_close(follow(SWAD(), path()), mean(path()))


@pytest.mark.parametrize("make", [EMA, SWA, SWAD, BMA])
def test_a_new_training_starts_from_nothing(make: Callable[[], Averaging]) -> None:
    averaging = make()
    first = follow(averaging, path())
    averaging.evaluated(0.5)
    averaging.reset()
    torch.testing.assert_close(follow(averaging, path()), first, rtol=0, atol=0)


def test_half_precision_is_averaged_in_single() -> None:
    swa = SWA(start=0.0)
    swa.update({"a": torch.ones(1, dtype=torch.bfloat16)}, 1, 2)
    swa.update({"a": torch.tensor([1 + 2**-7], dtype=torch.bfloat16)}, 2, 2)
    assert swa.average["a"].item() == 1 + 2**-8


def test_statistics_are_averaged_and_what_is_frozen_is_not() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    assert set(averaged_tensors(model)) == {
        "0.weight",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
    }
    with torch.no_grad():
        put({"1.running_mean": torch.tensor([3.0, 4.0])}, model)
    assert model[1].running_mean.tolist() == [3.0, 4.0]


def test_wrong_options_are_named() -> None:
    for wrong, message in (
        (lambda: EMA(decay=1.0), r"ema\.decay must lie"),
        (lambda: BMA(beta=0.0), r"bma\.beta must lie above 0"),
        (lambda: SWA(start=1.0), r"swa\.start must lie"),
        (lambda: SWA(every=0), r"swa\.every must be at least 1"),
        (lambda: SWAD(n_converge=0), r"swad\.n_converge must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


def test_interpolation_is_the_line_between_two_models() -> None:
    torch.manual_seed(0)
    start, end = (nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)) for _ in range(2))
    end(torch.randn(5, 2))
    for alpha in (0.0, 0.3, 1.0):
        mixed = interpolate(start, end, alpha)
        for name, value in mixed.state_dict().items():
            a, b = start.state_dict()[name], end.state_dict()[name]
            expected = (1 - alpha) * a + alpha * b if value.is_floating_point() else b
            torch.testing.assert_close(value, expected, msg=name)
    with pytest.raises(ValueError, match=r"no line between two different networks: 0\.bias, 0\.weight"):
        interpolate(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(3)), end, 0.5)
