"""Diversity shift and correlation shift between two splits, or between environments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from datasets import ClassLabel
from datasets import Dataset as HFDataset
from numpy.typing import ArrayLike

from ...data import EnvironmentDataset
from ...data.columns import require_columns
from ...data.ids import ids_of
from ...errors import unknown_name
from .classifier import ClassifierPlugIn
from .encoders import Encoder, encode, make_encoder
from .estimate import Estimate, Estimator
from .kernel_density import KernelDensity
from .sample import Sample, balanced_rows, encode_labels, label_shift, principal_components

Split: TypeAlias = EnvironmentDataset | HFDataset | tuple[ArrayLike, ArrayLike]
ESTIMATORS: dict[str, type[ClassifierPlugIn] | type[KernelDensity]] = {
    "classifier": ClassifierPlugIn,
    "kde": KernelDensity,
}
SIGNIFICANCE = 0.05 / 2  # two measures are looked at
FEWEST_PERMUTATIONS = 39  # with fewer, no p-value is as small


@dataclass(frozen=True)
class Measure:
    """A value with its 95 % interval, what it reads on average without shift (`null`), and how often it
    reads as much then (`p_value`)."""

    value: float
    low: float
    high: float
    null: float
    p_value: float


@dataclass(frozen=True)
class Shift:
    """What `measure_shift` found.

    `measures`: `diversity` and `correlation`, 0 (none) to 1, and further ones of the estimator.
    `label_shift`: total variation between the splits' label frequencies, of which the measures are free.
    `rows`: used of either split. `components`, `explained_variance`: dimension of the features, and its
    share of their variance. `diagnostics`: the estimator's own, such as `split_accuracy`, how often a row's
    split is told from its features (0.5 is chance).
    """

    estimator: str
    measures: Mapping[str, Measure]
    label_shift: float
    rows: int
    classes: int
    components: int
    explained_variance: float
    diagnostics: Mapping[str, float]

    @property
    def diversity(self) -> Measure:
        return self.measures["diversity"]

    @property
    def correlation(self) -> Measure:
        return self.measures["correlation"]

    @property
    def kind(self) -> str:
        """`diversity` or `correlation`, the larger of those with a p-value of 0.025 or less; else `none`."""
        found = {
            name: self.measures[name].value
            for name in ("diversity", "correlation")
            if self.measures[name].p_value <= SIGNIFICANCE
        }
        return max(found, key=lambda name: found[name]) if found else "none"

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"kind": self.kind, **asdict(self)}


def measure_shift(
    train: Split,
    test: Split,
    *,
    estimator: str = "classifier",
    encoder: str | Encoder = "pixels",
    components: int = 8,
    max_samples: int = 2000,
    permutations: int = FEWEST_PERMUTATIONS,
    seed: int = 0,
    label_column: str = "label",
    image_column: str | None = None,
    text_column: str = "text",
) -> Shift:
    """How much of the change from `train` to `test` is new features, and how much is old features that go
    with other classes.

    Diversity shift: features z that one split lacks. Correlation shift: features that both have and that
    predict the class y differently. With balanced classes and squared Hellinger distances, diversity =
    1 - ∫ sqrt(p(z) q(z)), and diversity + correlation is the distance between p(z, y) and q(z, y): 0 for
    equal splits, 1 for splits that share nothing.

    `train`, `test`: an `EnvironmentDataset` (its transform is not applied), a `datasets.Dataset` with
    images or texts, or a pair (features [N, D], labels [N]). `encoder`: makes features: `pixels` (of images,
    reduced to 7 x 7), a checkpoint's folder or Hub id (see `CheckpointEncoder`), or a function. Features are
    reduced to their leading `components`, so units matter. `estimator`: `classifier` or `kde`, the
    paper's. `max_samples`: rows used of either split, classes balanced. `permutations`: samples without
    shift for the null; the rows of each class are shuffled between the splits. That is the null of no
    shift of either kind.

    A shift is one of these features: what the encoder or the reduction drops does not count. The interval
    tells of the rows, not of the classifier's fit or of its bias, for which see `null`.

    Raises `ValueError` when the splits differ in their classes or features, when a class has too few rows,
    or for an unknown option. Source: Ye et al. 2022, OoD-Bench.

    Example: `measure_shift(dataset["train"], dataset["test"]).correlation.value`
    """
    if estimator not in ESTIMATORS:
        raise ValueError(unknown_name("estimator", estimator, list(ESTIMATORS)))
    if permutations < FEWEST_PERMUTATIONS:
        raise ValueError(
            f"permutations must be at least {FEWEST_PERMUTATIONS}, or no p-value is as small as "
            f"{SIGNIFICANCE}; got {permutations}."
        )
    for name, number in (("components", components), ("max_samples", max_samples)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, not {number}.")
    method: Estimator = ESTIMATORS[estimator](seed=seed)
    splits = {"train": train, "test": test}
    labels = [_labels(split, name, label_column) for name, split in splits.items()]
    train_ids, test_ids, names = encode_labels(*labels)
    rng = np.random.default_rng(seed)
    least = max(method.least_rows, components + 2 if estimator == "kde" else 0)
    rows = balanced_rows(train_ids, test_ids, max_samples, least, names, rng)
    features = _features(train, test, rows, encoder, image_column, text_column)
    reduced, explained = principal_components(np.concatenate(features), components, seed)
    sample = Sample(
        reduced, np.repeat([0, 1], len(rows[0])), np.concatenate([train_ids[rows[0]], test_ids[rows[1]]])
    )
    estimate, measures = _judge(method, sample, permutations, rng)
    return Shift(
        estimator=estimator,
        measures={name: Measure(*row) for name, row in zip(method.measures, measures.tolist(), strict=True)},
        label_shift=label_shift(train_ids, test_ids),
        rows=len(rows[0]),
        classes=len(names),
        components=reduced.shape[1],
        explained_variance=explained,
        diagnostics=estimate.diagnostics,
    )


def measure_environment_shifts(
    dataset: EnvironmentDataset | HFDataset, environment_column: str = "environment", **options: Any
) -> dict[tuple[str, str], Shift]:
    """The shift between every two environments of a data set; `options` as for `measure_shift`.

    Raises `ValueError` when there is only one environment, and what `measure_shift` raises.
    """
    if isinstance(dataset, EnvironmentDataset):
        names, ids = dataset.environment_names, dataset.environments.numpy()
    else:
        require_columns(dataset, environment_column)
        ids, names = ids_of(dataset, environment_column, "environment")
    parts = {
        names[number]: dataset.select(np.flatnonzero(ids == number).tolist()) for number in np.unique(ids)
    }
    if len(parts) < 2:
        raise ValueError(f"All rows are of one environment, {', '.join(parts)}: there is no pair to compare.")
    options["encoder"] = make_encoder(options.get("encoder", "pixels"))  # a checkpoint is loaded once
    return {
        (one, other): measure_shift(parts[one], parts[other], **options)
        for one, other in combinations(parts, 2)
    }


def _judge(
    method: Estimator, sample: Sample, permutations: int, rng: np.random.Generator
) -> tuple[Estimate, np.ndarray]:
    """The estimate, and the fields of `Measure` [number of measures, 5]."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # matrices are so small that threads take ten times as long
        method = method.prepare(sample)
        estimate = method.estimate(sample)
        null = np.stack([method.estimate(sample.exchanged(rng)).values for _ in range(permutations)])
        low, high = method.interval(sample, estimate, rng)
    p_values = (1 + (null >= estimate.values).sum(0)) / (1 + permutations)
    return estimate, np.stack([estimate.values, low, high, null.mean(0), p_values], axis=1)


def _labels(split: Split, name: str, column: str) -> np.ndarray:
    """The class of every row [N], by name where it has one."""
    if isinstance(split, EnvironmentDataset):
        if split.labels.is_floating_point():
            raise ValueError(
                f"The labels of {name} are numbers, the targets of a regression: both shifts are measured "
                "between classes. Put the numbers into classes (such as quartiles) first."
            )
        labels = np.asarray(split.label_names)[split.labels.numpy()]
    elif isinstance(split, HFDataset):
        require_columns(split, column)
        labels = np.asarray(split[column][:])
        feature = split.features[column]
        if isinstance(feature, ClassLabel) and len(labels):
            if labels.min() < 0:
                raise ValueError(
                    f"{(labels < 0).sum()} rows of {name} have no label (-1): correlation shift needs the "
                    "labels of both splits. Leave these rows out (dataset.filter)."
                )
            labels = np.asarray(feature.names)[labels]
    elif isinstance(split, tuple):
        labels = np.asarray(split[1])
    else:
        raise TypeError(
            f"{name} must be an EnvironmentDataset, a datasets.Dataset or a pair (features, labels), not "
            f"{type(split).__name__}."
        )
    if labels.ndim != 1:
        raise ValueError(f"Labels of {name} must be one class a row [N], not of shape {list(labels.shape)}.")
    if len(labels) == 0:
        raise ValueError(f"{name} is empty.")
    return labels


def _features(
    train: Split,
    test: Split,
    rows: tuple[np.ndarray, np.ndarray],
    encoder: str | Encoder,
    image_column: str | None,
    text_column: str,
) -> list[np.ndarray]:
    """The features [n, D] of the chosen rows of both splits."""
    function = make_encoder(encoder)
    found = []
    for name, split, chosen in zip(("train", "test"), (train, test), rows, strict=True):
        if not isinstance(split, tuple):
            found.append(encode(split.select(chosen.tolist()), function, image_column, text_column))
            continue
        array, count = np.asarray(split[0], dtype=np.float64), len(np.asarray(split[1]))
        if array.ndim != 2 or len(array) != count:
            raise ValueError(
                f"Features of {name} must have the shape [N, D] with one row a label, not "
                f"{list(array.shape)} for {count} labels."
            )
        found.append(array[chosen])
    if found[0].shape[1] != found[1].shape[1]:
        raise ValueError(
            f"train has {found[0].shape[1]} features a row, test {found[1].shape[1]}: use the same encoder."
        )
    return found
