"""From digits to batches that know their environment."""

from .augmentation import AUGMENTATIONS, BatchAugmentation, RandomErasing, RandomGrayscale, RandomResizedCrop
from .collate import collate
from .colored_mnist import ColoredMNIST, ColoredMNISTConfig, colored_mnist_tensors, load_colored_mnist
from .coloring import PALETTE, RandomColor, colorize, uncolorize
from .dataset_card import CardText
from .environment_column import add_environments
from .environment_dataset import EnvironmentDataset, as_environment_dataset
from .linear_unit_tests import LinearUnitTestConfig, linear_unit_test_tensors
from .loading import Columns, environment_datasets, read_dataset
from .mapped_dataset import ArrowEnvironmentDataset
from .mnist import CorruptDataError, load_grey_images
from .processors import load_processor
from .publish import publish_dataset
from .rows import EnvironmentRows
from .sampler import EnvironmentSampler
from .splits import Protocol

__all__ = [
    "AUGMENTATIONS",
    "PALETTE",
    "ArrowEnvironmentDataset",
    "BatchAugmentation",
    "CardText",
    "ColoredMNIST",
    "ColoredMNISTConfig",
    "Columns",
    "CorruptDataError",
    "EnvironmentDataset",
    "EnvironmentRows",
    "EnvironmentSampler",
    "LinearUnitTestConfig",
    "Protocol",
    "RandomColor",
    "RandomErasing",
    "RandomGrayscale",
    "RandomResizedCrop",
    "add_environments",
    "as_environment_dataset",
    "collate",
    "colored_mnist_tensors",
    "colorize",
    "environment_datasets",
    "linear_unit_test_tensors",
    "load_colored_mnist",
    "load_grey_images",
    "load_processor",
    "publish_dataset",
    "read_dataset",
    "uncolorize",
]
