"""Networks as `PreTrainedModel`s; each folder can be loaded from the Hub without this package."""

from transformers import PreTrainedConfig, PreTrainedModel

from .lenet import LeNetConfig, LeNetForImageClassification, LeNetImageProcessor, canonicalize_colors
from .mlp import MLPConfig, MLPForImageClassification
from .penultimate import Penultimate

MODELS: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]] = {
    "lenet": (LeNetConfig, LeNetForImageClassification),
    "mlp": (MLPConfig, MLPForImageClassification),
}

__all__ = [
    "MODELS",
    "LeNetConfig",
    "LeNetForImageClassification",
    "LeNetImageProcessor",
    "MLPConfig",
    "MLPForImageClassification",
    "Penultimate",
    "canonicalize_colors",
]
