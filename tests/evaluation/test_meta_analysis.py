"""Random effects over environments are those of R's metafor; intervals of few samples cover."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_ood.evaluation.meta_analysis import meta_analysis, reml
from hf_ood.evaluation.small_samples import bootstrap_by_group, wilson

STORED = json.loads((Path(__file__).parent / "meta_analysis_cases.json").read_text())
CASES: list[dict[str, Any]] = STORED["cases"]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_the_numbers_are_those_of_metafor(case: dict[str, Any]) -> None:
    found = vars(meta_analysis(case["right"], case["counts"]))
    for name, expected in case.items():
        if name not in ("right", "counts"):
            assert found[name] == pytest.approx(expected, rel=1e-6, abs=1e-6), name


def test_the_cases_are_many_and_of_both_kinds() -> None:
    assert STORED["metafor"] == "3.8.1" and len(CASES) >= 10
    assert {case["tau_squared"] > 1e-9 for case in CASES} == {True, False}
    assert any(0 in case["right"] for case in CASES)


def test_equal_variances_have_a_closed_form() -> None:
    values, variances = np.array([0.0, 1.0, 3.0, 4.0]), np.full(4, 0.5)
    assert reml(values, variances) == pytest.approx(values.var(ddof=1) - 0.5)
    assert reml(values, np.full(4, 9.0)) == 0


def test_one_more_environment_lies_in_the_prediction_interval() -> None:
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(300):
        shares = 1 / (1 + np.exp(-rng.normal(1.0, 0.7, 9)))
        found = meta_analysis(rng.binomial(300, shares[:8]), [300] * 8)
        inside.append(found.prediction[0] <= shares[8] <= found.prediction[1])
    assert 0.91 < np.mean(inside) < 0.99


@pytest.mark.parametrize(
    ("right", "counts", "message"),
    [
        ([3], [4], "at least two environments"),
        ([3, 5], [4, 4], "between none and all"),
        ([0, 0], [0, 4], "needs samples"),
        ([1, 1, 1], [4, 4], "the same environments"),
    ],
)
def test_what_is_no_share_is_refused(right: list[int], counts: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        meta_analysis(right, counts)


def test_wilsons_interval_is_the_formula() -> None:
    z, n, p = 1.959963984540054, 20, 0.9
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = ((centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n))
    assert wilson(18, 20) == pytest.approx(expected)
    assert wilson(5, 5)[1] == 1 and wilson(0, 5)[0] == 0


def test_a_bootstrap_by_group_is_wider_where_samples_of_a_group_are_alike() -> None:
    rng = np.random.default_rng(0)
    alike = np.repeat(rng.integers(0, 2, 40), 10)
    groups = np.repeat(np.arange(40), 10)
    by_group = bootstrap_by_group(alike, groups)
    by_row = bootstrap_by_group(alike, np.arange(400))
    assert by_group[1] - by_group[0] > 2.5 * (by_row[1] - by_row[0])
    error = alike[::10].std() / math.sqrt(40)
    assert by_group[1] - by_group[0] == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert all(map(math.isnan, bootstrap_by_group([1, 0], ["a", "a"])))
    with pytest.raises(ValueError, match="one group a value"):
        bootstrap_by_group([], [])
