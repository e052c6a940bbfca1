"""From any image to EfficientNet-Lite's input: RGB, 224x224, about -1..1."""

from transformers.image_processing_backends import PilBackend
from transformers.image_utils import PILImageResampling


class EfficientNetLiteImageProcessor(PilBackend):
    """Convert to RGB, resize to 224x224 (bicubic), subtract 127 and divide by 128, as the weights of ImageNet
    expect; output `pixel_values` float [B, 3, 224, 224].

    The whole image is resized: their training and evaluation cut a part out of the middle.
    """

    size = {"height": 224, "width": 224}  # noqa: RUF012 (the base class reads these from the class)
    resample = PILImageResampling.BICUBIC
    do_convert_rgb = True
    do_resize = True
    do_rescale = True
    do_normalize = True
    image_mean = [127 / 255] * 3
    image_std = [128 / 255] * 3


__all__ = ["EfficientNetLiteImageProcessor"]
