"""A fine-tuned network drawn back towards the weights that it started from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ..evaluation.metrics import EnvironmentReport, headline, is_regression, mean_measure, over
from ..methods.averaging import interpolate
from ..models import MODELS
from .spec import RunSpec


def check_line(spec: RunSpec, previous: Path | None, has_validation: bool) -> None:
    """Refuse shares outside 0..1, a start from random weights, and a choice without a validation set."""
    shares = spec.method.interpolate_with_start or []
    for share in shares:
        if not 0 <= share <= 1:
            raise ValueError(f"interpolate_with_start: shares lie in 0..1, {share} does not.")
    from_scratch = spec.network.start_from == "scratch" or (
        spec.network.start_from == "previous" and previous is None
    )
    if shares and spec.network.model in MODELS and from_scratch and not spec.network.pretrained:
        raise ValueError(
            "interpolate_with_start draws a fine-tuned network back towards its start, but this run starts "
            "from random weights: give --start_from a folder with a checkpoint, or make it a stage."
        )
    if len(shares) > 1 and not has_validation:
        raise ValueError("interpolate_with_start: without a validation set, give one share only.")


def interpolate_and_choose(
    model: nn.Module,
    start: nn.Module,
    shares: Sequence[float],
    report: Callable[[str], EnvironmentReport],
) -> list[dict[str, Any]]:
    """Leave `model` at the share of its way from `start` with the highest mean validation accuracy (macro F1,
    where samples have several labels), or the lowest mean squared error of a regression; the first of equals.
    Returns what was measured at every share (accuracies in 0..1), and which was `chosen`. Adapters that are
    merged count as the weights that they are part of: at a share, they count so much.

    `report` measures the model as it is on a split.
    """
    end, line, measured = copy.deepcopy(model), list[dict[str, Any]](), list[float]()
    for share in shares:
        model.load_state_dict(interpolate(start, end, share).state_dict())
        validation, test = report("validation"), report("test")
        ((measure, value),) = mean_measure(test).items()
        chosen_by = mean_measure(validation)[measure] if validation else None
        kind = headline(test)
        worst = {} if is_regression(test) else {f"worst_{kind}": over(test, kind)["worst"]}
        line.append({"share": share, f"validation_{measure}": chosen_by, measure: value, **worst})
        measured.append((chosen_by or 0.0) * (-1 if is_regression(test) else 1))
    best = measured.index(max(measured))
    model.load_state_dict(interpolate(start, end, shares[best]).state_dict())
    return [{**point, "chosen": number == best} for number, point in enumerate(line)]


def selection_on_line(selection: str, line: Sequence[dict[str, Any]]) -> str:
    """The rule that chose the trained weights, and where on the way to them the run ends."""
    (share,) = (point["share"] for point in line if point["chosen"])
    return f"{selection}, then {share:g} of the way to it from the starting weights"
