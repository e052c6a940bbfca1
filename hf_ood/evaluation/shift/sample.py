"""Two splits as one balanced sample: which rows, and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

LEAST_VARIANCE = 1e-9  # a direction with a smaller share of the variance is none


@dataclass(frozen=True)
class Sample:
    """As many rows of either split, with the same classes in the same numbers.

    `features`: float64 [N, D], uncorrelated, of unit variance. `splits`: int64 [N], 0 train, 1 test.
    `labels`: int64 [N], 0 to K - 1.
    """

    features: np.ndarray
    splits: np.ndarray
    labels: np.ndarray

    @property
    def num_classes(self) -> int:
        return int(self.labels.max()) + 1

    def exchanged(self, rng: np.random.Generator) -> Sample:
        """The same rows, shuffled between the two splits within each class: a sample without shift."""
        splits = self.splits.copy()
        for label in range(self.num_classes):
            members = np.flatnonzero(self.labels == label)
            splits[members] = rng.permutation(splits[members])
        return replace(self, splits=splits)

    def resampled(self, rng: np.random.Generator) -> Sample:
        """As many rows of each split and class, drawn with replacement."""
        groups = self.splits * self.num_classes + self.labels
        rows = np.concatenate(
            [rng.choice(members, len(members)) for members in map(np.flatnonzero, _masks(groups))]
        )
        return Sample(self.features[rows], self.splits[rows], self.labels[rows])


def _masks(groups: np.ndarray) -> list[np.ndarray]:
    return [groups == group for group in np.unique(groups)]


def encode_labels(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Class ids of both splits, int64 [N] and [M], and the names of the classes.

    Raises `ValueError` when a class occurs on one side only.
    """
    kinds = np.union1d(train, test)
    names = [str(kind) for kind in kinds]
    missing = [
        f"{split} has none of {', '.join(map(str, absent[:8]))}"
        for split, present in (("train", train), ("test", test))
        if len(absent := np.setdiff1d(kinds, present))
    ]
    if missing:
        raise ValueError(
            f"The two splits differ in their classes: {'; '.join(missing)}. Both shifts compare classes that "
            "occur on both sides: leave the rows of the others out (dataset.filter), or give both splits the "
            "same label names."
        )
    return np.searchsorted(kinds, train), np.searchsorted(kinds, test), names


def label_shift(train: np.ndarray, test: np.ndarray) -> float:
    """Total variation between the label frequencies of two splits: class ids int64 [N], [M] -> 0..1."""
    classes = max(train.max(), test.max()) + 1
    frequencies = [np.bincount(labels, minlength=classes) / len(labels) for labels in (train, test)]
    return float(np.abs(frequencies[0] - frequencies[1]).sum() / 2)


def balanced_rows(
    train: np.ndarray,
    test: np.ndarray,
    max_samples: int,
    least: int,
    names: list[str],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of either split, at most `max_samples`, each class equally often in both; int64, sorted.

    Raises `ValueError` when that leaves a class with fewer than `least` rows a split.
    """
    counts = np.stack([np.bincount(labels, minlength=len(names)) for labels in (train, test)])
    common = counts.min(0)
    wanted = np.floor(common * min(1.0, max_samples / common.sum())).astype(int)
    for label, count in enumerate(wanted):
        if count < least:
            few = counts[:, label]
            raise ValueError(
                f"Class {names[label]!r} has {few[0]} rows in train and {few[1]} in test, of which "
                f"{count} would be used: at least {least} are needed on either side. Take more rows "
                f"(max_samples={max_samples}), or leave this class out."
            )
    rows = [
        np.sort(
            np.concatenate(
                [
                    rng.choice(np.flatnonzero(labels == label), count, replace=False)
                    for label, count in enumerate(wanted)
                ]
            )
        )
        for labels in (train, test)
    ]
    return rows[0], rows[1]


def principal_components(features: np.ndarray, components: int, seed: int) -> tuple[np.ndarray, float]:
    """The leading principal components, whitened: [N, D] -> [N, components or fewer], and their share of
    the variance.

    Raises `ValueError` when the features are not finite, or all the same.
    """
    from sklearn.decomposition import PCA

    if not np.isfinite(features).all():
        raise ValueError(f"Features of {(~np.isfinite(features)).any(1).sum()} rows are not finite.")
    if not np.ptp(features, axis=0).any():
        raise ValueError("The features of all rows are the same: choose another encoder.")
    pca = PCA(min(components, *features.shape), whiten=True, random_state=seed)
    whitened = pca.fit_transform(features.astype(np.float64))
    kept = pca.explained_variance_ratio_ > LEAST_VARIANCE
    return whitened[:, kept], float(pca.explained_variance_ratio_.sum())
