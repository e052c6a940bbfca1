"""LeNet's configuration."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class LeNetConfig(PreTrainedConfig):
    r"""
    Configuration of [`LeNetForImageClassification`]. The defaults are LeCun et al. 1998 with ReLU, for
    28x28 RGB.

    Args:
        num_channels (`int`, *optional*, defaults to 3): Channels of the input image.
        image_size (`int`, *optional*, defaults to 28): Height and width of the input, in pixels.
        conv_channels (`list[int]`, *optional*, defaults to `[6, 16]`): Channels of the two convolutions.
        hidden_sizes (`list[int]`, *optional*, defaults to `[120, 84]`): Widths of the two hidden layers.
        instance_norm (`bool`, *optional*, defaults to `False`): Normalise every channel of every sample, at
            the input and after each convolution (report, equations 10-12).
        edge_branch (`bool`, *optional*, defaults to `False`): Fuse Sobel edge maps of the input into the
            features (report, equations 13-15).
        color_canonicalization (`bool`, *optional*, defaults to `False`): Replace each image by the grey
            image that its colours are an affine copy of; see `canonicalize_colors`.
        edge_structure (`str`, *optional*, defaults to `"none"`): Replace each image by its edges without
            colours and contrast, `"magnitude"` or `"tensor"`; see `edge_structure`.
    """

    model_type = "ood_lenet"

    num_channels: int = 3
    image_size: int = 28
    conv_channels: list[int] | tuple[int, ...] = (6, 16)
    hidden_sizes: list[int] | tuple[int, ...] = (120, 84)
    instance_norm: bool = False
    edge_branch: bool = False
    color_canonicalization: bool = False
    edge_structure: str = "none"


__all__ = ["LeNetConfig"]
