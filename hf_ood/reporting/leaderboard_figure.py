"""A bench in two pictures: points over ERM by method and data set, and average ranks."""

from __future__ import annotations

import math
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ..evaluation.leaderboard import BASELINE, Row
from ..evaluation.ranks import LEVEL
from ..evaluation.verdicts import Verdict
from ..names import plot_text
from .claims_figure import VERDICT_COLORS
from .leaderboards import DataSet, Leaderboard

FADED = {  # paper for black figures: told apart by the colour-blind, and by their signs
    Verdict.HOLDS: "#8fd6bd",
    Verdict.REVERSED: "#f3b48a",
    Verdict.INCONCLUSIVE: "#eeeeee",
}
TO_WIN = "#bcd9ee"
WIDEST = 16  # characters of a data set's name in a line
LABELS = 2.2  # inches


def draw_leaderboard(leaderboard: Leaderboard) -> Figure:
    """A row for each method, the best average rank first, a column for each data set: points over ERM, green
    where they are gained beyond doubt, orange where they are lost (with Holm's correction over the methods).
    Above them what there is to win."""
    methods = [name for name in leaderboard.methods() if name != BASELINE]
    data_sets = leaderboard.data_sets
    rows = len(methods) + 1
    figure = Figure(figsize=(LABELS + 1.75 * len(data_sets) + 0.4, 0.33 * rows + 2.3), layout="constrained")
    axes = figure.subplots()
    for column, data in enumerate(data_sets):
        gap = data.main.gap
        if gap is not None:
            _cell(axes, column, 0, _signed(gap.mean.mean), TO_WIN if gap.is_there else "#ffffff", bold=True)
        for position, method in enumerate(methods, start=1):
            if method in data.main.rows:
                text, color, bold = _shown(data.main.rows[method])
                _cell(axes, column, position, text, color, bold)
    axes.set_xlim(-0.5, len(data_sets) - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xticks(
        range(len(data_sets)), [_heading(data, not leaderboard.is_quick) for data in data_sets], fontsize=10
    )
    axes.xaxis.tick_top()
    labels = ["trained there itself", *map(plot_text, methods)]
    axes.set_yticks(range(rows), labels, fontsize=10)
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.axhline(0.5, color="black", linewidth=1.2)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.suptitle("Points over ERM in environments never seen", fontsize=13, fontweight="bold")
    handles = [
        Patch(color=TO_WIN, label="there to win"),
        Patch(color=FADED[Verdict.HOLDS], label="better than ERM"),
        Patch(color=FADED[Verdict.REVERSED], label="worse"),
        Patch(color=FADED[Verdict.INCONCLUSIVE], label="not told from ERM"),
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2 if len(data_sets) < 3 else 4, fontsize=9
    )
    return figure


def _heading(data: DataSet, with_budget: bool) -> str:
    lines = wrap(plot_text(data.name).replace("_", " "), WIDEST)
    if with_budget:
        lines.append(f"(budget {data.budget})")
    if data.main.gap is not None:
        lines.append(f"ERM {data.main.gap.mean_baseline.mean:.1f} %")
    return "\n".join(lines)


def _shown(row: Row) -> tuple[str, str, bool]:
    assert row.difference is not None
    found = row.difference
    text = _signed(found.difference.mean)
    if found.verdict is None:  # one seed
        return text, "#ffffff", False
    decided = found.verdict in (Verdict.HOLDS, Verdict.REVERSED) and row.p_holm <= LEVEL
    return text, FADED[found.verdict if decided else Verdict.INCONCLUSIVE], decided


def _signed(points: float) -> str:
    return f"{round(points, 1) + 0.0:+.1f}"  # no -0.0


def _cell(axes: Axes, column: int, row: int, text: str, color: str, bold: bool = False) -> None:
    axes.add_patch(Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, facecolor=color, edgecolor="none"))
    weight = "bold" if bold else "normal"
    axes.text(column, row, text, ha="center", va="center", fontsize=10, fontweight=weight)


def draw_ranks(leaderboard: Leaderboard) -> Figure:
    """Average ranks, best on top; grey: what is not told from the best (the critical difference)."""
    standings = leaderboard.main
    assert standings is not None
    ranks, names = standings.ranks.ranks, [str(name) for name in standings.ranks.ranks.index]
    figure = Figure(figsize=(8, 0.27 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    best, width = float(ranks.iloc[0]), standings.ranks.critical_difference
    if not math.isnan(width):
        axes.axvspan(
            best, best + width, color="#e4e4e4", zorder=0, label="not told from the best (Nemenyi, 5 %)"
        )
        axes.legend(loc="lower left", fontsize=9)
    for position, name in enumerate(names):
        color = "black" if name == BASELINE else VERDICT_COLORS[Verdict.NO_DIFFERENCE]
        axes.plot(float(ranks[name]), position, "o", color=color, markersize=7)
        axes.annotate(
            f"{float(ranks[name]):.1f}", (float(ranks[name]), position), xytext=(7, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), list(map(plot_text, names)), fontsize=9)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if name == BASELINE else "normal")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(
        f"average rank over {standings.ranks.problems} held-out environments (1: best)", fontsize=9
    )
    axes.grid(axis="both", alpha=0.25)
    return figure
