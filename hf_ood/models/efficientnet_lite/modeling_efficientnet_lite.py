"""EfficientNet-Lite as a `PreTrainedModel`."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .configuration_efficientnet_lite import EfficientNetLiteConfig

# Of the seven stages of EfficientNet-B0: kernel size, stride of the first block, widening inside each block.
STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
EPSILON, MOMENTUM = 1e-3, 0.01  # of batch normalisation; TensorFlow calls this momentum 0.99


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding "same": [B, C, H, W] -> [B, D, ceil(H / stride), ceil(W /
    stride)], where an odd zero goes to the right and to the bottom."""

    def forward(self, images: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        needed = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in images.shape[2:]]
        if all(zeros % 2 == 0 for zeros in needed):
            padding = [zeros // 2 for zeros in needed]
            return F.conv2d(images, self.weight, self.bias, self.stride, padding, groups=self.groups)
        (top, left), (bottom, right) = (
            [zeros // 2 for zeros in needed],
            [-(-zeros // 2) for zeros in needed],
        )
        padded = F.pad(images, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)


class ConvNorm(nn.Sequential):
    """A convolution without bias, batch normalisation and, unless it is linear, ReLU6."""

    def __init__(
        self,
        channels: int,
        others: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ):
        super().__init__(
            SameConv2d(channels, others, kernel, stride, groups=groups, bias=False),
            nn.BatchNorm2d(others, EPSILON, MOMENTUM),
            nn.Identity() if linear else nn.ReLU6(),
        )


class InvertedResidual(nn.Module):
    """Widen, filter every channel by itself, narrow; plus the input where the shape stays.

    [B, C, H, W] -> [B, D, H / stride, W / stride]. Reference: Sandler et al. 2018, "MobileNetV2".
    """

    def __init__(self, channels: int, others: int, kernel: int, stride: int, widening: int):
        super().__init__()
        inner = channels * widening
        self.expand = nn.Identity() if widening == 1 else ConvNorm(channels, inner)
        self.depthwise = ConvNorm(inner, inner, kernel, stride, groups=inner)
        self.project = ConvNorm(inner, others, linear=True)
        self.is_residual = stride == 1 and channels == others

    def forward(self, features: Tensor) -> Tensor:
        change = self.project(self.depthwise(self.expand(features)))
        return features + change if self.is_residual else change


class EfficientNetLitePreTrainedModel(PreTrainedModel):
    config: EfficientNetLiteConfig
    base_model_prefix = "efficientnet_lite"
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012 (the base class reads it from the class)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):  # each output's variance, as in the published implementation
            outputs = module.out_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
            nn.init.normal_(module.weight, std=(2 / outputs) ** 0.5)
        elif isinstance(module, (nn.Linear, nn.BatchNorm2d)):
            module.reset_parameters()


class EfficientNetLiteForImageClassification(EfficientNetLitePreTrainedModel):
    """EfficientNet-B0 without squeeze-and-excitation, with ReLU6: 4.7 million weights, 0.4 billion
    multiplications an image of 224x224. Features are the last feature map before pooling.

    Reference: Tan & Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"; the
    Lite variant is Google's (`tensorflow/tpu`, `models/official/efficientnet/lite`), which reports 75.1 % on
    ImageNet. What its training has and this does not: blocks that are skipped at random.
    """

    def __init__(self, config: EfficientNetLiteConfig):
        super().__init__(config)
        if not len(config.channels) == len(config.depths) == len(STAGES):
            raise ValueError(
                f"EfficientNet-Lite has {len(STAGES)} stages: give channels and depths as many numbers, not "
                f"{len(config.channels)} and {len(config.depths)}."
            )
        self.stem = ConvNorm(3, config.stem_channels, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        channels = config.stem_channels
        for (kernel, stride, widening), others, depth in zip(
            STAGES, config.channels, config.depths, strict=True
        ):
            for number in range(depth):
                first_stride = stride if number == 0 else 1
                blocks.append(InvertedResidual(channels, others, kernel, first_stride, widening))
                channels = others
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(channels, config.head_channels)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.head_channels, config.num_labels or 2)
        self.post_init()

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """Float [B, 3, H, W] in -1..1 -> feature map [B, D, H / 32, W / 32]; 1280 x 7 x 7 by default."""
        images = pixel_values.contiguous(memory_format=torch.channels_last)  # half the time on a CPU
        return self.head(self.blocks(self.stem(images)))

    def forward_head(self, features: Tensor) -> Tensor:
        """Feature map [B, D, h, w] -> logits [B, num_labels]."""
        return self.classifier(self.dropout(features.mean((2, 3))))

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        feature_transform: Callable[[Tensor, Callable[[Tensor], Tensor], Tensor | None], Tensor]
        | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> ImageClassifierOutputWithNoAttention:
        """Arguments and result as in `LeNetForImageClassification.forward`; `pixel_values` as
        `EfficientNetLiteImageProcessor` makes them."""
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


__all__ = ["EfficientNetLiteForImageClassification"]
