"""Parameters that take no part in what a network gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers.utils import logging

from ..models.modes import evaluation_mode
from .exact_step import AUXILIARY_LOSS
from .replay import preserved_buffers

logger = logging.get_logger(__name__)


def freeze_unused(model: nn.Module, inputs: Mapping[str, Any]) -> None:
    """Several processes wait for the gradient of every parameter that trains, and some never get one. One
    process freezes the same, so that each can resume what the other began.
    """
    for name, parameter in unused_parameters(model, inputs).items():
        logger.info(f"{name} takes no part in what the network gives: frozen.")
        parameter.requires_grad_(False)


def unused_parameters(model: nn.Module, inputs: Mapping[str, Any]) -> dict[str, nn.Parameter]:
    """Those that train, and on which neither the logits of `inputs` nor the network's own loss depend, by
    name: the mask token of DINOv2, for one.

    A pass in either mode has to be without them, as layers may be dropped at random while training. Leaves
    batch statistics and random states as they were.
    """
    unused = {name: own for name, own in model.named_parameters() if own.requires_grad}
    devices = {own.device for own in unused.values() if own.device.type == "cuda"}
    modes, numbers = evaluation_mode(model), torch.random.fork_rng(devices)
    with modes, numbers, torch.enable_grad(), preserved_buffers(model):
        for mode in (True, False):
            if not unused:
                break
            outputs = model.train(mode)(**inputs)
            given = [outputs.logits, getattr(outputs, AUXILIARY_LOSS, None)]
            total = torch.stack([part.sum() for part in given if part is not None]).sum()
            gradients = torch.autograd.grad(total, list(unused.values()), allow_unused=True)
            unused = {
                name: own
                for (name, own), gradient in zip(unused.items(), gradients, strict=True)
                if gradient is None
            }
    return unused
