"""What a network is shown of an image, so that it cannot lean on the rest."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .color_canonicalization import canonicalize_colors
from .edge_structure import edge_structure

# What a channel of an image in 0..1 has on average in ImageNet.
USUAL_MEAN, USUAL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def grayscale(images: Tensor) -> Tensor:
    """The luma of an image, three times: RGB [B, 3, H, W] -> [B, 3, H, W]."""
    weights = images.new_tensor(LUMA)[:, None, None]
    return (images * weights).sum(1, keepdim=True).expand_as(images)


def standardize(images: Tensor) -> Tensor:
    """Every channel of every image with one mean and deviation, those that are usual in ImageNet.

    [B, 3, H, W] -> [B, 3, H, W]. Exactly the same for every gain and offset of a channel. A channel that is
    constant becomes the mean.
    """
    centred = images - images.mean((2, 3), keepdim=True)
    variance = centred.square().mean((2, 3), keepdim=True)
    largest = images.detach().abs().amax((1, 2, 3), keepdim=True)
    flat = variance <= (64 * torch.finfo(images.dtype).eps * largest) ** 2  # what rounding leaves
    scaled = torch.where(flat, 0.0, centred / torch.where(flat, 1.0, variance).sqrt())
    mean, std = (images.new_tensor(values)[:, None, None] for values in (USUAL_MEAN, USUAL_STD))
    return mean + std * scaled


STEMS: dict[str, Callable[[Tensor], Tensor]] = {
    "structure_tensor": lambda images: edge_structure(images, "tensor"),
    "edges": lambda images: edge_structure(images, "magnitude").expand_as(images),
    "canonical_colors": lambda images: canonicalize_colors(images).expand_as(images),
    "grayscale": grayscale,
    "instance_norm": standardize,
}


class InputStem(nn.Module):
    """Shows a network three channels made of an image: [B, 3, H, W] -> [B, 3, H, W], without parameters,
    differentiable almost everywhere.

    `structure_tensor`: the colour structure tensor, edges without colours and contrast (`edge_structure`);
    `edges`: its strength alone, three times; `canonical_colors`: the grey image that the colours are an
    affine copy of (`canonicalize_colors`), three times; `grayscale`: the luma, three times;
    `instance_norm`: every channel with one mean and deviation.

    Images come as the network's image processor normalises them, `mean` and `std` a channel of an image in
    0..1: the stem undoes that, works on pixels, at least in float32, and normalises what it shows in the same
    way, since that is what the network behind it expects. Raises `ValueError` for another name.
    """

    def __init__(self, name: str, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        if name not in STEMS:
            raise ValueError(f"There is no input stem {name!r}: choose one of {', '.join(STEMS)}.")
        self.name, self.mean, self.std = name, tuple(mean), tuple(std)

    def forward(self, pixel_values: Tensor) -> Tensor:
        with torch.autocast(pixel_values.device.type, enabled=False):
            given = pixel_values if pixel_values.dtype == torch.float64 else pixel_values.float()
            mean, std = (given.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
            shown = STEMS[self.name](given * std + mean)
            return ((shown - mean) / std).to(pixel_values.dtype)

    def extra_repr(self) -> str:
        return self.name


__all__ = ["STEMS", "InputStem"]
