"""What a bench's page shows: data sets with their boards, and the methods over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ..evaluation.leaderboard import Board, Standings
from ..evaluation.selection import OwnEnvironment


@dataclass(frozen=True)
class DataSet:
    """A data set of a bench: its boards, by protocol, the honest ones first.

    `environments`: with their training rows. `left_out`: methods that cannot be trained here, and why.
    `own_rows`: which rows those that are trained on an environment itself are tested on. `cost`: by
    method. `spaces`: where hyper-parameters were looked for. `table`: the file of its choices, as the page
    links to it.
    """

    name: str
    title: str
    note: str
    environments: Mapping[str, int]
    trials: int
    seeds: Sequence[int]
    left_out: Mapping[str, str]
    own_rows: str
    boards: Mapping[str, Board]
    cost: pd.DataFrame
    spaces: pd.DataFrame
    commit: str = ""
    table: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    budget: str = ""

    @property
    def heading(self) -> str:
        """Its name, and what it is where its recipe says so."""
        return f"{self.name}: {self.title}" if self.title else self.name

    @property
    def main(self) -> Board:
        """The board that is shown first: of the last honest protocol, which asks the most of the data."""
        honest = [board for board in self.boards.values() if not board.oracle]
        return (honest or list(self.boards.values()))[-1]


@dataclass(frozen=True)
class Leaderboard:
    """All data sets of a bench. `standings`: by protocol, over those that have it."""

    data_sets: Sequence[DataSet]
    standings: Mapping[str, Standings]

    @property
    def is_quick(self) -> bool:
        """Whether none of its data sets had a larger budget."""
        return all(data.budget == "quick" for data in self.data_sets)

    @property
    def main(self) -> Standings | None:
        """Over the boards that are shown first."""
        return self.standings.get(MAIN)

    def methods(self) -> list[str]:
        """The best average rank first; those that are not on all data sets last."""
        ranked = [str(name) for name in self.main.ranks.ranks.index] if self.main else []
        others = [name for each in self.data_sets for name in each.main.rows]
        return list(dict.fromkeys([*ranked, *others]))


MAIN = "shown first"
REFERENCE_RULE = (
    "The row *own environment* is ERM trained on the held-out environment's own training rows and tested on "
    f"its own test rows ({OwnEnvironment.name} chooses); the gap is what it gains over ERM that never saw "
    "the environment, and the share of the gap closed is (method - ERM) / (own environment - ERM), means "
    "over environments and seeds."
)
