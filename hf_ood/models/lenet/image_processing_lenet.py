"""From any image to LeNet's input: RGB, 28x28, 0..1."""

from transformers.image_processing_backends import PilBackend
from transformers.image_utils import PILImageResampling


class LeNetImageProcessor(PilBackend):
    """Convert to RGB, resize to 28x28 (bilinear), divide by 255; output `pixel_values` float [B, 3, 28,
    28]."""

    size = {"height": 28, "width": 28}  # noqa: RUF012 (the base class reads it from the class)
    resample = PILImageResampling.BILINEAR
    do_convert_rgb = True
    do_resize = True
    do_rescale = True
    do_normalize = False


__all__ = ["LeNetImageProcessor"]
