"""Networks as `PreTrainedModel`s; each folder can be loaded from the Hub without this package."""

from transformers import PreTrainedConfig, PreTrainedModel

from .disentangled_vae import DisentangledVAEConfig, DisentangledVAEForImageClassification
from .lenet import LeNetConfig, LeNetForImageClassification, LeNetImageProcessor, canonicalize_colors
from .mlp import MLPConfig, MLPForImageClassification
from .resnet import SmallResNetConfig, SmallResNetForImageClassification

MODELS: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]] = {
    "lenet": (LeNetConfig, LeNetForImageClassification),
    "disentangled_vae": (DisentangledVAEConfig, DisentangledVAEForImageClassification),
    "mlp": (MLPConfig, MLPForImageClassification),
    "resnet": (SmallResNetConfig, SmallResNetForImageClassification),
}

__all__ = [
    "MODELS",
    "DisentangledVAEConfig",
    "DisentangledVAEForImageClassification",
    "LeNetConfig",
    "LeNetForImageClassification",
    "LeNetImageProcessor",
    "MLPConfig",
    "MLPForImageClassification",
    "SmallResNetConfig",
    "SmallResNetForImageClassification",
    "canonicalize_colors",
]
