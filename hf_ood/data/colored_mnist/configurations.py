"""The configurations of Colored MNIST: their options, and how each environment chooses its colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import BuilderConfig, Version

from ...errors import unknown_name
from ...options import option
from . import coloring
from .digits import EMBEDDED

SPLITS = ("train", "validation", "test")
VERSION = Version("1.0.0")
CONFIGURATIONS: dict[str, str] = {
    "fixed_colors": "Diversity shift: red, green, white on black -> yellow, blue on white.",
    "random_colors": "Every training image in its own random colours; tested as fixed_colors.",
    "random_transforms": "random_colors + grayscale, resized crop, erasing; tested as fixed_colors.",
    "unseen_colors": "Diversity shift: red, green, white on black -> random colour pairs.",
    "background_shortcut": "Correlation shift: the background tells the label, reversed in the test.",
    "label_noise_shortcut": "Correlation shift: Colored MNIST of Arjovsky et al. 2019.",
}
LABEL_NAMES: dict[str, list[str]] = {
    "at_least_five": ["0-4", "5-9"],
    "below_five": ["5-9", "0-4"],
    "parity": ["even", "odd"],
    "zero_vs_one": ["0", "1"],
    "ten": [str(digit) for digit in range(10)],
}


@dataclass
class ColoredMNISTConfig(BuilderConfig):
    """Options of a Colored MNIST configuration. The data are a pure function of these and of the source.

    Colours are the names of `coloring.PALETTE` (RGB: black 0 0 0, white 255 255 255, red 255 0 0, green 0
    255 0, blue 0 0 255, yellow 255 255 0); a pair is written `<digit>_on_<background>`. Train and validation
    images come from the source's training images, test images from its test images;
    `label_noise_shortcut` differs as the paper's code does (first 5/6 of the training images train, the
    rest test; test images validate).
    """

    seed: int = option(0, "Seed of every random choice: order, colours, label noise, transforms.")
    source: str = option(EMBEDDED, "'embedded' MNIST, a Hub dataset id, or a local folder.")
    label_rule: str = option(
        "", f"One of {', '.join(LABEL_NAMES)}. Default: at_least_five; below_five in label_noise_shortcut."
    )
    replicate: bool = option(
        False, "Every environment gets every image (in its own colours), instead of an equal share of them."
    )
    validation_fraction: float = option(
        0.1, "Share of the training images that is held out, in the training environments' colours."
    )
    min_color_distance: float = option(
        100.0, "Random digit and background colours closer than this (Euclidean, 0-255 RGB) are redrawn."
    )
    train_pairs: list[str] = option(
        ["red_on_black", "green_on_black", "white_on_black"],
        "Training environments of fixed_colors and unseen_colors.",
    )
    test_pairs: list[str] = option(
        ["yellow_on_white", "blue_on_white"],
        "Test environments of fixed_colors, random_colors and random_transforms.",
    )
    correlations: list[float] = option(
        [0.95], "background_shortcut: P(black | label 1) of each training environment."
    )
    color_flips: list[float] = option(
        [0.2, 0.1], "label_noise_shortcut: P(colour != label) of each training environment."
    )
    test_color_flip: float = option(0.9, "label_noise_shortcut: P(colour != label) of the test environment.")
    label_flip: float = option(0.25, "label_noise_shortcut: P(label != digit rule), in all environments.")
    stride: int = option(
        1, "Keep one pixel in this many, in both directions (2 in Arjovsky et al. 2019: 14x14)."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name not in CONFIGURATIONS:
            raise ValueError(unknown_name("configuration", self.name, list(CONFIGURATIONS)))
        if not self.label_rule:
            self.label_rule = "below_five" if self.name == "label_noise_shortcut" else "at_least_five"
        if self.label_rule not in LABEL_NAMES:
            raise ValueError(f"label_rule {self.label_rule!r} is not one of {', '.join(LABEL_NAMES)}.")
        if self.name in ("background_shortcut", "label_noise_shortcut") and self.label_rule == "ten":
            raise ValueError(
                f"{self.name} ties one of two colours to one of two labels: label_rule 'ten' has ten."
            )
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must lie in 0..1, not {self.validation_fraction}.")
        for probability in (*self.correlations, *self.color_flips, self.test_color_flip, self.label_flip):
            if not 0 <= probability <= 1:
                raise ValueError(f"{probability} is not a probability.")
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1, not {self.stride}.")
        for pair in (*self.train_pairs, *self.test_pairs):
            coloring.parse_color_pair(pair)

    @property
    def label_names(self) -> list[str]:
        return LABEL_NAMES[self.label_rule]

    @property
    def environment_names(self) -> list[str]:
        """One list for all splits and configurations; environments of non-default options come after it."""
        own = [painter.environment for split in SPLITS for painter in painters(self, split)]
        return list(dict.fromkeys([*ENVIRONMENT_NAMES, *own]))


@dataclass(frozen=True)
class Painter:
    """How one environment chooses colours. `colors(labels, rng)` gives two uint8 arrays [N, 3]."""

    environment: str

    def colors(self, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        digit, background = coloring.parse_color_pair(self.environment)
        return _repeat(digit, len(labels)), _repeat(background, len(labels))


@dataclass(frozen=True)
class _RandomPairs(Painter):
    min_distance: float
    grayscale: float = 0.0  # probability

    def colors(self, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        digit, background = (
            color.numpy() for color in coloring.draw_color_pairs(len(labels), self.min_distance, generator)
        )
        grey = rng.random(len(labels)) < self.grayscale
        return tuple(np.where(grey[:, None], _luma(color), color) for color in (digit, background))  # type: ignore


@dataclass(frozen=True)
class _BackgroundShortcut(Painter):
    """Blue digits; the background is black with probability `p_black` if the label is 1, white if it is 0."""

    p_black: float

    def colors(self, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        follows = rng.random(len(labels)) < self.p_black
        black = follows == (labels == 1)
        background = np.where(black[:, None], coloring.PALETTE["black"], coloring.PALETTE["white"])
        return _repeat(coloring.PALETTE["blue"], len(labels)), background.astype(np.uint8)


@dataclass(frozen=True)
class _DigitShortcut(Painter):
    """Digits on black, green if the label is 1 and red if it is 0, the other way with probability `flip`."""

    flip: float

    def colors(self, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        green = (labels == 1) ^ (rng.random(len(labels)) < self.flip)
        digit = np.where(green[:, None], coloring.PALETTE["green"], coloring.PALETTE["red"])
        return digit.astype(np.uint8), _repeat(coloring.PALETTE["black"], len(labels))


def _repeat(color: tuple[int, int, int], count: int) -> np.ndarray:
    return np.tile(np.asarray(color, dtype=np.uint8), (count, 1))


def _luma(colors: np.ndarray) -> np.ndarray:
    """Grayscale commutes with colouring, so recolouring with the lumas is graying the image."""
    luma = np.rint(colors @ np.asarray(coloring.LUMA)).astype(np.uint8)
    return np.repeat(luma[:, None], 3, axis=1)


def painters(config: ColoredMNISTConfig, split: str) -> list[Painter]:
    """The environments of a split: what the table in docs/colored_mnist.md says, as code."""
    pairs = config.test_pairs if split == "test" else config.train_pairs
    fixed: list[Painter] = [Painter(pair) for pair in pairs]
    random_pairs = _RandomPairs("random_colors", config.min_color_distance)
    transformed = _RandomPairs("random_transforms", config.min_color_distance, grayscale=0.1)
    match config.name, split:
        case "fixed_colors", _:
            return fixed
        case "random_colors", _:
            return fixed if split == "test" else [random_pairs]
        case "random_transforms", _:
            return fixed if split == "test" else [transformed]
        case "unseen_colors", _:
            return [random_pairs] if split == "test" else fixed
        case "background_shortcut", "test":
            return [_BackgroundShortcut("reversed", 0.0)]
        case "background_shortcut", _:
            return [_BackgroundShortcut(f"shortcut_{p:g}", p) for p in config.correlations]
        case "label_noise_shortcut", "test":
            return [_DigitShortcut(f"color_flip_{config.test_color_flip:g}", config.test_color_flip)]
        case "label_noise_shortcut", _:
            return [_DigitShortcut(f"color_flip_{flip:g}", flip) for flip in config.color_flips]
    raise ValueError(unknown_name("configuration", config.name, list(CONFIGURATIONS)))


def make_config(name: str, **options: Any) -> ColoredMNISTConfig:
    """A configuration by name. Raises `ValueError` with the nearest match for an unknown name or option."""
    for name_given in options:
        if name_given not in OPTIONS:
            raise ValueError(unknown_name("option", name_given, OPTIONS))
    return ColoredMNISTConfig(name=name, version=VERSION, description=CONFIGURATIONS.get(name), **options)


OPTIONS = [
    name for name in ColoredMNISTConfig.__dataclass_fields__ if name not in BuilderConfig.__dataclass_fields__
]
ENVIRONMENT_NAMES: list[str] = list(
    dict.fromkeys(
        painter.environment
        for config in (
            *(make_config(name) for name in CONFIGURATIONS),
            make_config("background_shortcut", correlations=[0.95, 0.8]),
        )
        for split in SPLITS
        for painter in painters(config, split)
    )
)
