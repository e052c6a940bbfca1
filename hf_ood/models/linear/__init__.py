from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from ..lenet import LeNetImageProcessor
from .configuration_linear import LinearConfig
from .modeling_linear import LinearForImageClassification

AutoConfig.register(LinearConfig.model_type, LinearConfig)
AutoModelForImageClassification.register(LinearConfig, LinearForImageClassification)
AutoImageProcessor.register(LinearConfig, image_processor_classes={"pil": LeNetImageProcessor})
LinearConfig.register_for_auto_class()
LinearForImageClassification.register_for_auto_class("AutoModelForImageClassification")

__all__ = ["LinearConfig", "LinearForImageClassification"]
