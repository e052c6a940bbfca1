"""One small panel for each environment."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation.metrics import EnvironmentReport
from ..names import plot_text
from .many_environments import standing_at

COLUMNS = 4
MOST_PANELS = 12  # beyond it a picture is too large to look at
TOGETHER = "all environments together"


def chosen_panels(report: EnvironmentReport, most: int = MOST_PANELS) -> dict[str, str]:
    """The environments that get a panel, with its heading: all, or in place of more than `most` those that
    stand at the quantiles of accuracy, from the worst to the best."""
    if len(report) <= most:
        return {name: name for name in report}
    return {name: f"{name} ({place} of {len(report):,})" for name, place in standing_at(report).items()}


def columns_of(count: int) -> int:
    """Panels side by side: at most `COLUMNS`, and rows of about one length."""
    return math.ceil(count / math.ceil(count / COLUMNS))


def panels(count: int, size: float = 3.0, text: float = 0.6) -> tuple[Figure, list[Axes]]:
    """A figure with `count` square panels of `size` inches, and `text` inches between rows."""
    columns = columns_of(count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(size * columns + 0.6, (size + text) * rows + 0.5), layout="compressed")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[count:]:
        axes.remove()
    return figure, grid[:count]


def panel_title(heading: str, entry: Mapping[str, float]) -> str:
    return f"{plot_text(heading)}\n{entry['accuracy']:.1%} of {entry['count']:,}"
