from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from .color_canonicalization import canonicalize_colors
from .configuration_lenet import LeNetConfig
from .image_processing_lenet import LeNetImageProcessor
from .modeling_lenet import LeNetForImageClassification

AutoConfig.register(LeNetConfig.model_type, LeNetConfig)
AutoModelForImageClassification.register(LeNetConfig, LeNetForImageClassification)
AutoImageProcessor.register(LeNetConfig, image_processor_classes={"pil": LeNetImageProcessor})
LeNetConfig.register_for_auto_class()
LeNetForImageClassification.register_for_auto_class("AutoModelForImageClassification")
LeNetImageProcessor.register_for_auto_class()

__all__ = ["LeNetConfig", "LeNetForImageClassification", "LeNetImageProcessor", "canonicalize_colors"]
