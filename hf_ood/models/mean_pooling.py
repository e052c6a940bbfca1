"""Any text classifier on the mean over tokens, in place of what it reads off its encoder."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import MODEL_MAPPING, PreTrainedModel

from .mean_pooled import MeanPooledConfig, MeanPooledForSequenceClassification
from .mean_pooled.modeling_mean_pooled import described, has_optional_pooler


def with_mean_pooling(model: PreTrainedModel) -> MeanPooledForSequenceClassification:
    """A classifier with the model's encoder, itself, and a new linear layer on the mean of the encoder's last
    states over the tokens of a text.

    Dropout is that of the model's classifier, the model's pooler and head are left behind. Raises
    `ValueError` for a model that takes no tokens, has a decoder, or brings code that is not of transformers.

    Example:
        >>> import torch
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
        >>> model = with_mean_pooling(BertForSequenceClassification(config))
        >>> model(torch.tensor([[3, 4, 0]]), torch.tensor([[1, 1, 0]])).logits.shape
        torch.Size([1, 2])
    """
    name = type(model).__name__
    encoder: Any = model.base_model
    if isinstance(model, MeanPooledForSequenceClassification):
        raise ValueError("The model reads the mean over tokens already: leave the pooling out.")
    if model.main_input_name != "input_ids":
        raise ValueError(
            f"Mean pooling averages the tokens of a text, and {name} takes {model.main_input_name}: leave it "
            "out."
        )
    if model.config.is_encoder_decoder:
        raise ValueError(f"Mean pooling is for encoders alone, and {name} has a decoder too: leave it out.")
    own = encoder.config
    if type(own) not in MODEL_MAPPING or type(encoder) is not MODEL_MAPPING[type(own)]:
        raise ValueError(
            f"Mean pooling goes with encoders that AutoModel of transformers builds, and {name} has another: "
            "leave it out."
        )
    if has_optional_pooler(type(encoder)):
        encoder.pooler = None  # as without add_pooling_layer
    config = MeanPooledConfig(
        network=described(own),
        dropout=_classifier_dropout(model),
        id2label=model.config.id2label,
        label2id=model.config.label2id,
        problem_type=model.config.problem_type,
    )
    return MeanPooledForSequenceClassification(config, encoder)


def _classifier_dropout(model: PreTrainedModel) -> float:
    """The share that the last dropout outside the encoder drops; 0 where there is none."""
    inside = set(model.base_model.modules())
    shares = [
        module.p for module in model.modules() if isinstance(module, nn.Dropout) and module not in inside
    ]
    return shares[-1] if shares else 0.0


__all__ = ["with_mean_pooling"]
