"""From digits to batches that know their environment."""

from .augmentation import AUGMENTATIONS, BatchAugmentation, RandomErasing, RandomGrayscale, RandomResizedCrop
from .collate import collate
from .colored_mnist import ColoredMNIST, ColoredMNISTConfig, colored_mnist_tensors, load_colored_mnist
from .colored_mnist.coloring import PALETTE, RandomColor, colorize, uncolorize
from .colored_mnist.digits import CorruptDataError, load_grey_images
from .dataset_card import CardText
from .environment_column import add_environments
from .environment_dataset import EnvironmentDataset, MemoryEnvironmentDataset, as_environment_dataset
from .features import FeatureProcessor
from .folders import load_folder
from .linear_unit_tests import LinearUnitTestConfig, linear_unit_test_tensors
from .loading import Columns, environment_datasets
from .mapped_dataset import ArrowEnvironmentDataset
from .processors import load_processor
from .publish import publish_dataset
from .reading import Named, Reading, read_dataset
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
    "FeatureProcessor",
    "LinearUnitTestConfig",
    "MemoryEnvironmentDataset",
    "Named",
    "Protocol",
    "RandomColor",
    "RandomErasing",
    "RandomGrayscale",
    "RandomResizedCrop",
    "Reading",
    "add_environments",
    "as_environment_dataset",
    "collate",
    "colored_mnist_tensors",
    "colorize",
    "environment_datasets",
    "linear_unit_test_tensors",
    "load_colored_mnist",
    "load_folder",
    "load_grey_images",
    "load_processor",
    "publish_dataset",
    "read_dataset",
    "uncolorize",
]
