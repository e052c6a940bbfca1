"""Samples become a batch."""

from __future__ import annotations

import torch

from .environment_dataset import Batch

INPUTS = (  # what models of images, vectors, texts and sounds take
    "pixel_values",
    "inputs",
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "input_values",
    "input_features",
)


def images_or_vectors(batch: Batch) -> torch.Tensor | None:
    """[B, C, H, W] or [B, D]; None for texts and sounds."""
    return batch.get("pixel_values", batch.get("inputs"))


def collate(batch: Batch | list[Batch]) -> Batch:
    """What the model and the objective take: its inputs, labels, environment; extras stay behind.

    Images of bytes become floats in 0..1 that lie channels-last in memory, in which convolutions run
    faster."""
    if isinstance(batch, list):
        batch = {name: torch.stack([row[name] for row in batch]) for name in batch[0]}
    taken = {name: batch[name] for name in (*INPUTS, "labels", "environment") if name in batch}
    images = taken.get("pixel_values")
    if images is not None and not images.is_floating_point():
        taken["pixel_values"] = images.to(torch.float32, memory_format=torch.channels_last).mul_(1 / 255)
    return taken
