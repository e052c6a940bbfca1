"""Grad-CAM, by captum."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.modes import evaluation_mode
from .layers import Places, default_layer, find_layer, show_places


def grad_cam(
    model: nn.Module, pixel_values: Tensor, targets: Tensor | None = None, layer: str | None = None
) -> Tensor:
    """How much each place speaks for a class: ReLU of the feature maps' sum, weighted by mean gradients.

    `model`: called as `model(pixel_values=...)`, returns an output with `logits`; it is evaluated in eval
    mode and left as it was. `pixel_values`: float [B, C, H, W]. `targets`: int64 [B], the class of each
    image; the predicted one by default. `layer`: name of a submodule whose output is a map [B, D, h, w] or
    tokens [B, n or 1 + n, D] with a square n (or other `EXTRA_TOKENS`); see `default_layer` for the default.

    Returns [B, H, W], non-negative, resized bilinearly. Source: Selvaraju et al. 2017, equations 1 and 2.
    Raises `ImportError` without captum, `ValueError` for a layer without places.
    """
    try:
        from captum.attr import LayerGradCam
    except ImportError as error:
        raise ImportError('Grad-CAM needs captum: pip install "hf_ood[explain]"') from error
    images = pixel_values.detach().requires_grad_()
    places = Places()
    hook = show_places(find_layer(model, layer or default_layer(model, pixel_values[:8])), places)
    try:
        with evaluation_mode(model):
            if targets is None:
                with torch.no_grad():
                    targets = model(pixel_values=images).logits.argmax(1)
            with torch.enable_grad():
                maps = LayerGradCam(lambda inputs: model(pixel_values=inputs).logits, places).attribute(
                    images, target=targets, relu_attributions=True
                )
    finally:
        hook.remove()
    return F.interpolate(maps.detach(), size=pixel_values.shape[2:], mode="bilinear", align_corners=False)[
        :, 0
    ]
