from transformers import AutoConfig, AutoModelForImageClassification

from .configuration_stemmed import StemmedConfig
from .input_stem import STEMS, InputStem
from .modeling_stemmed import StemmedForImageClassification

AutoConfig.register(StemmedConfig.model_type, StemmedConfig)
AutoModelForImageClassification.register(StemmedConfig, StemmedForImageClassification)
StemmedConfig.register_for_auto_class()
StemmedForImageClassification.register_for_auto_class("AutoModelForImageClassification")

__all__ = ["STEMS", "InputStem", "StemmedConfig", "StemmedForImageClassification"]
