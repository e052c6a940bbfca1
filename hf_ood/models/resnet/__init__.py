from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from ..lenet import LeNetImageProcessor
from .configuration_resnet import SmallResNetConfig
from .modeling_resnet import SmallResNetForImageClassification

AutoConfig.register(SmallResNetConfig.model_type, SmallResNetConfig)
AutoModelForImageClassification.register(SmallResNetConfig, SmallResNetForImageClassification)
AutoImageProcessor.register(SmallResNetConfig, image_processor_classes={"pil": LeNetImageProcessor})
SmallResNetConfig.register_for_auto_class()
SmallResNetForImageClassification.register_for_auto_class("AutoModelForImageClassification")

__all__ = ["SmallResNetConfig", "SmallResNetForImageClassification"]
