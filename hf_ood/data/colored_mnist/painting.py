"""What each image of a split will be, decided before any pixel is painted; and the painting."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import augmentation  # the module: it imports `coloring`, and so may be the one that imports this
from . import coloring
from .configurations import ColoredMNISTConfig, painters
from .digits import GreyImages

CHUNK = 1000  # images painted at a time; part of what a random_transforms image is


@dataclass(frozen=True)
class Plan:
    """What each image of a split will be, before any pixel is painted. All arrays have N rows."""

    source_index: np.ndarray  # int32: position in the source, training images first
    digit: np.ndarray  # int64
    label: np.ndarray  # int64
    environment: np.ndarray  # int64: position in `environment_names`
    digit_color: np.ndarray  # uint8 [N, 3]
    background_color: np.ndarray  # uint8 [N, 3]

    def __len__(self) -> int:
        return len(self.label)


def plan_split(config: ColoredMNISTConfig, split: str, source: GreyImages) -> Plan:
    """Choose images, labels, environments and colours of one split.

    Each choice has a random stream of its own, so that an option changes only what it is about.
    """

    def stream(purpose: str) -> np.random.Generator:
        return np.random.default_rng([config.seed, zlib.crc32(purpose.encode())])

    environments = painters(config, split)
    index = _choose_images(config, split, source, stream("order"))
    if config.label_rule == "zero_vs_one":
        index = index[source.classes[index] <= 1]
    share = np.arange(len(index)) % len(environments)
    if config.replicate:
        index, share = np.tile(index, len(environments)), np.repeat(np.arange(len(environments)), len(index))

    digit = source.classes[index]
    label = _label(config.label_rule, digit)
    if config.name == "label_noise_shortcut":
        label = label ^ (stream(f"{split} label noise").random(len(label)) < config.label_flip)

    colors = np.zeros((2, len(index), 3), dtype=np.uint8)
    for position, painter in enumerate(environments):
        rows = np.flatnonzero(share == position)
        colors[:, rows] = painter.colors(label[rows], stream(f"{split} {position} colors"))
    names = config.environment_names
    environment = np.asarray([names.index(painter.environment) for painter in environments])[share]
    return Plan(index.astype(np.int32), digit, label.astype(np.int64), environment, *colors)


def _choose_images(
    config: ColoredMNISTConfig, split: str, source: GreyImages, rng: np.random.Generator
) -> np.ndarray:
    train, test = np.arange(source.num_train), np.arange(source.num_train, len(source.classes))
    if config.name == "label_noise_shortcut":  # Arjovsky et al. 2019: first 50,000 train, last 10,000 test
        boundary = source.num_train * 5 // 6
        return {"train": rng.permutation(train[:boundary]), "validation": test, "test": train[boundary:]}[
            split
        ]
    order = rng.permutation(train)
    held_out = round(config.validation_fraction * len(train))
    return {"train": order[held_out:], "validation": order[:held_out], "test": test}[split]


def _label(rule: str, digit: np.ndarray) -> np.ndarray:
    match rule:
        case "at_least_five":
            return (digit >= 5).astype(np.int64)
        case "below_five":
            return (digit < 5).astype(np.int64)
        case "parity":
            return digit % 2
    return digit  # zero_vs_one, ten


def paint(plan: Plan, config: ColoredMNISTConfig, split: str, source: GreyImages) -> Iterator[Tensor]:
    """The images of a plan in order, as uint8 tensors [up to 1000, 3, H, W]; 28x28 unless `stride` is set."""
    transform = (
        augmentation.RandomGeometry() if config.name == "random_transforms" and split != "test" else None
    )
    for start in range(0, len(plan), CHUNK):
        rows = slice(start, start + CHUNK)
        kept = source.images[plan.source_index[rows], :: config.stride, :: config.stride]
        grey = torch.from_numpy(kept).float() / 255
        digit = torch.from_numpy(plan.digit_color[rows]).float()
        background = torch.from_numpy(plan.background_color[rows]).float()
        images = coloring.colorize(grey, digit, background)
        if transform is not None:
            seed = zlib.crc32(f"{config.seed} {split} {start}".encode())
            images = transform(images, torch.Generator().manual_seed(seed))
        yield images.round_().to(torch.uint8)
