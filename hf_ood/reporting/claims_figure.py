"""All claims in one picture: differences with their intervals, the margin, a colour for each verdict."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from ..evaluation.verdicts import Verdict
from ..names import plot_text
from .summaries import ERRORS, Judged

# Okabe & Ito: told apart by the colour-blind too.
VERDICT_COLORS = {
    Verdict.HOLDS: "#009E73",
    Verdict.REVERSED: "#D55E00",
    Verdict.NO_DIFFERENCE: "#0072B2",
    Verdict.INCONCLUSIVE: "#888888",
}
LINEAR = 2.0  # points on either side of zero; beyond, the axis is logarithmic
WIDEST = 52  # characters of a claim's line
TICKS = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)


def draw_claims(claims: Sequence[Judged]) -> Figure:
    """A line a claim, in the page's order; squared errors, of another unit, in a panel of their own. Filled:
    the difference stands with Holm's correction."""
    points = [each for each in claims if each.claim.measure not in ERRORS]
    errors = [each for each in claims if each.claim.measure in ERRORS]
    panels = [(part, unit) for part, unit in ((points, "points"), (errors, "squared error")) if part]
    sizes = [len(part) + 2.5 for part, _ in panels] or [1]
    figure = Figure(figsize=(9.6, 0.21 * sum(sizes) + 0.9), layout="constrained")
    axes = figure.subplots(max(len(panels), 1), 1, squeeze=False, height_ratios=sizes)[:, 0]
    for panel, (part, unit) in zip(axes, panels, strict=False):
        _draw(panel, part)
        panel.set_xlabel(f"A - B ({unit}; logarithmic beyond ±{LINEAR:g})", fontsize=8)
    shown = [verdict for verdict in Verdict if any(each.claim.verdict is verdict for each in claims)]
    handles = [Line2D([], [], color=VERDICT_COLORS[v], marker="o", label=str(v)) for v in shown]
    open_marker = Line2D(
        [], [], color="#444444", marker="o", fillstyle="none", linestyle="", label="open: not with Holm"
    )
    if handles:
        figure.legend(handles=[*handles, open_marker], loc="outside upper center", ncols=5, fontsize=8)
    return figure


def _draw(axes: Axes, claims: Sequence[Judged]) -> None:
    for position, each in enumerate(claims):
        claim, found = each.claim, each.claim.difference
        if claim.margin is not None:
            axes.fill_betweenx(
                [position - 0.5, position + 0.5], -claim.margin, claim.margin, color="#e4e4e4", linewidth=0
            )
        axes.errorbar(
            found.mean,
            position,
            xerr=found.half_width if found.n > 1 else None,
            fmt="o",
            markersize=4.5,
            capsize=2,
            fillstyle="full" if each.survives else "none",
            color=VERDICT_COLORS[claim.verdict] if claim.verdict else "#bbbbbb",
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=0.8)
    low, high = axes.get_xbound()
    axes.set_xticks([tick for tick in TICKS if low <= tick <= high])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(claims)), [_label(each.claim.text) for each in claims], fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(len(claims) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)


def _label(text: str) -> str:
    """A claim in lines, of which none is cut."""
    return "\n".join(plot_text(line) for line in wrap(text, WIDEST))
