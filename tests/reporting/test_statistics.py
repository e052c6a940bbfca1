"""Intervals and verdicts."""

from __future__ import annotations

import math

import pytest

from hf_ood.reporting.statistics import Verdict, interval, verdict


def test_the_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0, 4.0])
    assert found.mean == 2.5 and found.n == 4
    # t(0.975, 3) = 3.18245 from a table; standard deviation 1.29099
    assert found.half_width == pytest.approx(3.18245 * 1.29099 / 2, rel=1e-4)
    assert str(found) == "2.50 ± 2.05 (n = 4)"


def test_one_value_has_no_interval_and_none_is_an_error() -> None:
    assert math.isnan(interval([3.0]).half_width) and str(interval([3.0])) == "3.00 (n = 1)"
    with pytest.raises(ValueError, match="nothing to average"):
        interval([])


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 1.1, 0.9], Verdict.REPLICATED),
        ([-1.0, -1.1, -0.9], Verdict.REVERSED),
        ([1.0, -1.0, 0.5], Verdict.NOT_REPLICATED),
        ([5.0], Verdict.NOT_REPLICATED),  # one seed shows nothing
        ([0.0, 0.0], Verdict.NOT_REPLICATED),
    ],
)
def test_the_verdict_follows_the_rule(differences: list[float], expected: Verdict) -> None:
    assert verdict(differences)[1] is expected
