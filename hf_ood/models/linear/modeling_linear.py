"""A linear model in the form that invariant risk minimisation gives it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .configuration_linear import LinearConfig


class UnitClassifier(nn.Linear):
    """The classifier w = 1. It has no parameter, so that nothing that unfreezes parameters can train it."""

    def __init__(self, outputs: int):
        super().__init__(outputs, outputs, bias=False)
        del self.weight
        self.register_buffer("weight", torch.eye(outputs))


class LinearForImageClassification(PreTrainedModel):
    """Logits linear in the input: a learned representation with one value per class, below the fixed
    classifier w = 1.

    Reference: Arjovsky et al. 2019, arXiv:1907.02893, section 3. What methods compare or mask as features are
    the representation's values, as in Ahuja et al. 2021, arXiv:2106.06607. One label means regression: labels
    are floats then and the loss is the squared error, as everywhere in transformers.
    """

    config: LinearConfig
    config_class = LinearConfig
    base_model_prefix = "linear"
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012 (the base class reads it from the class)

    def __init__(self, config: LinearConfig):
        super().__init__(config)
        outputs = config.num_labels or 2
        self.representation = nn.Linear(config.num_features, outputs)
        self.classifier = UnitClassifier(outputs)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, UnitClassifier):
            init.copy_(module.weight, torch.eye(len(module.weight)))
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            init.uniform_(module.weight, -bound, bound)
            init.zeros_(module.bias)

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """Float [B, num_features], or [B, C, H, W] with as many numbers -> [B, num_labels]."""
        return self.representation(pixel_values.flatten(1))

    def forward_head(self, features: Tensor) -> Tensor:
        """[B, num_labels] -> the same as logits."""
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


__all__ = ["LinearForImageClassification"]
