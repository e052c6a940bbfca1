"""Networks as `PreTrainedModel`s; each folder can be loaded from the Hub without this package."""

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from .batch_norm import batch_norms, measure_batch_norms
from .disentangled_vae import DisentangledVAEConfig, DisentangledVAEForImageClassification
from .efficientnet_lite import (
    EfficientNetLiteConfig,
    EfficientNetLiteForImageClassification,
    EfficientNetLiteImageProcessor,
)
from .efficientnet_lite.imagenet_weights import load_imagenet_weights
from .feature_layer import FeatureLayer, find_feature_layer
from .features import FeatureSplit
from .input_stem import with_input_stem, without_stem
from .lenet import LeNetConfig, LeNetForImageClassification, LeNetImageProcessor, canonicalize_colors
from .linear import LinearConfig, LinearForImageClassification
from .mean_pooled import MeanPooledConfig, MeanPooledForSequenceClassification
from .mean_pooling import with_mean_pooling
from .mlp import MLPConfig, MLPForImageClassification
from .penultimate import Penultimate, check_reads_out
from .resnet import SmallResNetConfig, SmallResNetForImageClassification
from .stemmed import InputStem, StemmedConfig, StemmedForImageClassification
from .temperature import with_temperature

MODELS: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]] = {
    "lenet": (LeNetConfig, LeNetForImageClassification),
    "disentangled_vae": (DisentangledVAEConfig, DisentangledVAEForImageClassification),
    "efficientnet_lite": (EfficientNetLiteConfig, EfficientNetLiteForImageClassification),
    "linear": (LinearConfig, LinearForImageClassification),
    "mlp": (MLPConfig, MLPForImageClassification),
    "resnet": (SmallResNetConfig, SmallResNetForImageClassification),
}
# Those that resize and normalise images of any size; the others take them as they are, divided by 255.
PROCESSORS: dict[str, Any] = {"efficientnet_lite": EfficientNetLiteImageProcessor}
# Those with published weights -> what puts them into a network.
PRETRAINED: dict[str, Callable[[Any], None]] = {"efficientnet_lite": load_imagenet_weights}


def image_processor(height: int, width: int, name: str | None = None) -> Any:
    """What turns any image into the input of a network trained on `height` x `width` pixels: the own one of
    the network called `name`, where it has one; otherwise 0..1."""
    return PROCESSORS.get(name or "", LeNetImageProcessor)(size={"height": height, "width": width})


__all__ = [
    "MODELS",
    "PRETRAINED",
    "PROCESSORS",
    "DisentangledVAEConfig",
    "DisentangledVAEForImageClassification",
    "EfficientNetLiteConfig",
    "EfficientNetLiteForImageClassification",
    "EfficientNetLiteImageProcessor",
    "FeatureLayer",
    "FeatureSplit",
    "InputStem",
    "LeNetConfig",
    "LeNetForImageClassification",
    "LeNetImageProcessor",
    "LinearConfig",
    "LinearForImageClassification",
    "MLPConfig",
    "MLPForImageClassification",
    "MeanPooledConfig",
    "MeanPooledForSequenceClassification",
    "Penultimate",
    "SmallResNetConfig",
    "SmallResNetForImageClassification",
    "StemmedConfig",
    "StemmedForImageClassification",
    "batch_norms",
    "canonicalize_colors",
    "check_reads_out",
    "find_feature_layer",
    "image_processor",
    "load_imagenet_weights",
    "measure_batch_norms",
    "with_input_stem",
    "with_mean_pooling",
    "with_temperature",
    "without_stem",
]
