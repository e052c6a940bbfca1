"""Colored MNIST: real digits, coloured by six configurations of diversity and correlation shift."""

from .builder import (
    DEFAULT_CONFIGURATION,
    ColoredMNIST,
    colored_mnist_tensors,
    features,
    load_colored_mnist,
)
from .card import colored_mnist_text
from .coloring import PALETTE, RandomColor, colorize, uncolorize
from .configurations import CONFIGURATIONS, OPTIONS, SPLITS, ColoredMNISTConfig
from .dataset_folder import write_colored_mnist
from .digits import CorruptDataError, load_grey_images

__all__ = [
    "CONFIGURATIONS",
    "DEFAULT_CONFIGURATION",
    "OPTIONS",
    "PALETTE",
    "SPLITS",
    "ColoredMNIST",
    "ColoredMNISTConfig",
    "CorruptDataError",
    "RandomColor",
    "colored_mnist_tensors",
    "colored_mnist_text",
    "colorize",
    "features",
    "load_colored_mnist",
    "load_grey_images",
    "uncolorize",
    "write_colored_mnist",
]
