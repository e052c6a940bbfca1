"""From grey digits to RGB and back: the palette, random colour pairs, and `RandomColor`.

Every coloured pixel is `background + grey * (digit_color - background)`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PALETTE: dict[str, tuple[int, int, int]] = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
}
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow's and torchvision's grayscale


def parse_color_pair(name: str) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """`"red_on_black"` -> its digit and background colour (RGB, 0-255). Raises `ValueError` for other
    names."""
    digit, separator, background = name.partition("_on_")
    if not separator or digit not in PALETTE or background not in PALETTE:
        raise ValueError(
            f"{name!r} is not a colour pair. Write <digit>_on_<background> with two of {', '.join(PALETTE)}."
        )
    return PALETTE[digit], PALETTE[background]


def colorize(grey: Tensor, digit_color: Tensor, background_color: Tensor) -> Tensor:
    """Paint grey images.

    `grey`: float [B, H, W] in 0..1 (1 = ink). `digit_color`, `background_color`: float [B, 3], in any unit.
    Returns float [B, 3, H, W] in the colours' unit.
    """
    background = background_color[:, :, None, None]
    return torch.addcmul(background, grey[:, None], digit_color[:, :, None, None] - background)


def uncolorize(images: Tensor, digit_color: Tensor, background_color: Tensor) -> Tensor:
    """The inverse of `colorize` for known colours: [B, 3, H, W] -> grey [B, H, W], clamped to 0..1."""
    direction = digit_color - background_color
    centred = images - background_color[:, :, None, None]
    squared_norm = direction.square().sum(1).clamp_min(torch.finfo(images.dtype).tiny)
    projection = torch.einsum("bchw,bc->bhw", centred, direction) / squared_norm[:, None, None]
    return projection.clamp(0, 1)


def draw_color_pairs(
    count: int, min_distance: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Uniform random colours for `count` digits and backgrounds; pairs closer than `min_distance` are
    redrawn.

    `min_distance`: Euclidean distance in RGB, 0-255 per channel (the largest possible is 441.7; below 360 the
    redraw ends quickly). Returns two uint8 tensors [count, 3]. Source: report, section 3.
    """
    if not 0 <= min_distance < 360:
        raise ValueError(f"The minimum colour distance must lie in 0..360, not {min_distance}.")
    pairs = torch.randint(0, 256, (count, 2, 3), generator=generator)
    while True:
        distance = (pairs[:, 0] - pairs[:, 1]).float().norm(dim=1)
        too_close = (distance < min_distance).nonzero().squeeze(1)
        if len(too_close) == 0:
            return pairs[:, 0].to(torch.uint8), pairs[:, 1].to(torch.uint8)
        pairs[too_close] = torch.randint(0, 256, (len(too_close), 2, 3), generator=generator)


class RandomColor(nn.Module):
    """Give every image of a batch its own random digit and background colour (report, section 3).

    `min_color_distance`: pairs closer than this are redrawn (RGB units of 0-255).
    """

    def __init__(self, min_color_distance: float = 100.0):
        super().__init__()
        self.min_color_distance = min_color_distance

    def forward(
        self,
        images: Tensor,
        digit_color: Tensor | None = None,
        background_color: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """`images`: float in 0..1, grey [B, H, W] or [B, 1, H, W], or already coloured [B, 3, H, W].

        Coloured images are first turned back to grey, for which their colours (uint8 [B, 3]) must be given;
        without colours all three channels have to be equal. Returns float [B, 3, H, W] in 0..1.
        """
        if digit_color is not None and background_color is not None:
            grey = uncolorize(images, digit_color.to(images) / 255, background_color.to(images) / 255)
        elif images.dim() == 3:
            grey = images
        elif images.shape[1] == 1 or torch.equal(images, images[:, :1].expand_as(images)):
            grey = images[:, 0]
        else:
            raise ValueError(
                "RandomColor repaints grey images, or coloured ones whose colours are known: give "
                "digit_color and background_color (dataset columns of these names), or use another "
                "augmentation."
            )
        digit, background = draw_color_pairs(len(grey), self.min_color_distance, generator)
        return colorize(grey, digit.to(grey) / 255, background.to(grey) / 255)
