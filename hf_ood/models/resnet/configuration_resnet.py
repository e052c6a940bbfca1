"""Configuration of the small-image ResNet."""

from huggingface_hub.dataclasses import strict
from transformers import ResNetConfig


@strict
class SmallResNetConfig(ResNetConfig):
    r"""
    Configuration of [`SmallResNetForImageClassification`]. The defaults are ResNet-18 for 28x28 RGB; what is
    not listed here is as in `transformers.ResNetConfig`.

    Args:
        embedding_size (`int`, *optional*, defaults to 64): Channels of the stem.
        hidden_sizes (`list[int]`, *optional*, defaults to `[64, 128, 256, 512]`): Channels of each stage.
        depths (`list[int]`, *optional*, defaults to `[2, 2, 2, 2]`): Residual blocks of each stage.
        stem_stride (`int`, *optional*, defaults to 1): Stride of the 3x3 stem. With 1, 28x28 ends as a
            4x4 map; with 2 as 2x2, at a quarter of the cost.
        instance_norm (`bool`, *optional*, defaults to `False`): Normalise every channel of every input
            image to mean 0 and variance 1 (report, equations 10-11, at the input).
        color_canonicalization (`bool`, *optional*, defaults to `False`): Replace each image by the grey
            image that its colours are an affine copy of; see `canonicalize_colors`.
        edge_structure (`str`, *optional*, defaults to `"none"`): Replace each image by its edges without
            colours and contrast, `"magnitude"` or `"tensor"`; see `edge_structure`.
        normalization (`str`, *optional*, defaults to `"batch"`): Of feature maps. `"batch"`: batch
            normalisation, evaluated with the running statistics of the training. `"test_batch"`: trained
            as that, evaluated with the statistics of the very batch, so that an image's prediction depends
            on the images beside it. `"group"`: each image by itself, in 32 groups of channels (Wu & He
            2018).
    """

    model_type = "ood_resnet"

    embedding_size: int = 64
    hidden_sizes: list[int] | tuple[int, ...] = (64, 128, 256, 512)
    depths: list[int] | tuple[int, ...] = (2, 2, 2, 2)
    layer_type: str = "basic"
    stem_stride: int = 1
    instance_norm: bool = False
    color_canonicalization: bool = False
    edge_structure: str = "none"
    normalization: str = "batch"


__all__ = ["SmallResNetConfig"]
