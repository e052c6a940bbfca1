"""LeNet as a `PreTrainedModel`, with the report's per-sample normalisation and edge branch."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .color_canonicalization import canonicalize_colors
from .configuration_lenet import LeNetConfig
from .edge_structure import CHANNELS, edge_structure


class SobelEdges(nn.Module):
    """Gradient magnitude of every channel with fixed Sobel kernels (report, equation 14).

    [B, C, H, W] -> [B, C, H, W]. The border is replicated: an empty ground has no edges, whatever its colour.
    """

    def __init__(self, epsilon: float = 1e-6):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, images: Tensor) -> Tensor:
        channels = images.shape[1]
        horizontal = images.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
        kernels = torch.stack([horizontal, horizontal.T])[:, None].repeat(channels, 1, 1, 1)
        padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
        gradients = F.conv2d(padded, kernels, groups=channels).unflatten(1, (channels, 2))
        return (gradients.square().sum(2) + self.epsilon).sqrt()


class EdgeFusion(nn.Module):
    """Concatenate features and resized edge maps, then Conv-InstanceNorm-ReLU (report, equation 15).

    Features [B, D, h, w] and edges [B, C, H, W] -> [B, D, h, w].
    """

    def __init__(self, feature_channels: int, edge_channels: int):
        super().__init__()
        self.convolution = nn.Conv2d(
            feature_channels + edge_channels, feature_channels, kernel_size=3, padding=1, bias=False
        )
        self.norm = nn.InstanceNorm2d(feature_channels, affine=True)

    def forward(self, features: Tensor, edges: Tensor) -> Tensor:
        resized = F.interpolate(edges, size=features.shape[2:], mode="bilinear", align_corners=False)
        return F.relu(self.norm(self.convolution(torch.cat([features, resized], dim=1))))


class LeNetPreTrainedModel(PreTrainedModel):
    config: LeNetConfig
    base_model_prefix = "lenet"
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012 (the base class reads it from the class)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # torch's defaults; PreTrainedModel's own N(0, 0.02) makes a network of this size untrainable.
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.InstanceNorm2d)):
            module.reset_parameters()


class LeNetForImageClassification(LeNetPreTrainedModel):
    """Two convolutions and three linear layers; features are what the head's first linear layer sees, as
    a map.

    Reference: LeCun et al. 1998, "Gradient-based learning applied to document recognition"; ReLU, RGB
    input and the three options of `LeNetConfig` as in the report, sections 2.1 and 4.4.
    """

    def __init__(self, config: LeNetConfig):
        super().__init__(config)
        first, second = config.conv_channels
        bias = not config.instance_norm  # the normalisation that follows would cancel it
        channels = CHANNELS.get(config.edge_structure, config.num_channels)
        self.input_norm = self._norm(channels)
        self.conv1 = nn.Conv2d(channels, first, kernel_size=5, padding=2, bias=bias)
        self.norm1 = self._norm(first)
        self.conv2 = nn.Conv2d(first, second, kernel_size=5, bias=bias)
        self.norm2 = self._norm(second)
        self.pool = nn.MaxPool2d(2)
        self.edges = SobelEdges() if config.edge_branch else None
        self.fusion = EdgeFusion(second, channels) if config.edge_branch else None
        map_size = (config.image_size // 2 - 4) // 2
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(second * map_size**2, config.hidden_sizes[0]),
            nn.ReLU(),
            nn.Linear(config.hidden_sizes[0], config.hidden_sizes[1]),
            nn.ReLU(),
            nn.Linear(config.hidden_sizes[1], config.num_labels or 2),
        )
        self.post_init()

    def _norm(self, channels: int) -> nn.Module:
        return nn.InstanceNorm2d(channels, affine=True) if self.config.instance_norm else nn.Identity()

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """Float [B, C, H, W] in 0..1 -> feature map [B, D, h, w]; 16 x 5 x 5 by default."""
        if self.config.color_canonicalization:
            pixel_values = canonicalize_colors(pixel_values).expand_as(pixel_values)
        if self.config.edge_structure != "none":
            pixel_values = edge_structure(pixel_values, self.config.edge_structure)
        features = self.input_norm(pixel_values)
        features = self.pool(F.relu(self.norm1(self.conv1(features))))
        features = self.pool(F.relu(self.norm2(self.conv2(features))))
        if self.edges is not None and self.fusion is not None:
            features = self.fusion(features, self.edges(pixel_values))
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        """Feature map [B, D, h, w] -> logits [B, num_labels]."""
        return self.head(features)

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        feature_transform: Callable[[Tensor, Callable[[Tensor], Tensor], Tensor | None], Tensor]
        | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> ImageClassifierOutputWithNoAttention:
        """
        `pixel_values`: float [B, C, H, W] in 0..1. `labels`: int64 [B], or a regression's float [B]; with
        them the output has a `loss`, cross-entropy or the squared error. `feature_transform`: called with
        (features, head, labels), its result replaces the features; RSC is one. `output_hidden_states`: return
        the feature map too.
        """
        features = self.forward_features(pixel_values)
        if feature_transform is not None:
            features = feature_transform(features, self.forward_head, labels)
        logits = self.forward_head(features)
        return ImageClassifierOutputWithNoAttention(
            loss=None if labels is None else mean_loss(logits.float(), labels, self.config.problem_type),
            logits=logits,
            hidden_states=(features,) if output_hidden_states else None,
        )


def mean_loss(logits: Tensor, labels: Tensor, problem_type: str | None = None) -> Tensor:
    """Cross-entropy for class ids [B] or their shares [B, C], squared error for floats [B] -> []; of several
    labels a sample (the configuration's `problem_type` says so) binary cross-entropy for floats [B, C]."""
    if problem_type == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, labels)
    if labels.dim() == 1 and labels.is_floating_point():
        return F.mse_loss(logits[:, 0], labels)
    return F.cross_entropy(logits, labels)


__all__ = ["LeNetForImageClassification", "LeNetPreTrainedModel"]
