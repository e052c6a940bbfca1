"""From what a bench chose to its tables: methods by held-out environment, against ERM, ranked over data sets.

board = make_board(choices, LeaveOneOut.name)
board.rows["irm"].difference, board.rows["irm"].closed       # against ERM, and of the gap
standings([board, other]).ranks.ranks                        # over all held-out environments
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .gap_closed import gap, share_of_gap_closed
from .ranks import AverageRanks, average_ranks
from .selection import OwnEnvironment
from .verdicts import MARGIN, Interval, Judgement, Verdict, holm, interval, judge

BASELINE = "erm"
OWN = "own environment"  # the row of what is trained on the held-out environment itself
DECIMALS = 9
# One line for each choice: the chosen trial's score and what it is worth, as shares.
COLUMNS = [
    "method",
    "held_out",
    "seed",
    "protocol",
    "oracle",
    "trial",
    "score",
    "accuracy",
    "values",
    "settings",
]


@dataclass(frozen=True)
class Gap:
    """What training on the held-out environments themselves gains over ERM, in points.

    `own`, `baseline`, `gap`: by environment; `mean`: over them, None where one of the two was not trained.
    """

    own: Mapping[str, Interval]
    baseline: Mapping[str, Interval]
    gap: Mapping[str, Interval]
    mean_own: Interval
    mean_baseline: Interval
    mean: Interval

    @property
    def is_there(self) -> bool:
        """Whether the interval of the mean lies above zero."""
        return self.mean.low > 0 if self.mean.n > 1 else self.mean.mean > 0


@dataclass(frozen=True)
class Row:
    """A method on a data set, in percent. `difference`: the mean over environments minus ERM's, paired by
    seed, with its verdict (None for ERM itself); `p_holm`: its p-value among those of the board. `closed`:
    the share of ERM's gap that it closes, None where there is no gap. `rank`: the mean over environments."""

    environments: Mapping[str, Interval]
    mean: Interval
    worst: Interval
    difference: Judgement | None
    p_holm: float
    closed: Interval | None
    rank: float


@dataclass(frozen=True)
class Board:
    """A data set under one selection protocol.

    `rows`: by method, the best mean first. `values`: percent, the mean over seeds, a row for each held-out
    environment, a column for each method. `gap`: None where nothing was trained on the environments
    themselves.
    """

    name: str
    protocol: str
    oracle: bool
    environments: Sequence[str]
    rows: Mapping[str, Row]
    gap: Gap | None
    values: pd.DataFrame

    @property
    def seeds(self) -> int:
        return max(row.mean.n for row in self.rows.values())

    def counted(self) -> dict[Verdict, list[str]]:
        """The methods of each verdict on "the method beats ERM"."""
        found: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
        for method, row in self.rows.items():
            if row.difference is not None and row.difference.verdict is not None:
                found[row.difference.verdict].append(method)
        return found


@dataclass(frozen=True)
class Standings:
    """Several data sets together. `ranks`: over every held-out environment of every data set, a problem each.
    `left_out`: methods that some data set lacks."""

    ranks: AverageRanks
    data_sets: Sequence[str]
    left_out: Sequence[str]


def protocols(choices: pd.DataFrame) -> dict[str, bool]:
    """The selection protocols of the methods, the honest ones first, and whether each is an oracle."""
    methods = choices[choices["method"] != OWN]
    found = dict(zip(methods["protocol"], methods["oracle"].astype(bool), strict=True))
    return dict(sorted(found.items(), key=lambda item: item[1]))


def make_board(choices: pd.DataFrame, protocol: str, name: str = "", margin: float = MARGIN) -> Board | None:
    """The table of one data set under a protocol; None while it has no complete row.

    `choices`: lines of `COLUMNS`. A method counts by the seeds that it has for every held-out environment.
    `margin`: points that do not matter.
    """
    own_lines = choices[choices["method"] == OWN]
    lines = choices[(choices["protocol"] == protocol) & (choices["method"] != OWN)]
    environments = list(dict.fromkeys(lines["held_out"]))
    tables = {
        str(method): table
        for method, group in lines.groupby("method", sort=False)
        if not (table := _by_seed(group, environments)).empty
    }
    if not tables:
        return None
    own = _by_seed(own_lines[own_lines["protocol"] == OwnEnvironment.name], environments)
    baseline = tables.get(BASELINE, pd.DataFrame(columns=environments, dtype=float))
    rows = {method: _row(method, table, baseline, own, margin) for method, table in tables.items()}
    values = pd.DataFrame({method: table.mean() for method, table in tables.items()}).loc[environments]
    ranks = average_ranks(values).ranks
    tests = [row.difference.p_value if row.difference else math.nan for row in rows.values()]
    rows = {
        method: replace(row, rank=float(ranks[method]), p_holm=p)
        for (method, row), p in zip(rows.items(), holm(tests), strict=True)
    }
    return Board(
        name,
        protocol,
        bool(lines["oracle"].astype(bool).any()),
        environments,
        dict(sorted(rows.items(), key=lambda item: -round(item[1].mean.mean, DECIMALS))),
        _gap(own, baseline),
        values,
    )


def standings(boards: Sequence[Board]) -> Standings | None:
    """Ranks over the held-out environments of several data sets, of the methods that all of them have; None
    where there is none."""
    if not boards:
        return None
    everywhere = [
        method for method in boards[0].values if all(method in board.values for board in boards[1:])
    ]
    if not everywhere:
        return None
    anywhere = dict.fromkeys(method for board in boards for method in board.values)
    table = pd.concat(
        {board.name: board.values[everywhere] for board in boards}, names=["data", "environment"]
    )
    left_out = [str(method) for method in anywhere if method not in everywhere]
    return Standings(average_ranks(table), [board.name for board in boards], left_out)


def flipped(one: Board, other: Board) -> list[str]:
    """The methods that beat ERM on one board and lose to it on the other, as when a bench is run again with
    other seeds."""
    decided = {Verdict.HOLDS, Verdict.REVERSED}
    found = []
    for method, row in one.rows.items():
        again = other.rows.get(method)
        if row.difference is None or again is None or again.difference is None:
            continue
        if {row.difference.verdict, again.difference.verdict} == decided:
            found.append(method)
    return found


def _by_seed(lines: pd.DataFrame, environments: Sequence[str]) -> pd.DataFrame:
    """Accuracy in percent: a row for each seed that has all environments, a column for each of them."""
    table = lines.pivot(index="seed", columns="held_out", values="accuracy").reindex(columns=environments)
    return (100 * table).dropna().astype(float)


def _row(method: str, table: pd.DataFrame, baseline: pd.DataFrame, own: pd.DataFrame, margin: float) -> Row:
    shared = table.index.intersection(baseline.index)
    difference = None
    if method != BASELINE and len(shared):
        paired = (table.loc[shared].mean(axis=1) - baseline.loc[shared].mean(axis=1)).round(DECIMALS)
        difference = judge(paired.tolist(), margin)
    closed, common = None, shared.intersection(own.index)
    if len(common):
        parts = (part.loc[common].to_numpy() for part in (table, baseline, own))
        closed = share_of_gap_closed(*parts)
    return Row(
        {str(name): interval(table[name].tolist()) for name in table},
        interval(table.mean(axis=1).tolist()),
        interval(table.min(axis=1).tolist()),
        difference,
        math.nan,
        closed,
        math.nan,
    )


def _gap(own: pd.DataFrame, baseline: pd.DataFrame) -> Gap | None:
    common = own.index.intersection(baseline.index)
    if common.empty:
        return None
    one, other = own.loc[common], baseline.loc[common]
    differences = one - other

    def each(table: pd.DataFrame) -> dict[str, Interval]:
        return {str(name): interval(table[name].tolist()) for name in table}

    return Gap(
        each(one),
        each(other),
        each(differences),
        interval(one.mean(axis=1).tolist()),
        interval(other.mean(axis=1).tolist()),
        gap(np.asarray(one), np.asarray(other)),
    )
