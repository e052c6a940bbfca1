"""The share of a gap that is closed, by hand and against resampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

from hf_ood.evaluation.gap_closed import gap, share_of_gap_closed

BASELINE = [[30.0, 50.0], [32.0, 52.0], [31.0, 51.0]]
OWN = [[60.0, 60.0], [62.0, 62.0], [61.0, 61.0]]


def test_nothing_and_all_of_it() -> None:
    nothing, everything = (share_of_gap_closed(method, BASELINE, OWN) for method in (BASELINE, OWN))
    assert nothing is not None and everything is not None
    assert (nothing.mean, nothing.half_width) == (0, 0)
    assert (everything.mean, everything.half_width, everything.n) == (1, 0, 3)
    assert gap(OWN, BASELINE).mean == 20


def test_by_hand() -> None:
    method = [[34.0, 50.0], [35.0, 53.0], [32.0, 52.0]]  # gains 2, 2, 1 over gaps of 20
    found = share_of_gap_closed(method, BASELINE, OWN)
    assert found is not None
    assert found.mean == pytest.approx(5 / 60)
    left = np.array([2.0, 2.0, 1.0]) - 5 / 60 * 20
    error = math.sqrt((left**2).sum() / 2 / 3) / 20
    assert found.half_width == pytest.approx(t.ppf(0.975, 2) * error)


def test_the_interval_covers_as_it_says() -> None:
    random, covered = np.random.default_rng(0), 0
    for _ in range(400):
        baseline = 40 + random.normal(0, 1, (5, 3))
        own = 60 + random.normal(0, 1, (5, 3))
        method = 45 + random.normal(0, 1, (5, 3))
        found = share_of_gap_closed(method, baseline, own)
        assert found is not None
        covered += found.low <= 0.25 <= found.high
    assert 0.91 < covered / 400 < 0.98


def test_no_gap_has_no_share() -> None:
    assert share_of_gap_closed(OWN, BASELINE, BASELINE) is None
    assert share_of_gap_closed(OWN[:1], BASELINE[:1], [[20.0, 20.0]]) is None
    one = share_of_gap_closed(OWN[:1], BASELINE[:1], OWN[:1])
    assert one is not None and one.mean == 1 and math.isnan(one.half_width)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="seeds"):
        share_of_gap_closed(OWN[:2], BASELINE[:2], OWN)
    with pytest.raises(ValueError, match="seeds"):
        share_of_gap_closed(OWN[:2], BASELINE, OWN)
