"""The forecast of a site from trials: who is chosen, what the interval says, when there are too few."""

from __future__ import annotations

import numpy as np
import pytest

from hf_ood.evaluation.forecast import student
from hf_ood.evaluation.forecast.evidence import ESTIMATORS, Evidence, estimates, seen_measures
from hf_ood.evaluation.forecast.site import Trial, forecast_site
from hf_ood.evaluation.metrics import environment_report

TRUTHS = [0.9, 0.8, 0.7, 0.6, 0.5]
OFF = [0.02, -0.02, 0.02, -0.02, 0.0]


def trials(count: int = 5) -> list[Trial]:
    return [
        Trial(
            f"site {place}",
            100,
            {"accuracy": truth},
            {"accuracy": {"in_domain": 0.9, "doc": truth - off}},
            "site",
            0.1,
        )
        for place, (truth, off) in enumerate(zip(TRUTHS[:count], OFF, strict=False))
    ]


def test_the_estimator_that_was_off_least_is_used_with_its_errors() -> None:
    found = forecast_site(trials(), {"accuracy": {"in_domain": 0.9, "doc": 0.66}}, rule="best")["accuracy"]
    assert found.weights == {"in_domain": 0, "doc": 1, "leave_one_out": 0} and found.estimate == 0.66
    assert found.tried["doc"].error == found.error == pytest.approx(0.016)
    assert found.tried["in_domain"].bias == pytest.approx(-0.2)
    assert found.tried["leave_one_out"].estimate == pytest.approx(0.7)
    # Of 0.9, left out, the mean of the others is 0.65: 0.25 off.
    assert found.tried["leave_one_out"].error == pytest.approx(np.mean([0.25, 0.125, 0, 0.125, 0.25]))
    expected = student(0.66, OFF)  # every four others choose it too
    assert found.forecast is not None
    assert vars(found.forecast) == pytest.approx(vars(expected))


def test_the_average_is_the_rule_unless_another_is_named() -> None:
    found = forecast_site(trials(), {"accuracy": {"in_domain": 0.9, "doc": 0.66}})["accuracy"]
    assert sum(found.weights.values()) == pytest.approx(1) and found.weights["doc"] > 0.95
    assert found.estimate == pytest.approx(
        sum(weight * found.tried[name].estimate for name, weight in found.weights.items())
    )


def test_too_few_trials_give_an_estimate_and_no_interval() -> None:
    found = forecast_site(trials(3), {"accuracy": {"in_domain": 0.9, "doc": 0.66}})["accuracy"]
    assert found.forecast is None and found.error is not None
    one = forecast_site(trials(1), {"accuracy": {"in_domain": 0.9, "doc": 0.66}})["accuracy"]
    assert "leave_one_out" not in one.tried and one.error is None
    with pytest.raises(ValueError, match="needs trials"):
        forecast_site([], {})


def test_every_estimator_has_its_evidence() -> None:
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(300, 3)), rng.normal(size=(200, 3))
    labels = rng.integers(0, 3, 300)
    alone = estimates(Evidence([logits], labels, [target]))
    assert set(alone["accuracy"]) == {"in_domain", "confidence", "doc", "atc"}
    assert set(alone["macro_f1"]) == set(alone["worst_group"]) == {"in_domain", "confidence"}
    seeds = Evidence([logits, -logits], labels, [target, -target], logits, target)
    assert set(estimates(seeds)["accuracy"]) | {"leave_one_out"} == set(ESTIMATORS)


def test_measures_are_those_of_an_evaluation() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(100, 3)), rng.integers(0, 3, 100)
    report = environment_report(logits, labels, np.zeros(100, np.int64), ["here"])["here"]
    assert seen_measures(logits, labels) == {
        name: report[name] for name in ("accuracy", "macro_f1", "worst_group")
    }
