"""Any image classifier behind an input stem."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from .stemmed import StemmedConfig, StemmedForImageClassification
from .stemmed.modeling_stemmed import described


def with_input_stem(
    model: PreTrainedModel, stem: str, processor: Any = None
) -> StemmedForImageClassification:
    """The model, itself, behind a stem that shows it three channels made of each image; see `InputStem`.

    `processor`: the image processor that the model expects; None: images in 0..1. Raises `ValueError` for an
    unknown stem, for a model that does not take three channels or brings code that is not of this package,
    and for a processor that does more to colours than to normalise each channel.

    Example:
        >>> from hf_ood import LeNetConfig, LeNetForImageClassification
        >>> model = with_input_stem(LeNetForImageClassification(LeNetConfig()), "edges")
        >>> model(torch.rand(2, 3, 28, 28)).logits.shape
        torch.Size([2, 2])
    """
    name = type(model).__name__
    if isinstance(model, StemmedForImageClassification):
        raise ValueError(f"The model is behind the input stem {model.config.stem} already: leave one out.")
    if model.main_input_name != "pixel_values":
        raise ValueError(
            f"An input stem changes images, and {name} takes {model.main_input_name}: leave it out."
        )
    if (channels := getattr(model.config, "num_channels", 3)) != 3:
        raise ValueError(f"An input stem shows three channels, and {name} takes {channels}: leave it out.")
    if type(model).__module__.startswith("transformers_modules."):
        raise ValueError(
            f"An input stem goes with networks of transformers and of hf_ood, and {name} brings code of its "
            "own: leave it out."
        )
    mean, std = ([0.0] * 3, [1.0] * 3) if processor is None else normalization(processor)
    own = model.config
    config = StemmedConfig(
        stem=stem,
        image_mean=mean,
        image_std=std,
        network=described(own),
        id2label=own.id2label,
        label2id=own.label2id,
        problem_type=own.problem_type,
    )
    return StemmedForImageClassification(config, model)


def without_stem(model: PreTrainedModel) -> PreTrainedModel:
    """The network behind an input stem; a model without one, itself."""
    return model.network if isinstance(model, StemmedForImageClassification) else model


def normalization(processor: Any) -> tuple[list[float], list[float]]:
    """What an image processor subtracts from each channel of an image in 0..1, and divides it by then, as it
    does to images of one colour. Raises `ValueError` where that is not all that it does."""
    black, white, other = (
        _middle(processor, color) for color in ((0, 0, 0), (255, 255, 255), (51, 102, 204))
    )
    slope = white - black
    expected = black + slope * torch.tensor([0.2, 0.4, 0.8], dtype=torch.float64)
    if not slope.all() or not torch.allclose(other, expected, atol=1e-3 * float(slope.abs().max())):
        raise ValueError(
            f"{type(processor).__name__} does more to colours than to normalise each channel, which an input "
            "stem cannot undo: leave it out."
        )
    return (-black / slope).tolist(), (1 / slope).tolist()


def _middle(processor: Any, color: tuple[int, int, int]) -> Tensor:
    """What the processor makes of a colour, float64 [3]."""
    image = Image.new("RGB", (64, 64), color)
    pixels = processor(images=image, return_tensors="pt")["pixel_values"]
    if pixels.dim() != 4 or pixels.shape[1] != 3:
        raise ValueError(
            f"{type(processor).__name__} gives pixels of the shape {list(pixels.shape)}, and an input stem "
            "takes [B, 3, H, W]: leave it out."
        )
    return pixels[0, :, pixels.shape[2] // 2, pixels.shape[3] // 2].double()


__all__ = ["normalization", "with_input_stem", "without_stem"]
