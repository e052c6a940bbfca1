"""The edges of an image, without its colours."""

import torch
import torch.nn.functional as F
from torch import Tensor

CHANNELS = {"magnitude": 1, "tensor": 3}  # of what each form gives


def edge_structure(images: Tensor, form: str = "tensor") -> Tensor:
    """The colour structure tensor of each pixel, scaled so that neither colours nor contrast are left.

    With the gradients of the channels `grad x_c`, the tensor is `J = sum_c grad x_c grad x_c^T` (Di Zenzo
    1986, "A note on the gradient of a multi-image"). In an image of two colours and their blends,
    `background + grey * (ink - background)`, it is `|ink - background|^2 grad grey grad grey^T`: the same for
    every pair of colours up to a factor, and whichever of them is the ink. `J / sqrt(trace J)` grows with the
    contrast as a gradient does, and is divided by the largest `sqrt(trace J)` of the image. On images of many
    colours it is not exact, but means the same: where edges are, how strong, and in which direction, without
    telling dark-to-bright from bright-to-dark.

    `images`: float [B, C, H, W] in any unit. `form`: `tensor` gives [B, 3, H, W], the components xx, yy and
    xy of the scaled tensor; `magnitude` gives [B, 1, H, W], the scaled `sqrt(trace J)`, in 0..1. Gradients
    are Sobel's, with the border replicated. A constant image gives zeros. Differentiable almost everywhere,
    without parameters. Raises `ValueError` for another form.

    Example:
        >>> import torch
        >>> one, other = torch.rand(2, 3, 1, 1, dtype=torch.float64)
        >>> grey = torch.rand(1, 1, 8, 8, dtype=torch.float64)
        >>> image, swapped = one + grey * (other - one), other + grey * (one - other)
        >>> torch.allclose(edge_structure(image), edge_structure(swapped))
        True
    """
    if form not in CHANNELS:
        raise ValueError(f"There is no edge structure {form!r}: choose one of {', '.join(CHANNELS)}.")
    pixels = images if images.dtype == torch.float64 else images.float()
    scale = pixels.detach().abs().amax((1, 2, 3), keepdim=True)
    pixels = pixels / torch.where(scale > 0, scale, 1.0)
    x, y = _sobel(pixels)
    xx, yy, xy = (product.sum(1, keepdim=True) for product in (x * x, y * y, x * y))
    trace = xx + yy
    flat = trace <= (64 * torch.finfo(trace.dtype).eps) ** 2  # what rounding leaves of a constant ground
    magnitude = torch.where(flat, 0.0, torch.where(flat, 1.0, trace).sqrt())  # no gradient of sqrt at 0
    largest = magnitude.amax((2, 3), keepdim=True)
    largest = torch.where(largest > 0, largest, 1.0)
    if form == "magnitude":
        return (magnitude / largest).to(images.dtype)
    divisor = torch.where(flat, 1.0, magnitude) * largest
    tensor = torch.where(flat, 0.0, torch.cat([xx, yy, xy], dim=1) / divisor)
    return tensor.to(images.dtype)


def _sobel(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Horizontal and vertical gradients of every channel, [B, C, H, W] each."""
    channels = pixels.shape[1]
    kernel = pixels.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack([kernel, kernel.T])[:, None].repeat(channels, 1, 1, 1)
    padded = F.pad(pixels, (1, 1, 1, 1), mode="replicate")
    gradients = F.conv2d(padded, kernels, groups=channels).unflatten(1, (channels, 2))
    return gradients[:, :, 0], gradients[:, :, 1]
