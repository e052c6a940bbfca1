"""The pictures of an evaluation: confusion matrices and reliability diagrams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..evaluation import confusion_matrices, environment_report
from ..evaluation.metrics import EnvironmentReport, log_softmax
from ..evaluation.modules.environment_report.environment_measures import calibration_bins
from .confusion_figure import CONFUSION_FILE, draw_confusion
from .panels import TOGETHER, chosen_panels
from .reliability import RELIABILITY_FILE, draw_reliability


def draw_evaluation(
    logits: np.ndarray,
    references: np.ndarray,
    environments: np.ndarray,
    environment_names: Sequence[str],
    report: EnvironmentReport,
    class_names: Mapping[int, str],
    folder: Path,
) -> None:
    """Write `confusion.png`, over the classes that occur, and `reliability.png`, a panel for each
    environment; of many, one for all together and some from the worst to the best (`chosen_panels`).

    `logits` [N, C]; `references`, `environments` int [N]; `report`: of the same samples.
    """
    headings = chosen_panels(report)
    panel_of = np.full(len(environment_names), -1)
    panel_of[[environment_names.index(name) for name in headings]] = np.arange(len(headings))
    panel = panel_of[environments]
    rows = np.flatnonzero(panel >= 0)
    panel, panels = panel[rows], list(headings)
    if len(headings) < len(report):
        everything = np.arange(len(logits))
        rows, panel = np.concatenate([everything, rows]), np.concatenate([0 * everything, panel + 1])
        together = environment_report(logits, references, 0 * environments, [TOGETHER])
        report, panels = {**together, **report}, [TOGETHER, *panels]
    predictions = logits.argmax(1)
    classes, position = np.unique(np.concatenate([predictions, references]), return_inverse=True)
    predicted, true = np.split(position, 2)
    matrices = confusion_matrices(predicted[rows], true[rows], panel, len(panels), len(classes))
    labels = [class_names[number] for number in classes.tolist()]
    figure = draw_confusion(dict(zip(panels, matrices, strict=True)), labels, report, headings)
    figure.savefig(folder / CONFUSION_FILE, dpi=120, bbox_inches="tight")
    confidences = np.exp(log_softmax(logits).max(1))[rows]
    count, right, confident = calibration_bins(
        confidences, (predictions == references)[rows], panel, len(panels)
    )
    bins = {name: (count[i], right[i], confident[i]) for i, name in enumerate(panels)}
    draw_reliability(bins, report, headings).savefig(folder / RELIABILITY_FILE, dpi=120, bbox_inches="tight")
