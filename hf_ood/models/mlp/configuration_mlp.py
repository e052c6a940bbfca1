"""Configuration of the IRM paper's network."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class MLPConfig(PreTrainedConfig):
    r"""
    Configuration of [`MLPForImageClassification`]. Defaults: Arjovsky et al. 2019, arXiv:1907.02893,
    Colored MNIST.

    Args:
        num_channels (`int`, *optional*, defaults to 2): How many of the image's first channels are used.
            The paper's images have red and green only; set 3 for images in which blue matters.
        image_size (`int`, *optional*, defaults to 28): Height and width of the input, in pixels.
        stride (`int`, *optional*, defaults to 2): Every which pixel is kept, in both directions.
        hidden_size (`int`, *optional*, defaults to 390): Width of the hidden layers.
        num_hidden_layers (`int`, *optional*, defaults to 2): How many hidden layers there are, at least 1.
        grayscale (`bool`, *optional*, defaults to `False`): Add the channels up, so that colour cannot be
            seen: the paper's oracle.
        single_logit (`bool`, *optional*, defaults to `False`): One row of weights for two classes, as the
            paper: logits are 0 and its output. Two rows are the same function, but a step of Adam moves their
            difference twice as far, and L2 counts both.
        num_features (`int`, *optional*): How many numbers an input holds, where inputs are vectors and not
            images; the fields of images mean nothing then.
    """

    model_type = "ood_mlp"

    num_channels: int = 2
    image_size: int = 28
    stride: int = 2
    hidden_size: int = 390
    num_hidden_layers: int = 2
    grayscale: bool = False
    single_logit: bool = False
    num_features: int | None = None


__all__ = ["MLPConfig"]
