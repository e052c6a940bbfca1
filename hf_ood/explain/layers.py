"""Where a model still knows places: the layer that Grad-CAM looks at."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..data.configurations import unknown_name


def grid_size(output: object) -> int | None:
    """Side of the square grid that a sequence [B, n, D] or [B, 1 + n, D] (class token first) stands for."""
    if not isinstance(output, Tensor) or output.dim() != 3:
        return None
    for tokens in (output.shape[1], output.shape[1] - 1):
        if tokens > 1 and math.isqrt(tokens) ** 2 == tokens:
            return math.isqrt(tokens)
    return None


class Places(nn.Module):
    """What stands for places, as a map: [B, D, h, w] as it is, [B, n or 1 + n, D] -> [B, D, h, h]."""

    def forward(self, output: Tensor) -> Tensor:
        size = grid_size(output)
        if size:
            return output[:, -(size**2) :].transpose(1, 2).unflatten(2, (size, size))
        if isinstance(output, Tensor) and output.dim() == 4:
            return output
        found = f"shape {list(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"The layer gives {found}, which has no places: name a `layer` whose output is a map "
            "[B, D, h, w], or tokens [B, n, D] or [B, 1 + n, D] with a square n."
        )


def show_places(layer: nn.Module, places: Places) -> RemovableHandle:
    """Lead the layer's output through `places` on its way on, where hooks can watch it as a map."""

    def detour(_: nn.Module, __: object, output: Tensor) -> Tensor:
        as_map = places(output)
        if output.dim() == 4:
            return as_map
        tokens = as_map.flatten(2).transpose(1, 2)
        return torch.cat([output[:, : -tokens.shape[1]], tokens], dim=1)

    return layer.register_forward_hook(detour)


def default_layer(model: nn.Module, pixel_values: Tensor) -> str:
    """Name of the last convolution, or normalisation of tokens, whose places the prediction depends on.

    Convolutions count with a map [B, C, H, W] of several cells (report: the last convolution). Of a vision
    transformer's token sequences [B, n or 1 + n, D], n a square, normalisations count. Those after the last
    mixing of tokens are passed over when only the class token is read: the logits do not depend on their
    other tokens. `pixel_values`: float [B, C, H, W], as the model takes them.

    Raises `ValueError` when no layer has places.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, output: object) -> None:
        is_map = isinstance(module, nn.Conv2d) and isinstance(output, Tensor) and output[0, 0].numel() > 1
        is_grid = "Norm" in type(module).__name__ and grid_size(output) is not None
        if is_map or is_grid:
            assert isinstance(output, Tensor)
            outputs.pop(name, None)  # a layer that runs twice counts with its last time
            outputs[name] = output

    hooks = [
        module.register_forward_hook(lambda module, _, output, name=name: keep(name, module, output))
        for name, module in model.named_modules()
    ]
    try:
        with torch.enable_grad():
            images = pixel_values.detach().requires_grad_()
            confidence = model(pixel_values=images).logits.amax(1).sum()
    finally:
        for hook in hooks:
            hook.remove()
    if not outputs:
        raise ValueError(
            f"{type(model).__name__} has no convolution that gives a map and no normalisation of tokens "
            "[B, n, D] or [B, 1 + n, D] with a square n: name a `layer` with such an output."
        )
    gradients = torch.autograd.grad(confidence, list(outputs.values()), allow_unused=True)
    for name, gradient in reversed(list(zip(outputs, gradients, strict=True))):
        if gradient is not None and Places()(gradient).count_nonzero():
            return name
    return list(outputs)[-1]  # a dead network depends on nothing: its attributions are zero everywhere


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The module of this name. Raises `ValueError` with the nearest one."""
    modules = dict(model.named_modules())
    if name not in modules:
        raise ValueError(unknown_name("layer", name, [known for known in modules if known]))
    return modules[name]
