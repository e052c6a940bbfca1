"""How much of what a model looks at is the digit, in each environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data import EnvironmentDataset, collate, uncolorize
from ..models.modes import evaluation_mode
from .grad_cam import grad_cam
from .layers import default_layer


@dataclass(frozen=True)
class Attributions:
    """`rows`: positions in the dataset, int64 [N]; `predictions` int64 [N]; `maps` [N, H, W] of the predicted
    class; `layer`: the one that they look at."""

    rows: Tensor
    predictions: Tensor
    maps: Tensor
    layer: str


def digit_mask(batch: Mapping[str, Tensor]) -> Tensor:
    """Where the ink is: bool [B, H, W], ink > 0.5 of the image freed of its colours.

    `batch`: `pixel_values` [B, 3, H, W] (uint8, or float in 0..1) with `digit_color` and `background_color`
    (uint8 [B, 3]). Raises `ValueError` when a colour is missing.
    """
    missing = {"digit_color", "background_color"} - set(batch)
    if missing:
        raise ValueError(
            f"Without the column(s) {', '.join(sorted(missing))} the digit cannot be told from its "
            "background: attribution is measured on Colored MNIST."
        )
    images = batch["pixel_values"]
    images = images if images.is_floating_point() else images.float() / 255
    return (
        uncolorize(images, *(batch[name].to(images) / 255 for name in ("digit_color", "background_color")))
        > 0.5
    )


def digit_share(attributions: Tensor, masks: Tensor) -> Tensor:
    """Share of each attribution [B, H, W] (non-negative) that lies on its mask: [B] in 0..1, NaN where all
    is zero."""
    return (attributions * masks).sum((1, 2)) / attributions.sum((1, 2))


def attribute(
    model: nn.Module,
    dataset: EnvironmentDataset,
    samples_per_environment: int = 500,
    batch_size: int = 250,
    layer: str | None = None,
) -> Attributions:
    """Predictions and Grad-CAM maps of the first samples of each environment, in the dataset's order."""
    ids = [(dataset.environments == number).nonzero()[:, 0] for number in dataset.environments.unique()]
    rows = torch.cat([members[:samples_per_environment] for members in ids]).sort().values
    device = next(model.parameters()).device
    predictions, maps = [], []
    with evaluation_mode(model):
        for part in rows.split(batch_size):
            images = collate(dataset.__getitems__(part))["pixel_values"].to(device)
            layer = layer or default_layer(model, images[:8])
            with torch.no_grad():
                predictions.append(model(pixel_values=images).logits.argmax(1))
            maps.append(grad_cam(model, images, predictions[-1], layer))
    return Attributions(rows, torch.cat(predictions).cpu(), torch.cat(maps).cpu(), str(layer))


def summarize(dataset: EnvironmentDataset, attributions: Attributions) -> dict[str, dict[str, float | None]]:
    """Means over each environment, as in `attribution_report`; None where the images are no coloured
    digits."""
    rows = dataset.select(attributions.rows)
    seen = rows.inputs(range(len(rows)))
    if {"digit_color", "background_color"} <= set(seen):
        masks = digit_mask(seen)
        shares, areas = digit_share(attributions.maps, masks), masks.float().mean((1, 2))
    else:
        shares = areas = torch.full((len(rows),), float("nan"))
    right = attributions.predictions == rows.labels
    report = {}
    for name in rows.environment_counts():
        here = rows.environments == rows.environment_names.index(name)
        report[name] = {
            "digit_share": _mean(shares[here]),
            "digit_area": _mean(areas[here]),
            "digit_share_right": _mean(shares[here & right]),
            "digit_share_wrong": _mean(shares[here & ~right]),
            "count": int(here.sum()),
        }
    return report


def attribution_report(
    model: nn.Module,
    dataset: EnvironmentDataset,
    samples_per_environment: int = 500,
    batch_size: int = 250,
    layer: str | None = None,
) -> dict[str, dict[str, float | None]]:
    """Of each environment: the mean `digit_share` of the attributions, of right and of wrong predictions
    (`digit_share_right`, `digit_share_wrong`), the share that an even map would have (`digit_area`), and how
    many samples were taken (`count`). A mean over nothing is None.
    """
    return summarize(dataset, attribute(model, dataset, samples_per_environment, batch_size, layer))


def _mean(values: Tensor) -> float | None:
    mean = values.nanmean().item()
    return None if mean != mean else mean
