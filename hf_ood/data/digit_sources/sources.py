"""Digits of three origins as 28 x 28 grey bytes, light on dark: MNIST, optical digits, and fonts."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from ..colored_mnist.digits import load_grey_images
from ..hashed_split import SHARES
from ..packages import NpmPackage

SIZE = 28
INK = 20  # a digit fits in a square of so many pixels, as in MNIST
DIGITS = range(10)
MNIST_ROWS = {"train": 2800, "validation": 400, "test": 800}
ROWS_OF_FONT = 80  # of each digit

_FONTS = pd.read_csv(Path(__file__).parent / "fonts.csv")
FONTS: Mapping[str, NpmPackage] = {
    row.font: NpmPackage(f"@fontsource/{row.font}", row.version, row.sha512) for row in _FONTS.itertuples()
}
FONT_ENVIRONMENTS: Mapping[str, str] = dict(zip(_FONTS.font, _FONTS.environment, strict=True))
ENVIRONMENTS = ["mnist", "optical", *dict.fromkeys(FONT_ENVIRONMENTS.values())]

_FINE = 8  # glyphs are drawn so many times larger, warped there, and made smaller once
_ROTATION, _SHEAR = np.deg2rad(10), 0.15  # the largest, either way
_SCALE, _MOVE = (0.85, 1.05), 1.5  # pixels


@dataclass(frozen=True)
class Digit:
    """One image, uint8 [28, 28]. `source`: `mnist`, `optical`, or the name of a font."""

    image: np.ndarray
    digit: int
    source: str
    environment: str
    split: str


def mnist_digits(seed: int = 0) -> Iterator[Digit]:
    """A sample of the embedded MNIST; its own test images make the split test."""
    source, random = load_grey_images(), np.random.default_rng([seed, 0])
    own_train = random.permutation(source.num_train)
    own_test = random.permutation(np.arange(source.num_train, len(source.classes)))
    start = MNIST_ROWS["train"]
    rows = {
        "train": own_train[:start],
        "validation": own_train[start : start + MNIST_ROWS["validation"]],
        "test": own_test[: MNIST_ROWS["test"]],
    }
    for split, chosen in rows.items():
        for row in chosen:
            yield Digit(source.images[row], int(source.classes[row]), "mnist", "mnist", split)


def optical_digits(seed: int = 0) -> Iterator[Digit]:
    """The 1,797 digits of scikit-learn, 8 x 8 of 17 greys, enlarged to the size of MNIST's."""
    from sklearn.datasets import load_digits

    found = load_digits()
    splits = _splits(len(found.target), np.random.default_rng([seed, 1]))
    for pixels, digit, split in zip(found.images, found.target, splits, strict=True):
        small = Image.fromarray(np.round(pixels * 255 / 16).astype(np.uint8))
        image = np.zeros((SIZE, SIZE), np.uint8)
        edge = (SIZE - INK) // 2
        image[edge:-edge, edge:-edge] = np.asarray(small.resize((INK, INK), Image.Resampling.BILINEAR))
        yield Digit(image, int(digit), "optical", "optical", split)


def font_digits(folder: Path, seed: int = 0) -> Iterator[Digit]:
    """Digits set in the regular style of each font, and mildly warped: turned, slanted, scaled, moved.

    The fonts are read from packages in a folder, fetched where they are not there. Raises as
    `NpmPackage.file` does.
    """
    for number, (font, package) in enumerate(FONTS.items()):
        stored = package.file(folder).read(f"files/{font}-latin-400-normal.woff")
        random = np.random.default_rng([seed, 2, number])
        for digit, glyph in zip(DIGITS, glyphs(stored), strict=True):
            for split in _splits(ROWS_OF_FONT, random):
                yield Digit(warped(glyph, random), digit, font, FONT_ENVIRONMENTS[font], split)


def glyphs(font: bytes) -> list[Image.Image]:
    """The ten digits of a font at one scale, the largest as large as MNIST's, each in the middle."""
    side, drawn = SIZE * _FINE, []
    trial = ImageFont.truetype(io.BytesIO(font), 100)
    boxes = [trial.getbbox(str(digit)) for digit in DIGITS]
    extent = max(max(box[2] - box[0], box[3] - box[1]) for box in boxes)
    face = ImageFont.truetype(io.BytesIO(font), 100 * INK * _FINE / extent)
    for digit in DIGITS:
        left, top, right, bottom = face.getbbox(str(digit))
        image = Image.new("L", (side, side))
        corner = ((side - left - right) / 2, (side - top - bottom) / 2)
        ImageDraw.Draw(image).text(corner, str(digit), fill=255, font=face)
        drawn.append(image)
    return drawn


def warped(glyph: Image.Image, random: np.random.Generator) -> np.ndarray:
    """A glyph as an image, uint8 [28, 28], under a random affine map."""
    angle, shear = random.uniform(-_ROTATION, _ROTATION), random.uniform(-_SHEAR, _SHEAR)
    scale, move = random.uniform(*_SCALE), random.uniform(-_MOVE, _MOVE, 2) * _FINE
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(scale * turn @ np.array([[1, shear], [0, 1]]))
    middle = np.full(2, glyph.width / 2)
    offset = middle - inverse @ (middle + move)
    map_back = (*inverse[0], offset[0], *inverse[1], offset[1])
    large = glyph.transform(glyph.size, Image.Transform.AFFINE, map_back, Image.Resampling.BILINEAR)
    return np.asarray(large.resize((SIZE, SIZE), Image.Resampling.BOX))


def _splits(count: int, random: np.random.Generator) -> list[str]:
    """The split of each of `count` rows, in the shares, at random."""
    names = [split for split, share in SHARES.items() for _ in range(round(share * count))]
    names = (names + ["train"] * count)[:count]
    return [names[row] for row in random.permutation(count)]
