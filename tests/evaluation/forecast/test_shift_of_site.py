"""The kind of shift to an environment, where it is known."""

from __future__ import annotations

import numpy as np

from hf_ood.evaluation.forecast.shift_of_site import shift_of_site


def rows(rng: np.random.Generator, shift: float, sign: float) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(0, 2, 500)
    features = rng.normal(size=(500, 2))
    features[:, 0] += shift
    features[:, 1] += sign * (2 * labels - 1)
    return features, labels


def test_new_features_are_diversity_and_turned_labels_are_correlation() -> None:
    rng = np.random.default_rng(0)
    known = rows(rng, 0, 1.5)
    moved, turned, same = (shift_of_site(*known, *rows(rng, *how)) for how in ((4, 1.5), (0, -1.5), (0, 1.5)))
    assert moved is not None and turned is not None and same is not None
    assert moved["diversity"]["value"] > 0.6 > 0.2 > moved["correlation"]["value"]
    assert turned["correlation"]["value"] > 0.3 > turned["diversity"]["value"]
    for found in same.values():
        assert found["value"] < 0.1 and abs(found["value"] - found["null"]) < 0.05


def test_a_class_that_is_hardly_there_has_no_shift() -> None:
    rng = np.random.default_rng(0)
    features, labels = rows(rng, 0, 1)
    assert shift_of_site(features, labels, features[:3], labels[:3]) is None
    assert shift_of_site(features, labels, features, np.zeros_like(labels)) is None
