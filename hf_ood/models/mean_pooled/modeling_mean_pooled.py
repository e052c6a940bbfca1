"""A text classifier that reads the mean over tokens, as one `PreTrainedModel`."""

import inspect
import os
from typing import Any

from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_mean_pooled import MeanPooledConfig

# What an encoder's configuration says and the whole's says instead: where the weights came from, their type,
# and the classes.
OF_THE_WHOLE = (
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "problem_type",
    "transformers_version",
)


class MeanPooledForSequenceClassification(PreTrainedModel):
    """An encoder of texts, the mean of its last states over the tokens of a text, dropout, and one linear
    layer, `classifier`.

    The encoder has the name that its family's classifiers give it (`bert`), so weights are called as in
    these. `config.network` is its configuration. `encoder`: one that is there already (`with_mean_pooling`);
    otherwise it is built. It has no pooler.

    Reference: Reimers & Gurevych 2019, "Sentence-BERT" (arXiv:1908.10084), section 3.
    """

    config: MeanPooledConfig
    config_class = MeanPooledConfig
    main_input_name = "input_ids"

    def __init__(self, config: MeanPooledConfig, encoder: PreTrainedModel | None = None):
        super().__init__(config)
        encoder = build_encoder(config) if encoder is None else encoder
        own: Any = encoder.config
        self.base_model_prefix = encoder.base_model_prefix or "encoder"
        setattr(self, self.base_model_prefix, encoder)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(own.hidden_size, config.num_labels or 2, dtype=encoder.dtype)
        self.supports_gradient_checkpointing = encoder.supports_gradient_checkpointing
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Any,
    ) -> SequenceClassifierOutput:
        """
        `input_ids`: int64 [B, T], as the encoder's tokenizer makes them, or `inputs_embeds`: float [B, T, D].
        `attention_mask`: [B, T], 0 for padding; None: all are tokens. `labels`: int64 [B], a regression's
        float [B], or several labels' float [B, C]; with them the output has a `loss`. `options` are the
        encoder's. Raises `ValueError` for an encoder that does not give one state for each token.
        """
        encoder = self.text_encoder
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "inputs_embeds": inputs_embeds,
        }
        options |= {name: value for name, value in given.items() if value is not None}
        output = encoder(**{**options, "return_dict": True})
        states = getattr(output, "last_hidden_state", None)
        tokens = input_ids if inputs_embeds is None else inputs_embeds
        if states is None or tokens is None or states.shape[:2] != tokens.shape[:2]:
            raise ValueError(
                f"{type(encoder).__name__} does not give one last state for each token, so there is "
                "no mean over tokens: leave the pooling out."
            )
        logits = self.classifier(self.dropout(mean_over_tokens(states, attention_mask)))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=getattr(output, "hidden_states", None),
            attentions=getattr(output, "attentions", None),
        )

    @property
    def text_encoder(self) -> PreTrainedModel:
        """By whatever name its family calls it."""
        return getattr(self, self.base_model_prefix)

    def get_input_embeddings(self) -> nn.Module:
        return self.text_encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_encoder.set_input_embeddings(value)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **options: Any) -> None:
        """As every model is saved, with the encoder's configuration as it is now."""
        self.config.network = described(self.text_encoder.config)
        super().save_pretrained(save_directory, *args, **options)


def mean_over_tokens(states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """The mean of states [B, T, D] over the tokens that `attention_mask` [B, T] does not call padding ->
    [B, D]; 0 for a text without tokens."""
    if attention_mask is None:
        return states.mean(1)
    tokens = attention_mask.bool().unsqueeze(-1)
    return states.masked_fill(~tokens, 0).sum(1) / tokens.sum(1).clamp_min(1)


def described(config: PreTrainedConfig) -> dict[str, Any]:
    """An encoder's configuration, without what belongs to the whole."""
    return {name: value for name, value in config.to_dict().items() if name not in OF_THE_WHOLE}


def build_encoder(config: MeanPooledConfig) -> PreTrainedModel:
    """The encoder, with random weights. Raises `ValueError` where the configuration holds none that
    transformers knows."""
    network = dict(config.network or {})
    name = str(network.get("model_type"))
    if name not in CONFIG_MAPPING:
        raise ValueError(
            f"The configuration holds no encoder of transformers ({name}): make the model by "
            "with_mean_pooling, or --pooling mean."
        )
    own: Any = CONFIG_MAPPING[name].from_dict(network)
    encoder_class: Any = MODEL_MAPPING[type(own)]
    options = {"add_pooling_layer": False} if has_optional_pooler(encoder_class) else {}
    return AutoModel.from_config(own, **options)


def has_optional_pooler(encoder_class: type[PreTrainedModel]) -> bool:
    return "add_pooling_layer" in inspect.signature(encoder_class.__init__).parameters


__all__ = ["MeanPooledForSequenceClassification", "has_optional_pooler", "mean_over_tokens"]
