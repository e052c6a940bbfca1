"""What a model's repository says about its input: a tokenizer, another processor, or nothing."""

from __future__ import annotations

from typing import Any

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    SequenceFeatureExtractor,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
)

from ..encoder_packages import place_of
from .features import FeatureProcessor, features_file


def load_processor(model_name_or_path: str | None, **options: Any) -> Any:
    """The tokenizer of a model that can classify texts, the feature extractor of one that can classify
    sounds, the `FeatureProcessor` of one of vectors that was saved with one, the image processor of any
    other.

    None for no model: the networks of this package take images as they are. `options` as for
    `from_pretrained`. Raises `ValueError` when the tokenizer cannot pad.
    """
    if model_name_or_path is None:
        return None
    model_name_or_path = place_of(model_name_or_path, options.get("revision"))
    config = AutoConfig.from_pretrained(model_name_or_path, **options)
    if getattr(config, "num_features", None) is not None and features_file(model_name_or_path, **options):
        return FeatureProcessor.from_pretrained(model_name_or_path, **options)
    if classifies_sounds(config):
        return AutoFeatureExtractor.from_pretrained(model_name_or_path, **options)
    if not classifies_texts(config):
        return AutoImageProcessor.from_pretrained(model_name_or_path, **options)
    tokenizer = AutoTokenizer.from_pretrained(model_name_or_path, **options)
    if tokenizer.pad_token is None:
        raise ValueError(
            f"The tokenizer of {model_name_or_path} has no padding token, without which texts of different "
            "lengths make no batch: set tokenizer.pad_token and config.pad_token_id and save both."
        )
    return tokenizer


def classifies_texts(config: Any) -> bool:
    """Whether transformers, this package or the code beside a model's weights has a text classifier of such a
    configuration."""
    brought = getattr(config, "auto_map", None) or {}
    known = type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    return known or "AutoModelForSequenceClassification" in brought


def classifies_sounds(config: Any) -> bool:
    return config.model_type in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES


def takes_audio(processor: Any) -> bool:
    return isinstance(processor, SequenceFeatureExtractor)


def takes_text(processor: Any) -> bool:
    return isinstance(processor, PreTrainedTokenizerBase)
