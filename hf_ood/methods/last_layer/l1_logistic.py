"""Logistic regression with an L1 penalty, on subsets in which all groups are of one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...options import option

INVERSE_STRENGTHS = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
MOST_PASSES = 1000  # of a solver over its rows; what has not converged by then is told by scikit-learn


@dataclass(frozen=True)
class FittedLayer:
    """A linear layer, and how it came about.

    `weight` float64 [C, D], `bias` float64 [C]: of features as they are, not standardised.
    `inverse_strength`: the one that was chosen; `worst_group`: the accuracy, 0..1, of the worst group in the
    half of the rows that chose it. `rows`: of each balanced subset. `features`: how many of the D have a
    weight other than 0.
    """

    weight: Tensor
    bias: Tensor
    inverse_strength: float
    worst_group: float
    rows: int
    features: int


@dataclass
class L1Logistic:
    """Fit a linear layer by logistic regression with an L1 penalty, the mean of fits on balanced subsets.

    The rows are halved within each group. Of one half a balanced subset, as many rows of every group as the
    smallest has, is fitted with every strength of the penalty, and the strength with the best accuracy in the
    worst group of the other half is kept. Then `subsets` balanced subsets of all rows are fitted with it, and
    their weights averaged. Features are standardised first, which the layer that is returned does not need.
    Source: Kirichenko, Izmailov & Wilson 2023, arXiv:2204.02937, and the authors' code, which standardises
    the final fits as the first stage's training rows, not those it fits.

    Requirements:
        Classes; rows that the features were not trained on, at least two of every group, and of every class.
        Groups are those that are there: a class that an environment lacks is none.

    Relations:
        Recipe `dfr` trains the layer by Adam from where it is, in batches with equal parts of the groups and
        without a penalty. `Reweighting` by group weighs samples where this leaves some out. With two classes
        the solver is liblinear, as the authors', which penalises the intercept too; with more it is saga, of
        the softmax, where theirs fits one class against the rest.

    Examples:
        >>> import torch
        >>> from hf_ood import L1Logistic
        >>> cause, shortcut = torch.tensor([[1.0, 1, -1, -1], [1, -1, -1, 1]]).repeat(1, 9)
        >>> labels, groups = (cause > 0).long(), torch.arange(4).repeat(9)
        >>> layer = L1Logistic(subsets=2).fit(torch.stack([cause, shortcut], 1), labels, groups, 2)
        >>> layer.features, layer.worst_group
        (1, 1.0)
    """

    name: ClassVar[str] = "l1_logistic"
    equation: ClassVar[str] = (
        r"\min_{W, b} \; \lVert W \rVert_1 + "
        r"C \sum_{i \in S} -\log \operatorname{softmax}(W z_i + b)_{y_i}, \quad S \text{ balanced by group}"
    )
    citation: ClassVar[str] = """\
@inproceedings{kirichenko2023last,
  title = {Last Layer Re-Training is Sufficient for Robustness to Spurious Correlations},
  author = {Kirichenko, Polina and Izmailov, Pavel and Wilson, Andrew Gordon},
  booktitle = {International Conference on Learning Representations},
  note = {arXiv:2204.02937},
  year = {2023}
}"""

    subsets: int = option(20, "Balanced subsets whose fits are averaged (authors' code: 20).")
    inverse_strengths: list[float] = option(
        list(INVERSE_STRENGTHS),
        "What the L1 penalty's inverse strength is chosen from, by the accuracy of the worst group in one "
        "half of the samples (authors' code: these); the first of equals.",
    )

    def __post_init__(self) -> None:
        if self.subsets < 1:
            raise ValueError(f"l1_logistic.subsets must be at least 1, not {self.subsets}.")
        if not self.inverse_strengths or min(self.inverse_strengths) <= 0:
            raise ValueError(
                "l1_logistic.inverse_strengths must be positive numbers, at least one, not "
                f"{self.inverse_strengths}."
            )

    def fit(
        self, features: Tensor, labels: Tensor, groups: Tensor, num_labels: int, seed: int = 0
    ) -> FittedLayer:
        """The layer for `features` float [N, D], `labels` int64 [N] and `groups` int64 [N], ids of any kind;
        a function of all arguments.

        Raises `ValueError` for a group with a single row, and for a class without rows.
        """
        x, y = features.double().cpu().numpy(), labels.cpu().numpy()
        where = np.unique(groups.cpu().numpy(), return_inverse=True)[1]
        _check(y, where, num_labels)
        random = np.random.default_rng(seed)
        halves = [np.array_split(random.permutation(rows), 2) for rows in _rows_of_groups(where)]
        fitted, held_out = (np.concatenate(part) for part in zip(*halves, strict=True))
        subset = fitted[_balanced(where[fitted], random)]
        accuracies = []
        for strength in self.inverse_strengths:
            weight, bias = _fit(x[subset], y[subset], strength, seed)
            right = (x[held_out] @ weight.T + bias).argmax(1) == y[held_out]
            accuracies.append(min(right[rows].mean() for rows in _rows_of_groups(where[held_out])))
        best = int(np.argmax(accuracies))
        subsets = [_balanced(where, random) for _ in range(self.subsets)]
        layers = [_fit(x[rows], y[rows], self.inverse_strengths[best], seed) for rows in subsets]
        weight, bias = (np.mean(parts, axis=0) for parts in zip(*layers, strict=True))
        return FittedLayer(
            torch.from_numpy(weight),
            torch.from_numpy(bias),
            self.inverse_strengths[best],
            float(accuracies[best]),
            len(subsets[0]),
            int((weight != 0).any(0).sum()),
        )


def _check(labels: np.ndarray, groups: np.ndarray, num_labels: int) -> None:
    smallest = int(np.bincount(groups).argmin())
    if (groups == smallest).sum() < 2:
        raise ValueError(
            "l1_logistic halves every group, and one has a single sample, of class "
            f"{labels[groups == smallest][0]}: hold out more samples (--hold_out), or group by fewer "
            "environments."
        )
    counts = np.bincount(labels, minlength=num_labels)
    if not counts.all():
        raise ValueError(
            f"l1_logistic fits every class, and class {int(counts.argmin())} has no sample: hold out more "
            "samples (--hold_out)."
        )


def _rows_of_groups(groups: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(groups == group) for group in np.unique(groups)]


def _balanced(groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """As many rows of every group as the smallest has, drawn without replacement."""
    rows = _rows_of_groups(groups)
    smallest = min(map(len, rows))
    return np.concatenate([random.permutation(own)[:smallest] for own in rows])


def _fit(
    features: np.ndarray, labels: np.ndarray, inverse_strength: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weight [C, D] and bias [C] for features as they are, of one regression on standardised ones."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    model = _regression(len(np.unique(labels)), inverse_strength, seed)
    model.fit(scaler.transform(features), labels)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # log-odds of the second class
        weight, bias = (np.concatenate([-one, one]) / 2 for one in (weight, bias))
    weight = weight / scaler.scale_
    return weight, bias - weight @ scaler.mean_


def _regression(num_labels: int, inverse_strength: float, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    named = LogisticRegression().penalty != "deprecated"  # as before scikit-learn 1.8
    penalty = {"penalty": "l1"} if named else {"l1_ratio": 1.0}
    return LogisticRegression(
        C=inverse_strength,
        solver="liblinear" if num_labels == 2 else "saga",
        max_iter=MOST_PASSES,
        random_state=seed,
        **penalty,
    )
