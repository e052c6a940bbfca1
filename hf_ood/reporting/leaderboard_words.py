"""What a bench's tables say, in sentences and cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..evaluation.leaderboard import BASELINE, OWN, Board, Row
from ..evaluation.ranks import LEVEL
from ..evaluation.verdicts import Interval, Verdict
from .leaderboards import DataSet, Leaderboard

NOT_TOGETHER = "†"
WORDS = {
    Verdict.HOLDS: "better",
    Verdict.REVERSED: "worse",
    Verdict.NO_DIFFERENCE: "no difference",
    Verdict.INCONCLUSIVE: "inconclusive",
}
NOTHING = ""


def percent(found: Interval) -> str:
    """`61.25 ± 0.31`, or the figure alone of one seed."""
    return f"{found.mean:.2f}" if found.n < 2 else f"{found.mean:.2f} ± {found.half_width:.2f}"


def points(found: Interval) -> str:
    return f"{found.mean:+.2f}" if found.n < 2 else f"{found.mean:+.2f} ± {found.half_width:.2f}"


def share(found: Interval | None) -> str:
    """Of the gap; nothing where there is none."""
    if found is None:
        return NOTHING
    return f"{100 * found.mean:.0f} %" + ("" if found.n < 2 else f" ± {100 * found.half_width:.0f}")


def verdict(row: Row) -> str:
    """The verdict on "the method beats ERM", marked where it does not stand among all of the board."""
    if row.difference is None:
        return NOTHING
    if row.difference.verdict is None:
        return "one seed"
    decided = row.difference.verdict in (Verdict.HOLDS, Verdict.REVERSED)
    mark = NOT_TOGETHER if decided and not row.p_holm <= LEVEL else ""
    return WORDS[row.difference.verdict] + mark


def board_cells(data: DataSet, board: Board) -> dict[str, dict[str, str]]:
    """The table of a data set under a protocol, by method and column; last, what there is to win."""
    cells: dict[str, dict[str, str]] = {}
    for method, row in board.rows.items():
        cells[method] = {
            **{name: percent(found) for name, found in row.environments.items()},
            "mean": percent(row.mean),
            "worst": percent(row.worst),
            "- ERM": points(row.difference.difference) if row.difference else NOTHING,
            "verdict": verdict(row),
            "gap closed": NOTHING if method == BASELINE else share(row.closed),
            "rank": f"{row.rank:.1f}",
            "CPU s": _cost(data, method),
        }
    if board.gap is not None:
        gap = board.gap
        cells[OWN] = {
            **{name: percent(found) for name, found in gap.own.items()},
            "mean": percent(gap.mean_own),
            "worst": NOTHING,
            "- ERM": points(gap.mean),
            "verdict": NOTHING,
            "gap closed": "100 %" if gap.is_there else NOTHING,
            "rank": NOTHING,
            "CPU s": _cost(data, OWN),
        }
    return cells


def gap_cells(data: DataSet) -> dict[str, dict[str, str]]:
    """ERM's gap by environment."""
    gap = data.main.gap
    if gap is None:
        return {}
    cells = {
        name: {
            "trained on itself": percent(gap.own[name]),
            "ERM, held out": percent(gap.baseline[name]),
            "gap": points(found),
        }
        for name, found in gap.gap.items()
    }
    mean = {
        "trained on itself": percent(gap.mean_own),
        "ERM, held out": percent(gap.mean_baseline),
        "gap": points(gap.mean),
    }
    return {**cells, "mean": mean}


def rank_cells(leaderboard: Leaderboard) -> dict[str, dict[str, str]]:
    """Methods by average rank, and what each gains over ERM on every data set."""
    standings = leaderboard.main
    if standings is None:
        return {}
    tied = standings.ranks.tied_with_best()
    cells = {}
    for method, rank in standings.ranks.ranks.items():
        own = {"average rank": f"{rank:.2f}", "told from the best": "no" if method in tied else "yes"}
        for data in leaderboard.data_sets:
            row = data.main.rows[str(method)]
            cell = NOTHING
            if row.difference is not None:
                cell = f"{row.difference.difference.mean:+.2f} {verdict(row)}"
            own[data.name] = cell
        cells[str(method)] = own
    return cells


def headlines(leaderboard: Leaderboard) -> list[str]:
    """What the bench says, a sentence for each data set, then over all."""
    told = [_headline(data) for data in leaderboard.data_sets]
    standings = leaderboard.main
    if standings is not None and len(standings.ranks.ranks) > 1:
        told.append(_overall(leaderboard))
    return told


def _headline(data: DataSet) -> str:
    board, gap = data.main, data.main.gap
    if gap is None:
        begun = "what training on the environments themselves gains is not known."
    elif gap.is_there:
        begun = (
            f"ERM reaches {gap.mean_baseline.mean:.1f} % where it never was, {gap.mean_own.mean:.1f} % when "
            f"trained there: a gap of {points(gap.mean).lstrip('+')} points."
        )
    else:
        begun = f"no gap to close is shown ({points(gap.mean)} points)."
    counted = board.counted()
    compared = sum(map(len, counted.values()))
    if not compared:
        return (
            f"{data.name}: {begun} One seed decides nothing."
            if len(board.rows) > 1
            else f"{data.name}: {begun}"
        )
    parts = [f"{len(counted[one])} {WORDS[one]}" for one in Verdict if counted[one]]
    best = max(
        (method for method, row in board.rows.items() if row.difference is not None),
        key=lambda method: board.rows[method].difference.difference.mean,  # type: ignore[union-attr]
    )
    row = board.rows[best]
    assert row.difference is not None
    closed = f", {share(row.closed)} of the gap" if row.closed is not None else ""
    gains = row.difference.difference.mean > 0
    return (
        f"{data.name}: {begun} Against ERM, of {compared} methods: {', '.join(parts)}. "
        f"{'The largest gain' if gains else 'None gains; the nearest'}: {best}, "
        f"{points(row.difference.difference)} points{closed}."
    )


def _overall(leaderboard: Leaderboard) -> str:
    standings = leaderboard.main
    assert standings is not None
    ranks = standings.ranks
    best, tied = ranks.ranks.index[0], ranks.tied_with_best()
    alike = (
        "" if math.isnan(ranks.p_value) else f" (Friedman's test that all are alike: p = {ranks.p_value:.2g})"
    )
    if len(tied) == len(ranks.ranks):
        return (
            f"Over {ranks.problems} held-out environments no method is told from another by its average rank"
            f"{alike}."
        )
    erm = "ERM among them" if BASELINE in tied else f"ERM, at {ranks.ranks[BASELINE]:.1f}, is not among them"
    others = (
        f"{len(tied) - 1} others are not told from it" if len(tied) > 2 else "one other is not told from it"
    )
    if len(tied) == 1:
        others, erm = "all others are told from it", f"ERM has {ranks.ranks[BASELINE]:.1f}"
    return (
        f"Over {ranks.problems} held-out environments {best} has the best average rank, "
        f"{ranks.ranks.iloc[0]:.1f} of {len(ranks.ranks)}; {others}, {erm}{alike}."
    )


def rank_rule(leaderboard: Leaderboard) -> str:
    standings = leaderboard.main
    if standings is None:
        return ""
    ranks = standings.ranks
    rule = (
        "Average rank over the held-out environments of all data sets, 1 being best, by the mean over seeds. "
        "Two methods are told apart where their average ranks differ by "
        f"{ranks.critical_difference:.2f} or more (Nemenyi's test at 5 % over {ranks.problems} environments, "
        "Demšar 2006). Environments of one data set share most of their training rows, so that the test is "
        "somewhat too sure of itself."
    )
    if standings.left_out:
        rule += f" Not ranked, as some data set lacks them: {', '.join(standings.left_out)}."
    return rule


def left_out(data_sets: Sequence[DataSet]) -> dict[str, dict[str, str]]:
    """The methods that were not trained, and why, by data set and method."""
    return {data.name: dict(data.left_out) for data in data_sets if data.left_out}


def _cost(data: DataSet, method: str) -> str:
    if method not in data.cost.index:
        return NOTHING
    return f"{float(data.cost.loc[method, 'CPU seconds']):,.0f}"
