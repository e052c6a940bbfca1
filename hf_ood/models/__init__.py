"""Networks as `PreTrainedModel`s; each folder can be loaded from the Hub without this package."""

from transformers import PreTrainedConfig, PreTrainedModel

from .batch_norm import batch_norms, measure_batch_norms
from .disentangled_vae import DisentangledVAEConfig, DisentangledVAEForImageClassification
from .feature_layer import FeatureLayer, find_feature_layer
from .features import FeatureSplit
from .lenet import LeNetConfig, LeNetForImageClassification, LeNetImageProcessor, canonicalize_colors
from .linear import LinearConfig, LinearForImageClassification
from .mlp import MLPConfig, MLPForImageClassification
from .penultimate import Penultimate
from .resnet import SmallResNetConfig, SmallResNetForImageClassification
from .temperature import with_temperature

MODELS: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]] = {
    "lenet": (LeNetConfig, LeNetForImageClassification),
    "disentangled_vae": (DisentangledVAEConfig, DisentangledVAEForImageClassification),
    "linear": (LinearConfig, LinearForImageClassification),
    "mlp": (MLPConfig, MLPForImageClassification),
    "resnet": (SmallResNetConfig, SmallResNetForImageClassification),
}


def image_processor(height: int, width: int) -> LeNetImageProcessor:
    """What turns any image into the input of a network trained on `height` x `width` pixels, 0..1."""
    return LeNetImageProcessor(size={"height": height, "width": width})


__all__ = [
    "MODELS",
    "DisentangledVAEConfig",
    "DisentangledVAEForImageClassification",
    "FeatureLayer",
    "FeatureSplit",
    "LeNetConfig",
    "LeNetForImageClassification",
    "LeNetImageProcessor",
    "LinearConfig",
    "LinearForImageClassification",
    "MLPConfig",
    "MLPForImageClassification",
    "Penultimate",
    "SmallResNetConfig",
    "SmallResNetForImageClassification",
    "batch_norms",
    "canonicalize_colors",
    "find_feature_layer",
    "image_processor",
    "measure_batch_norms",
    "with_temperature",
]
