"""Protocols choose by what they say they look at."""

from __future__ import annotations

from typing import Any

import pytest

from hf_ood.evaluation.selection import (
    PROTOCOLS,
    Candidate,
    GivenEnvironment,
)


def results(validation: dict[str, float], test: dict[str, float]) -> dict[str, Any]:
    entries = [(validation, "validation"), (test, "test")]
    return {
        "environments": {
            name: {"accuracy": accuracy, "split": split}
            for accuracies, split in entries
            for name, accuracy in accuracies.items()
        }
    }


CANDIDATE = Candidate(
    ["c"],
    whole=results({"a": 0.9, "b": 0.7}, {"c": 0.5}),
    folds={
        "a": results({"b": 0.8}, {"a": 0.4, "c": 0.55}),
        "b": results({"a": 1.0}, {"b": 0.2, "c": 0.35}),
    },
)


@pytest.mark.parametrize(
    ("name", "score", "accuracy", "oracle"),
    [
        ("validation", 0.8, 0.5, False),
        ("worst", 0.7, 0.5, False),
        ("leave_one_out", 0.3, 0.5, False),
        ("oracle", 0.5, 0.5, True),
    ],
)
def test_what_a_protocol_looks_at(name: str, score: float, accuracy: float, oracle: bool) -> None:
    protocol = PROTOCOLS[name]()
    assert protocol.score(CANDIDATE) == pytest.approx(score)
    assert protocol.accuracy(CANDIDATE) == pytest.approx(accuracy)
    assert protocol.oracle is oracle


def test_a_validation_environment_is_kept_from_the_final_run_too() -> None:
    protocol = GivenEnvironment("b")
    assert protocol.score(CANDIDATE) == 0.2  # of the run without b and c ...
    assert protocol.accuracy(CANDIDATE) == 0.35  # ... whose accuracy on c counts
    with pytest.raises(ValueError, match="another environment"):
        GivenEnvironment("c").score(CANDIDATE)
