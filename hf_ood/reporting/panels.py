"""One small panel for each environment."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation.metrics import EnvironmentReport

COLUMNS = 4
MOST_PANELS = 40  # beyond it a picture is too large to look at


def chosen_environments(report: EnvironmentReport) -> list[str]:
    """All environments, or those of the lowest accuracy when there are too many for a picture."""
    if len(report) <= MOST_PANELS:
        return list(report)
    return sorted(report, key=lambda name: report[name]["accuracy"])[:MOST_PANELS]


def panels(count: int, size: float = 3.0, text: float = 0.6) -> tuple[Figure, list[Axes]]:
    """A figure with `count` square panels of `size` inches, four in a row, and `text` inches between
    rows."""
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(size * columns, (size + text) * rows + 0.3), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[count:]:
        axes.remove()
    return figure, grid[:count]


def panel_title(name: str, entry: dict[str, float]) -> str:
    return f"{name}\n{entry['accuracy']:.1%} of {entry['count']:,}"
