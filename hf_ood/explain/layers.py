"""Where a model still knows places: the layer that Grad-CAM looks at."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import unknown_name
from ..models.feature_layer import find_feature_layer, trace
from ..models.features import exchange, features_of

# Tokens before an image's: none, class, class and distillation, class and four registers.
EXTRA_TOKENS = (0, 1, 2, 5)


def grid_size(output: object) -> int | None:
    """Side of the square grid that a sequence [B, n, D] stands for, or [B, 1 + n, D] with a class token
    first, or with one of the other numbers of `EXTRA_TOKENS`."""
    if not isinstance(output, Tensor) or output.dim() != 3:
        return None
    for extra in EXTRA_TOKENS:
        tokens = output.shape[1] - extra
        if tokens > 1 and math.isqrt(tokens) ** 2 == tokens:
            return math.isqrt(tokens)
    return None


class Places(nn.Module):
    """What stands for places, as a map: [B, D, h, w] as it is, tokens [B, n, D] -> [B, D, h, h]."""

    def forward(self, output: Tensor) -> Tensor:
        size = grid_size(output)
        if size:
            return output[:, -(size**2) :].transpose(1, 2).unflatten(2, (size, size))
        if output.dim() == 4:
            return output
        raise ValueError(
            f"The layer gives shape {list(output.shape)}, which has no places: name a `layer` whose output "
            "is a map [B, D, h, w], or tokens [B, n, D] or [B, 1 + n, D] with a square n."
        )


def show_places(layer: nn.Module, places: Places) -> RemovableHandle:
    """Lead the layer's features through `places` on their way on, where hooks can watch them as a map."""

    def detour(_: nn.Module, __: object, output: Any) -> Any:
        features = features_of(output)
        as_map = places(features)
        if features.dim() == 4:
            return exchange(output, features, as_map)
        tokens = as_map.flatten(2).transpose(1, 2)
        return exchange(output, features, torch.cat([features[:, : -tokens.shape[1]], tokens], dim=1))

    return layer.register_forward_hook(detour)


def default_layer(model: nn.Module, pixel_values: Tensor) -> str:
    """Name of the last layer whose places the whole prediction depends on.

    A convolutional network's last convolution (as in the report) where everything goes through it; otherwise,
    as in residual networks and transformers, what `find_feature_layer` finds. `pixel_values`: float
    [B, C, H, W], as the model takes them. Raises `ValueError` when there is no such layer.
    """
    inputs = {"pixel_values": pixel_values}
    seen = trace(model, inputs)
    for call in reversed([call for call in seen.calls if call.node in seen.dependent]):
        if grid_size(call.features):
            break  # the places have become tokens
        if isinstance(model.get_submodule(call.name), nn.Conv2d) and call.features[0, 0].numel() > 1:
            if seen.is_cut(call):
                return call.name
            break
    return find_feature_layer(model, inputs).name


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The module of this name. Raises `ValueError` with the nearest one."""
    modules = dict(model.named_modules())
    if name not in modules:
        raise ValueError(unknown_name("layer", name, [known for known in modules if known]))
    return modules[name]
