"""Configuration of the linear model."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class LinearConfig(PreTrainedConfig):
    r"""
    Configuration of [`LinearForImageClassification`].

    Args:
        num_features (`int`, *optional*, defaults to 2352): How many numbers an input holds; an image of 28x28
            pixels has 3 * 28 * 28.
    """

    model_type = "ood_linear"

    num_features: int = 3 * 28 * 28


__all__ = ["LinearConfig"]
