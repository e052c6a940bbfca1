"""From digits to batches that know their environment."""

from .augmentation import AUGMENTATIONS, BatchAugmentation, RandomErasing, RandomGrayscale, RandomResizedCrop
from .colored_mnist import ColoredMNIST, ColoredMNISTConfig, colored_mnist_tensors, load_colored_mnist
from .coloring import PALETTE, RandomColor, colorize, uncolorize
from .dataset_card import CardText
from .environment_column import add_environments
from .environments import EnvironmentDataset, EnvironmentSampler, as_environment_dataset, collate
from .linear_unit_tests import LinearUnitTestConfig, linear_unit_test_tensors
from .mnist import CorruptDataError, load_grey_images
from .publish import publish_dataset

__all__ = [
    "AUGMENTATIONS",
    "PALETTE",
    "BatchAugmentation",
    "CardText",
    "ColoredMNIST",
    "ColoredMNISTConfig",
    "CorruptDataError",
    "EnvironmentDataset",
    "EnvironmentSampler",
    "LinearUnitTestConfig",
    "RandomColor",
    "RandomErasing",
    "RandomGrayscale",
    "RandomResizedCrop",
    "add_environments",
    "as_environment_dataset",
    "collate",
    "colored_mnist_tensors",
    "colorize",
    "linear_unit_test_tensors",
    "load_colored_mnist",
    "load_grey_images",
    "publish_dataset",
    "uncolorize",
]
