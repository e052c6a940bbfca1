"""The IRM paper's multi-layer perceptron as a `PreTrainedModel`."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .configuration_mlp import MLPConfig


class SingleLogit(nn.Linear):
    """A linear layer of two outputs with one row of weights: 0 and `w x + b`.

    It is an `nn.Linear` of two outputs to whoever looks for the classifier's last layer.
    """

    def __init__(self, in_features: int):
        super().__init__(in_features, 1)
        self.out_features = 2

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(super().forward(input), (1, 0))


class MLPForImageClassification(PreTrainedModel):
    """Every second pixel in both directions, hidden ReLU layers, Xavier weights, zero biases.

    Reference: Arjovsky et al. 2019, arXiv:1907.02893, section 5.2. The paper's single logit is the
    difference of this network's two, so loss and IRM penalty are the same functions; with `single_logit` its
    weights are the paper's too. The paper has two hidden layers. Raises `ValueError` for a single logit of
    other than two classes, and for no hidden layer.
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
        inputs = channels * kept**2 if config.num_features is None else config.num_features
        if config.num_hidden_layers < 1:
            raise ValueError(f"num_hidden_layers must be at least 1, not {config.num_hidden_layers}.")
        sizes = [inputs, *[config.hidden_size] * config.num_hidden_layers]
        layers = [(nn.Linear(*pair), nn.ReLU()) for pair in pairwise(sizes)]
        self.hidden = nn.Sequential(*(part for pair in layers for part in pair))
        if config.single_logit and config.num_labels != 2:
            raise ValueError(
                f"single_logit tells two classes apart, and there are {config.num_labels}: leave it out."
            )
        self.classifier = (
            SingleLogit(config.hidden_size)
            if config.single_logit
            else nn.Linear(config.hidden_size, config.num_labels or 2)
        )
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """Float [B, C, H, W] in 0..1, C at least `num_channels`, or vectors [B, num_features] -> features
        [B, hidden_size]."""
        if self.config.num_features is not None:
            return self.hidden(pixel_values.flatten(1))
        stride = self.config.stride
        kept = pixel_values[:, : self.config.num_channels, ::stride, ::stride]
        return self.hidden((kept.sum(1) if self.config.grayscale else kept).flatten(1))

    def forward_head(self, features: Tensor) -> Tensor:
        """Features [B, hidden_size] -> logits [B, num_labels]."""
        return self.classifier(features)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        feature_transform: Callable[[Tensor, Callable[[Tensor], Tensor], Tensor | None], Tensor]
        | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        inputs: Tensor | None = None,
    ) -> ImageClassifierOutputWithNoAttention:
        """Arguments and result as in `LeNetForImageClassification.forward`; features are a vector here.

        `inputs`: vectors, float [B, num_features], in place of images.
        """
        features = self.forward_features(images_or_vectors(pixel_values, inputs))
        if feature_transform is not None:
            features = feature_transform(features, self.forward_head, labels)
        logits = self.forward_head(features)
        return ImageClassifierOutputWithNoAttention(
            loss=None if labels is None else mean_loss(logits.float(), labels, self.config.problem_type),
            logits=logits,
            hidden_states=(features,) if output_hidden_states else None,
        )


def images_or_vectors(pixel_values: Tensor | None, inputs: Tensor | None) -> Tensor:
    """The one of the two that is given. Raises `ValueError` for both, and for none."""
    if pixel_values is not None and inputs is None:
        return pixel_values
    if inputs is not None and pixel_values is None:
        return inputs
    raise ValueError("Give images (pixel_values) or vectors (inputs), one of the two.")


def mean_loss(logits: Tensor, labels: Tensor, problem_type: str | None = None) -> Tensor:
    """Cross-entropy for class ids [B] or their shares [B, C], squared error for floats [B] -> []; of several
    labels a sample (the configuration's `problem_type` says so) binary cross-entropy for floats [B, C]."""
    if problem_type == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, labels)
    if labels.dim() == 1 and labels.is_floating_point():
        return F.mse_loss(logits[:, 0], labels)
    return F.cross_entropy(logits, labels)


__all__ = ["MLPForImageClassification"]
