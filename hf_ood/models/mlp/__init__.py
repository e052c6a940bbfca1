from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from ..lenet import LeNetImageProcessor
from .configuration_mlp import MLPConfig
from .modeling_mlp import MLPForImageClassification

AutoConfig.register(MLPConfig.model_type, MLPConfig)
AutoModelForImageClassification.register(MLPConfig, MLPForImageClassification)
AutoImageProcessor.register(MLPConfig, image_processor_classes={"pil": LeNetImageProcessor})
MLPConfig.register_for_auto_class()
MLPForImageClassification.register_for_auto_class("AutoModelForImageClassification")

__all__ = ["MLPConfig", "MLPForImageClassification"]
