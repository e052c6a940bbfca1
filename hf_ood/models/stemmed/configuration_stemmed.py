"""Configuration of a network behind an input stem."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class StemmedConfig(PreTrainedConfig):
    r"""
    Configuration of [`StemmedForImageClassification`]. `with_input_stem` makes one.

    Args:
        stem (`str`, *optional*, defaults to `"grayscale"`): What the network sees of an image; see
            `InputStem`.
        image_mean (`list[float]`, *optional*, defaults to `[0.0, 0.0, 0.0]`): What the image processor
            subtracts from the channels of an image in 0..1.
        image_std (`list[float]`, *optional*, defaults to `[1.0, 1.0, 1.0]`): What it divides them by then.
        network (`dict`, *optional*): The configuration of the network behind the stem.
    """

    model_type = "ood_stemmed"

    stem: str = "grayscale"
    image_mean: list[float] | tuple[float, ...] = (0.0, 0.0, 0.0)
    image_std: list[float] | tuple[float, ...] = (1.0, 1.0, 1.0)
    network: dict[str, Any] | None = None


__all__ = ["StemmedConfig"]
