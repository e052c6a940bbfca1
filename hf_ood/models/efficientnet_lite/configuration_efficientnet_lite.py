"""EfficientNet-Lite's configuration."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class EfficientNetLiteConfig(PreTrainedConfig):
    r"""
    Configuration of [`EfficientNetLiteForImageClassification`]. The defaults are EfficientNet-Lite0.

    Args:
        image_size (`int`, *optional*, defaults to 224): Height and width that images are resized to, in
            pixels. ImageNet's weights were trained at 224; smaller images take less time, in proportion to
            their area, and say less.
        stem_channels (`int`, *optional*, defaults to 32): Channels of the first convolution.
        channels (`list[int]`, *optional*, defaults to `[16, 24, 40, 80, 112, 192, 320]`): Channels of each of
            the seven stages.
        depths (`list[int]`, *optional*, defaults to `[1, 2, 2, 3, 3, 4, 1]`): Blocks of each stage.
        head_channels (`int`, *optional*, defaults to 1280): Channels of the last convolution: how many
            features the linear layer sees.
        dropout (`float`, *optional*, defaults to 0.2): Share of the features that training leaves out before
            the linear layer.
    """

    model_type = "ood_efficientnet_lite"

    image_size: int = 224
    stem_channels: int = 32
    channels: list[int] | tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    depths: list[int] | tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    head_channels: int = 1280
    dropout: float = 0.2


__all__ = ["EfficientNetLiteConfig"]
