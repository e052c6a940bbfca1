"""From choices to a board, by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from hf_ood.evaluation.leaderboard import COLUMNS, OWN, flipped, make_board, protocols, standings
from hf_ood.evaluation.selection import OwnEnvironment
from hf_ood.evaluation.verdicts import Verdict

RULE = "training-environment validation"


def choices(accuracies: dict[str, list[list[float]]], oracle: bool = False) -> pd.DataFrame:
    """`accuracies`: by method, percent, a row for each seed, a column for each of A and B."""
    rows = [
        (
            method, held_out, seed,
            OwnEnvironment.name if method == OWN else "oracle" if oracle else RULE,
            oracle and method != OWN, 0, 0.9, value / 100, "{}", "key",
        )
        for method, table in accuracies.items()
        for seed, values in enumerate(table)
        for held_out, value in zip("AB", values, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


ACCURACIES = {
    "erm": [[30.0, 50.0], [31.0, 51.0], [32.0, 52.0]],
    "good": [[40.0, 51.0], [41.1, 52.0], [42.0, 53.0]],
    "bad": [[20.0, 50.0], [21.0, 51.2], [22.0, 52.0]],
    OWN: [[60.0, 60.0], [61.0, 61.0], [62.0, 62.0]],
}


def test_a_board_by_hand() -> None:
    board = make_board(choices(ACCURACIES), RULE, "digits")
    assert (
        board is not None and board.environments == ["A", "B"] and list(board.rows) == ["good", "erm", "bad"]
    )
    good, erm, bad = board.rows.values()
    assert erm.mean.mean == 41 and erm.worst.mean == 31 and erm.environments["B"].mean == 51
    assert erm.difference is None and erm.closed is not None and erm.closed.mean == 0
    assert good.difference is not None and good.difference.verdict is Verdict.HOLDS
    assert good.difference.difference.mean == pytest.approx((5.5 + 5.55 + 5.5) / 3)
    assert bad.difference is not None and bad.difference.verdict is Verdict.REVERSED
    assert board.gap is not None and board.gap.mean.mean == 20 and board.gap.is_there
    assert good.closed is not None and good.closed.mean == pytest.approx((5.5 + 5.55 + 5.5) / 60)
    assert [row.rank for row in board.rows.values()] == [1, 2.5, 2.5]
    assert good.p_holm >= good.difference.p_value
    assert board.counted()[Verdict.HOLDS] == ["good"]


def test_a_seed_that_lacks_an_environment_does_not_count() -> None:
    table = choices(ACCURACIES)
    unfinished = table[~((table["method"] == "good") & (table["seed"] == 2) & (table["held_out"] == "B"))]
    board = make_board(unfinished, RULE)
    assert board is not None and board.rows["good"].mean.n == 2
    assert board.rows["good"].difference is not None and board.rows["good"].difference.difference.n == 2
    nothing = table[table["held_out"] == "A"]
    assert make_board(nothing, "another rule") is None


def test_without_a_reference_there_is_no_gap() -> None:
    board = make_board(choices({"erm": ACCURACIES["erm"], "good": ACCURACIES["good"]}), RULE)
    assert board is not None and board.gap is None and board.rows["good"].closed is None


def test_ranks_over_several_data_sets() -> None:
    first = make_board(choices(ACCURACIES), RULE, "one")
    fewer = {name: values for name, values in ACCURACIES.items() if name != "bad"}
    second = make_board(choices(fewer), RULE, "two")
    assert first is not None and second is not None
    found = standings([first, second])
    assert found is not None and found.left_out == ["bad"] and found.ranks.problems == 4
    assert found.ranks.ranks.to_dict() == {"good": 1.0, "erm": 2.0}
    assert standings([]) is None


def test_the_oracle_comes_last_and_own_is_no_protocol() -> None:
    both = pd.concat([choices(ACCURACIES, oracle=True), choices(ACCURACIES)])
    assert protocols(both) == {RULE: False, "oracle": True}


def test_a_verdict_that_turns_round_is_named() -> None:
    one = make_board(choices(ACCURACIES), RULE)
    turned = {**ACCURACIES, "good": ACCURACIES["bad"], "bad": ACCURACIES["bad"]}
    other = make_board(choices(turned), RULE)
    assert one is not None and other is not None
    assert flipped(one, other) == ["good"] and flipped(one, one) == []
