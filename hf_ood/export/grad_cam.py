"""Grad-CAM as part of a network's graph, for where there is no automatic differentiation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from ..explain.layers import Places, default_layer, find_layer
from ..models.features import exchange, features_of


class WithGradCam(nn.Module):
    """Images [B, C, H, W] -> logits [B, classes], and Grad-CAM of the predicted class [B, h, w].

    `layer`: the one that is looked at, by name; the maps have its size. Source: Selvaraju et al. 2017,
    equations 1 and 2; `hf_ood.explain.grad_cam` gives the same, resized to the images.
    """

    def __init__(self, network: PreTrainedModel, layer: str):
        super().__init__()
        self.network, self.layer, self.places = network, layer, Places()

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []

        def keep(_: nn.Module, __: object, output: Any) -> Any:
            features = features_of(output)
            seen.append(features.detach().requires_grad_())
            return exchange(output, features, seen[-1])

        hook = find_layer(self.network, self.layer).register_forward_hook(keep)
        try:
            with torch.enable_grad():
                logits = self.network(pixel_values=pixel_values).logits
                (gradient,) = torch.autograd.grad(logits.amax(1).sum(), seen[-1])
        finally:
            hook.remove()
        maps, slopes = self.places(seen[-1].detach()), self.places(gradient)
        return logits.detach(), (maps * slopes.mean((2, 3), keepdim=True)).sum(1).relu()


def with_grad_cam(network: PreTrainedModel, pixel_values: Tensor) -> WithGradCam:
    """The network with Grad-CAM at its last layer that knows places. Raises `ValueError` where none does."""
    return WithGradCam(network, default_layer(network, pixel_values))


def unrolled(network: WithGradCam, pixel_values: Tensor) -> nn.Module:
    """The network with its backward pass written out as operations, which a tracer sees like any other."""
    with sdpa_kernel(SDPBackend.MATH):  # attention as products and a softmax, which ONNX has
        traced = make_fx(network, tracing_mode="symbolic", _allow_non_fake_inputs=True)(pixel_values)
    return traced.eval()


__all__ = ["WithGradCam", "unrolled", "with_grad_cam"]
