"""The IRM paper's multi-layer perceptron as a `PreTrainedModel`."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .configuration_mlp import MLPConfig


class MLPForImageClassification(PreTrainedModel):
    """Every second pixel in both directions, two hidden ReLU layers, Xavier weights, zero biases.

    Reference: Arjovsky et al. 2019, arXiv:1907.02893, section 5.2. The paper's single logit is the
    difference of this network's two, so loss and IRM penalty are the same functions.
    """

    config: MLPConfig
    config_class = MLPConfig
    base_model_prefix = "mlp"
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012 (the base class reads it from the class)

    def __init__(self, config: MLPConfig):
        super().__init__(config)
        kept = -(-config.image_size // config.stride)
        channels = 1 if config.grayscale else config.num_channels
        self.hidden = nn.Sequential(
            nn.Linear(channels * kept**2, config.hidden_size),
            nn.ReLU(),
            nn.Linear(config.hidden_size, config.hidden_size),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(config.hidden_size, config.num_labels or 2)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """Float [B, C, H, W] in 0..1, C at least `num_channels` -> features [B, hidden_size]."""
        stride = self.config.stride
        kept = pixel_values[:, : self.config.num_channels, ::stride, ::stride]
        return self.hidden((kept.sum(1) if self.config.grayscale else kept).flatten(1))

    def forward_head(self, features: Tensor) -> Tensor:
        """Features [B, hidden_size] -> logits [B, num_labels]."""
        return self.classifier(features)

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        feature_transform: Callable[[Tensor, Callable[[Tensor], Tensor], Tensor | None], Tensor]
        | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> ImageClassifierOutputWithNoAttention:
        """Arguments and result as in `LeNetForImageClassification.forward`; features are a vector here."""
        features = self.forward_features(pixel_values)
        if feature_transform is not None:
            features = feature_transform(features, self.forward_head, labels)
        logits = self.forward_head(features)
        return ImageClassifierOutputWithNoAttention(
            loss=F.cross_entropy(logits.float(), labels) if labels is not None else None,
            logits=logits,
            hidden_states=(features,) if output_hidden_states else None,
        )


__all__ = ["MLPForImageClassification"]
