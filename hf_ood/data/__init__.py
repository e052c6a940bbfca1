"""From digits to batches that know their environment."""

from .augmentation import AUGMENTATIONS, BatchAugmentation, RandomErasing, RandomGrayscale, RandomResizedCrop
from .colored_mnist import ColoredMNIST, ColoredMNISTConfig, colored_mnist_tensors, load_colored_mnist
from .coloring import PALETTE, RandomColor, colorize, uncolorize
from .environments import EnvironmentDataset, EnvironmentSampler, as_environment_dataset, collate
from .mnist import CorruptDataError, load_grey_images

__all__ = [
    "AUGMENTATIONS",
    "PALETTE",
    "BatchAugmentation",
    "ColoredMNIST",
    "ColoredMNISTConfig",
    "CorruptDataError",
    "EnvironmentDataset",
    "EnvironmentSampler",
    "RandomColor",
    "RandomErasing",
    "RandomGrayscale",
    "RandomResizedCrop",
    "as_environment_dataset",
    "collate",
    "colored_mnist_tensors",
    "colorize",
    "load_colored_mnist",
    "load_grey_images",
    "uncolorize",
]
