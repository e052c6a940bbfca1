"""Average ranks against scipy, and against the example of Demšar (2006)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f, friedmanchisquare

from hf_ood.evaluation.ranks import average_ranks, critical_difference

# After table 6 of Demšar 2006: AUC of C4.5 and three variants on 14 data sets. The printed ranks tell two
# equal figures apart, hence .9751.
DEMSAR = pd.DataFrame(
    {
        "C4.5": [.763, .599, .954, .628, .882, .936, .661, .583, .775, 1.0, .940, .619, .972, .957],
        "C4.5+m": [.768, .591, .971, .661, .888, .931, .668, .583, .838, 1.0, .962, .666, .981, .978],
        "C4.5+cf": [.771, .590, .968, .654, .886, .916, .609, .563, .866, 1.0, .965, .614, .9751, .946],
        "C4.5+m+cf": [.798, .569, .967, .657, .898, .931, .685, .625, .875, 1.0, .962, .669, .975, .970],
    }
)  # fmt: skip


def test_ranks_of_the_papers_example() -> None:
    found = average_ranks(DEMSAR)
    assert found.ranks["C4.5"] == pytest.approx(3.143, abs=1e-3)
    assert found.ranks["C4.5+m"] == pytest.approx(2.000, abs=1e-3)
    assert found.ranks["C4.5+cf"] == pytest.approx(2.893, abs=1e-3)
    assert found.ranks["C4.5+m+cf"] == pytest.approx(1.964, abs=1e-3)
    assert found.ranks.idxmin() == "C4.5+m+cf" and found.problems == 14
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)  # as the paper prints it


@pytest.mark.parametrize(("methods", "quantile"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_has_the_papers_quantiles(methods: int, quantile: float) -> None:
    """Table 5 (a)."""
    expected = quantile * math.sqrt(methods * (methods + 1) / (6 * 30))
    assert critical_difference(methods, 30) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("ties", [False, True])
def test_the_p_value_is_iman_and_davenports_of_scipys_statistic(ties: bool) -> None:
    values = np.random.default_rng(0).normal(size=(9, 5)) + np.arange(5) / 2
    if ties:
        values = values.round()
    found = average_ranks(pd.DataFrame(values))
    chi_square = friedmanchisquare(*values.T).statistic
    statistic = 8 * chi_square / (9 * 4 - chi_square)
    assert found.p_value == pytest.approx(f.sf(statistic, 4, 32), rel=1e-9)


def test_what_cannot_be_told_apart() -> None:
    same = pd.DataFrame(np.ones((4, 3)), columns=list("abc"))
    found = average_ranks(same)
    assert found.ranks.tolist() == [2, 2, 2] and found.p_value == 1
    assert found.tied_with_best() == ["a", "b", "c"]
    one = average_ranks(pd.DataFrame([[1.0, 2.0]], columns=list("ab")))
    assert math.isnan(one.p_value) and one.tied_with_best() == ["b", "a"]
    always = average_ranks(pd.DataFrame(np.tile([3.0, 2.0, 1.0], (30, 1)), columns=list("abc")))
    assert always.p_value == 0 and always.tied_with_best() == ["a"]


def test_a_missing_value_is_refused() -> None:
    with pytest.raises(ValueError, match="b has no value on 1"):
        average_ranks(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, np.nan]}))
    with pytest.raises(ValueError, match="nothing to rank"):
        average_ranks(pd.DataFrame())
