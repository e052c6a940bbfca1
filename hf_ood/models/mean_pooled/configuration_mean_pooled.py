"""Configuration of a text classifier on the mean over tokens."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class MeanPooledConfig(PreTrainedConfig):
    r"""
    Configuration of [`MeanPooledForSequenceClassification`]. `with_mean_pooling` makes one.

    Args:
        network (`dict`, *optional*): The configuration of the encoder.
        dropout (`float`, *optional*, defaults to 0.0): The share of the mean's entries that is dropped in
            training.
    """

    model_type = "ood_mean_pooled"

    network: dict[str, Any] | None = None
    dropout: float | int = 0.0


__all__ = ["MeanPooledConfig"]
