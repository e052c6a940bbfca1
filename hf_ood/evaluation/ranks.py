"""Methods ranked over several problems: average ranks, whether any differ, and by how much they must.

found = average_ranks(accuracies)         # a row for each problem, a column for each method
found.ranks["irm"], found.critical_difference, found.p_value
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import f, rankdata, studentized_range

LEVEL = 0.05
DECIMALS = 9  # equal results are ties, whatever the rounding of their sums


@dataclass(frozen=True)
class AverageRanks:
    """`ranks`: by method, the best first; 1 is best. `problems`: how many were ranked over.

    `p_value`: that all methods are alike, by Friedman's test as Iman and Davenport (1980) correct it; NaN
    where there is nothing to compare. `critical_difference`: two methods whose average ranks differ by less
    are not told apart by Nemenyi's test at 5 %; NaN for one method or one problem.
    """

    ranks: pd.Series
    problems: int
    p_value: float
    critical_difference: float

    def tied_with_best(self) -> list[str]:
        """The methods that are not told apart from the best one, itself included."""
        return [str(name) for name in self.ranks.index[self.ranks - self.ranks.min() < self.margin]]

    @property
    def margin(self) -> float:
        """The critical difference; infinite where there is none, so that nothing is told apart."""
        return math.inf if math.isnan(self.critical_difference) else self.critical_difference


def average_ranks(values: pd.DataFrame, level: float = LEVEL) -> AverageRanks:
    """Rank the methods (columns) on each problem (row), the largest value first; ties share their mean rank.

    Reference: Demšar 2006, "Statistical comparisons of classifiers over multiple data sets", JMLR 7.
    Raises `ValueError` without methods or problems, and for a missing value: rank the problems that all
    methods have.
    """
    if values.empty:
        raise ValueError("There is nothing to rank.")
    if values.isna().any(axis=None):
        row, column = np.argwhere(values.isna().to_numpy())[0]
        raise ValueError(
            f"{values.columns[column]} has no value on {values.index[row]}: rank the problems that all "
            "methods have."
        )
    problems, methods = values.shape
    ranks = rankdata(-values.to_numpy(float).round(DECIMALS), axis=1)
    mean = pd.Series(ranks.mean(axis=0), index=values.columns).sort_values(kind="stable")
    return AverageRanks(mean, problems, _friedman(ranks), critical_difference(methods, problems, level))


def critical_difference(methods: int, problems: int, level: float = LEVEL) -> float:
    """How far two average ranks must lie apart (Nemenyi's test): q sqrt(k (k + 1) / 6 N), q the quantile of
    the studentised range over k methods and infinitely many degrees of freedom, divided by sqrt(2). NaN for
    fewer than two methods or problems."""
    if methods < 2 or problems < 2:
        return math.nan
    quantile = float(studentized_range.ppf(1 - level, methods, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * problems))


def _friedman(ranks: np.ndarray) -> float:
    """The p-value of Iman and Davenport's F statistic, with Friedman's correction for ties."""
    problems, methods = ranks.shape
    if methods < 2 or problems < 2:
        return math.nan
    centred = ranks - (methods + 1) / 2
    spread = float((centred**2).sum())
    if spread == 0:  # all are tied everywhere
        return 1.0
    chi_square = (methods - 1) * float((centred.sum(axis=0) ** 2).sum()) / spread
    rest = problems * (methods - 1) - chi_square
    if rest <= 1e-12:  # the same order on every problem
        return 0.0
    statistic = (problems - 1) * chi_square / rest
    return float(f.sf(statistic, methods - 1, (methods - 1) * (problems - 1)))
