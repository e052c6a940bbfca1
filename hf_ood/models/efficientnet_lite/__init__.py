from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from .configuration_efficientnet_lite import EfficientNetLiteConfig
from .image_processing_efficientnet_lite import EfficientNetLiteImageProcessor
from .modeling_efficientnet_lite import EfficientNetLiteForImageClassification

AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig)
AutoModelForImageClassification.register(EfficientNetLiteConfig, EfficientNetLiteForImageClassification)
AutoImageProcessor.register(
    EfficientNetLiteConfig, image_processor_classes={"pil": EfficientNetLiteImageProcessor}
)
EfficientNetLiteConfig.register_for_auto_class()
EfficientNetLiteForImageClassification.register_for_auto_class("AutoModelForImageClassification")
EfficientNetLiteImageProcessor.register_for_auto_class()

__all__ = [
    "EfficientNetLiteConfig",
    "EfficientNetLiteForImageClassification",
    "EfficientNetLiteImageProcessor",
]
