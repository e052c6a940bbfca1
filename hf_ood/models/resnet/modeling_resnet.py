"""ResNet-18 for small images: transformers' ResNet with a stem that keeps the resolution."""

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention
from transformers.models.resnet.modeling_resnet import ResNetConvLayer, ResNetModel, ResNetPreTrainedModel

from .color_canonicalization import canonicalize_colors
from .configuration_resnet import SmallResNetConfig
from .edge_structure import CHANNELS, edge_structure


class SmallResNetForImageClassification(ResNetPreTrainedModel):
    """A 3x3 stem without pooling, the residual stages, mean pooling and one linear layer.

    Features are the last feature map before pooling. Reference: He et al. 2016, "Deep Residual Learning for
    Image Recognition", ImageNet variant with the CIFAR variant's stem; report, section 4.3.1.
    """

    config: SmallResNetConfig
    config_class = SmallResNetConfig

    def __init__(self, config: SmallResNetConfig):
        super().__init__(config)
        channels = CHANNELS.get(config.edge_structure, config.num_channels)
        self.input_norm = nn.InstanceNorm2d(channels) if config.instance_norm else nn.Identity()
        self.resnet = ResNetModel(config)
        self.resnet.embedder = ResNetConvLayer(  # type: ignore[assignment]
            channels, config.embedding_size, kernel_size=3, stride=config.stem_stride
        )
        replace_batch_norms(self.resnet, config.normalization)
        self.classifier = nn.Linear(config.hidden_sizes[-1], config.num_labels or 2)
        self.post_init()

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """Float [B, C, H, W] in 0..1 -> feature map [B, D, h, w]; 512 x 4 x 4 by default."""
        if self.config.color_canonicalization:
            pixel_values = canonicalize_colors(pixel_values).expand_as(pixel_values)
        if self.config.edge_structure != "none":
            pixel_values = edge_structure(pixel_values, self.config.edge_structure)
        return self.resnet.encoder(self.resnet.embedder(self.input_norm(pixel_values))).last_hidden_state

    def forward_head(self, features: Tensor) -> Tensor:
        """Feature map [B, D, h, w] -> logits [B, num_labels]."""
        return self.classifier(self.resnet.pooler(features).flatten(1))

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        feature_transform: Callable[[Tensor, Callable[[Tensor], Tensor], Tensor | None], Tensor]
        | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> ImageClassifierOutputWithNoAttention:
        """Arguments and result as in `LeNetForImageClassification.forward`."""
        features = self.forward_features(pixel_values)
        if feature_transform is not None:
            features = feature_transform(features, self.forward_head, labels)
        logits = self.forward_head(features)
        return ImageClassifierOutputWithNoAttention(
            loss=None if labels is None else mean_loss(logits.float(), labels, self.config.problem_type),
            logits=logits,
            hidden_states=(features,) if output_hidden_states else None,
        )


class BatchStatisticsNorm(nn.BatchNorm2d):
    """Batch normalisation that evaluates a batch by that batch's own mean and variance."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            return super().forward(input)
        return F.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)


def replace_batch_norms(network: nn.Module, normalization: str) -> None:
    """Put in place of each `BatchNorm2d` what `normalization` says; see `SmallResNetConfig`."""
    if normalization == "batch":
        return
    if normalization not in ("test_batch", "group"):
        raise ValueError(f"normalization must be 'batch', 'test_batch' or 'group', not {normalization!r}.")
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                channels = child.num_features
                groups = nn.GroupNorm(math.gcd(32, channels), channels)
                setattr(module, name, groups if normalization == "group" else BatchStatisticsNorm(channels))


def mean_loss(logits: Tensor, labels: Tensor, problem_type: str | None = None) -> Tensor:
    """Cross-entropy for class ids [B] or their shares [B, C], squared error for floats [B] -> []; of several
    labels a sample (the configuration's `problem_type` says so) binary cross-entropy for floats [B, C]."""
    if problem_type == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, labels)
    if labels.dim() == 1 and labels.is_floating_point():
        return F.mse_loss(logits[:, 0], labels)
    return F.cross_entropy(logits, labels)


__all__ = ["SmallResNetForImageClassification"]
