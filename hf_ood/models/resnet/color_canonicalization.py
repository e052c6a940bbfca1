"""Undo the colours of a two-coloured image, without knowing them."""

import torch
from torch import Tensor


def canonicalize_colors(images: Tensor) -> Tensor:
    """Recover the grey image of which every channel is an affine copy.

    If each pixel is `background + grey * (ink - background)`, the colours of an image lie on a line: the
    principal axis of its pixels' colour covariance. Projected on it, the image is the grey one up to sign and
    scale. The sign follows from skewness (ink is the minority of the pixels, so its side has the longer
    tail), the scale from minimum and maximum. The result is exact, and so the same for every pair of
    colours, when (a) there are just two colours and their blends, (b) the grey levels are positively
    skewed, as for strokes on an empty ground, and (c) both extremes are present. It is exact up to the
    rounding of the colours to 8 bits.

    Where that fails: a constant image becomes all zeros; an image with a second background colour is
    projected on its strongest contrast, so the grey depends on the colours again; an image that is mostly
    ink is inverted.

    `images`: float [B, C, H, W] in any unit. Returns float [B, 1, H, W], 0 = background, 1 = ink.
    Differentiable almost everywhere.
    """
    pixels = (images if images.dtype == torch.float64 else images.float()).flatten(2)
    pixels = pixels / pixels.detach().abs().amax((1, 2), keepdim=True).clamp_min(
        torch.finfo(pixels.dtype).tiny
    )
    pixels = pixels - pixels.mean(2, keepdim=True)
    covariance = pixels @ pixels.transpose(1, 2) / pixels.shape[2]
    # The longest column is not orthogonal to the principal axis; squaring the matrix then is power iteration.
    power = covariance
    for _ in range(4):
        power = power / power.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-12)[:, None, None]
        power = power @ power
    longest = power.norm(dim=1).argmax(1)
    axis = power.gather(2, longest[:, None, None].expand(-1, power.shape[1], 1))
    grey = (pixels * axis).sum(1)
    skewness_sign = torch.where(grey.pow(3).sum(1, keepdim=True) < 0, -1.0, 1.0)
    grey = grey * skewness_sign
    low, high = grey.amin(1, keepdim=True), grey.amax(1, keepdim=True)
    constant = covariance.diagonal(dim1=1, dim2=2).sum(1, keepdim=True) < 1e-10
    contrast = torch.where(constant, 1.0, high - low)  # no division by zero, whose gradient would be NaN
    grey = torch.where(constant, 0.0, (grey - low) / contrast)
    return grey.unflatten(1, images.shape[2:])[:, None].to(images.dtype)
