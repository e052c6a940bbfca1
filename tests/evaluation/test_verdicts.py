"""Intervals, the four verdicts, Holm's correction, and how many seeds decide."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from hf_ood.evaluation.verdicts import (
    Place,
    Verdict,
    holm,
    interval,
    judge,
    paired_p_value,
    place,
    prediction_interval,
    seeds_needed,
)


def test_the_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0, 4.0])
    assert found.mean == 2.5 and found.n == 4
    # t(0.975, 3) = 3.18245 from a table; standard deviation 1.29099
    assert found.half_width == pytest.approx(3.18245 * 1.29099 / 2, rel=1e-4)
    assert (found.low, found.high) == (2.5 - found.half_width, 2.5 + found.half_width)
    assert str(found) == "2.50 ± 2.05 (n = 4)"


def test_one_value_has_no_interval_and_none_is_an_error() -> None:
    assert math.isnan(interval([3.0]).half_width) and str(interval([3.0])) == "3.00 (n = 1)"
    with pytest.raises(ValueError, match="nothing to average"):
        interval([])


@pytest.mark.parametrize(
    ("differences", "margin", "expected"),
    [
        ([2.0, 2.1, 1.9], 1.0, Verdict.HOLDS),
        ([0.5, 0.51, 0.49], 1.0, Verdict.HOLDS),  # small, but a difference
        ([-2.0, -2.1, -1.9], 1.0, Verdict.REVERSED),
        ([0.1, -0.1, 0.05], 1.0, Verdict.NO_DIFFERENCE),
        ([0.0, 0.0], 1.0, Verdict.NO_DIFFERENCE),
        ([0.1, -0.1, 0.05], 0.1, Verdict.INCONCLUSIVE),  # 0.017 ± 0.26
        ([0.1, -0.1, 0.05], None, Verdict.INCONCLUSIVE),
        ([5.0, -3.0, 4.0], 1.0, Verdict.INCONCLUSIVE),  # three seeds that cannot tell
        ([5.0], 1.0, None),  # one seed decides nothing
    ],
)
def test_the_verdict_follows_the_interval(
    differences: list[float], margin: float | None, expected: Verdict | None
) -> None:
    assert judge(differences, margin).verdict is expected


def test_the_p_value_is_the_paired_t_tests() -> None:
    differences = [1.0, 3.0, -0.5, 2.0]
    assert paired_p_value(differences) == pytest.approx(ttest_1samp(differences, 0).pvalue)
    assert math.isnan(paired_p_value([1.0]))
    assert paired_p_value([0.0, 0.0]) == 1 and paired_p_value([2.0, 2.0]) == 0


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    # By hand: 0.01 x 3; 0.03 x 2; 0.04 x 1, but not below the one before.
    assert holm([0.01, 0.04, math.nan, 0.03]) == pytest.approx([0.03, 0.06, math.nan, 0.06], nan_ok=True)
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == [] and math.isnan(holm([math.nan])[0])


def test_seeds_needed_is_the_sample_size_of_the_paired_t_test() -> None:
    # Cohen 1988: an effect of 0.5 (of 0.2) standard deviations takes 34 (199) pairs for a power of 80 %.
    for effect, expected in ((0.5, 34), (0.2, 199)):
        assert seeds_needed([effect - math.sqrt(0.5), effect + math.sqrt(0.5)], margin=None) == expected


@pytest.mark.nightly
def test_seeds_needed_decides_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    for mean, spread, margin in ((3.0, 2.5, 1.0), (0.2, 1.0, 1.0)):
        half = spread / math.sqrt(2)
        needed = seeds_needed([mean - half, mean + half], margin)
        assert needed is not None
        drawn = random.normal(mean, spread, (400, needed))
        decided = [judge(seeds.tolist(), margin).verdict is not Verdict.INCONCLUSIVE for seeds in drawn]
        assert 0.75 < np.mean(decided) < 0.95


def test_seeds_that_nobody_could_train_are_not_counted() -> None:
    assert seeds_needed([5.0]) is None
    assert seeds_needed([-100.0, 100.1]) is None
    assert seeds_needed([1.0, 1.0], margin=None) == 2
    assert seeds_needed([0.0, 0.0], margin=None) is None


def test_a_further_run_lies_within_the_prediction_interval_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    runs = random.normal(70.0, 4.0, size=(4000, 8))
    for further in (1, 3):
        means = random.normal(70.0, 4.0, size=(4000, further)).mean(1)
        found = [prediction_interval(row.tolist(), further) for row in runs]
        inside = np.mean([each.low <= mean <= each.high for each, mean in zip(found, means, strict=True)])
        assert inside == pytest.approx(0.95, abs=0.012)
    # t(0.975, 3) = 3.18245; standard deviation 1.29099; one more of five
    assert prediction_interval([1.0, 2.0, 3.0, 4.0]).half_width == pytest.approx(
        3.18245 * 1.29099 * math.sqrt(1 + 1 / 4), rel=1e-4
    )


def test_a_printed_figure_matches_within_the_interval_and_else_ours_is_above_or_below() -> None:
    ours = [70.0, 72.0, 71.0]
    assert place(ours, 68.0) is Place.MATCHES
    assert place(ours, 60.0) is Place.ABOVE and place(ours, 80.0) is Place.BELOW
    assert place(ours, 67.0) is Place.MATCHES and place(ours, 67.0, runs=10) is Place.ABOVE  # a mean of ten
    assert place([70.0], 70.0) is None
