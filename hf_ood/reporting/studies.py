"""Studies as one page: tables, figures, verdicts; HTML with everything inside it, and Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from matplotlib.figure import Figure

from .curves import COLORS
from .statistics import RULE, Interval, Verdict

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class TableRow:
    """An arm: an interval for each measure that it has (percent), and the report's own figures."""

    arm: str
    measures: Mapping[str, Interval]
    report: Mapping[str, float]


@dataclass(frozen=True)
class ClaimRow:
    """`better` beats `than`: the paired difference over seeds, and the verdict."""

    text: str
    better: str
    than: str
    measure: str
    difference: Interval
    verdict: Verdict


@dataclass(frozen=True)
class Curve:
    """An arm's accuracy (percent) after each epoch."""

    arm: str
    epochs: Sequence[float]
    values: Sequence[Interval]


@dataclass(frozen=True)
class StudySummary:
    """All that the page shows of a study."""

    name: str
    title: str
    note: str
    measures: Sequence[str]
    rows: Sequence[TableRow]
    claims: Sequence[ClaimRow]
    curves: Sequence[Curve]


@dataclass(frozen=True)
class Illustration:
    """A picture that no run is needed for."""

    name: str
    title: str
    figure: Figure


def draw_study(summary: StudySummary) -> Figure:
    """Points with 95 % intervals, one panel a measure, the report's figure as a diamond; curves below."""
    panels = len(summary.measures) + bool(summary.curves)
    height = 1.2 + 0.34 * len(summary.rows)
    figure = Figure(figsize=(4.6 * panels, max(height, 3.2)), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    positions = range(len(summary.rows))
    for panel, measure in zip(axes, summary.measures, strict=False):
        for position, row in zip(positions, summary.rows, strict=True):
            found = row.measures.get(measure)
            if found is None:
                continue
            color = COLORS[position % len(COLORS)]
            error = found.half_width if found.n > 1 else 0
            panel.errorbar(found.mean, position, xerr=error, fmt="o", color=color, capsize=3)
            if measure in row.report:
                panel.plot(
                    row.report[measure], position, "D", color="none", markeredgecolor="black", markersize=7
                )
        panel.set_yticks(list(positions), [row.arm for row in summary.rows])
        panel.set_ylim(len(summary.rows) - 0.5, -0.5)
        panel.set_xlabel(f"{measure.replace('_', ' ')} (%)")
        panel.grid(axis="x", alpha=0.3)
    if summary.curves:
        for position, curve in enumerate(summary.curves):
            color = COLORS[position % len(COLORS)]
            means = [value.mean for value in curve.values]
            axes[-1].plot(curve.epochs, means, marker="o", markersize=3, color=color, label=curve.arm)
        axes[-1].set(xlabel="epoch", ylabel="accuracy (%)")
        axes[-1].grid(alpha=0.3)
        axes[-1].legend(fontsize=7)
    return figure


def write_page(
    summaries: Sequence[StudySummary], illustrations: Sequence[Illustration], folder: Path, budget: str
) -> Path:
    """Write `report.html` (self-contained) and `report.md` (tables); returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    context = {"summaries": summaries, "illustrations": illustrations, "budget": budget, "rule": RULE}
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    images = {summary.name: _inline(draw_study(summary)) for summary in summaries}
    images |= {picture.name: _inline(picture.figure) for picture in illustrations}
    page = folder / "report.html"
    page.write_text(environment.get_template("studies.html").render(**context, images=images))
    (folder / "report.md").write_text(environment.get_template("studies.md").render(**context))
    return page


def _inline(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
