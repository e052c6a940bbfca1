"""A variational autoencoder that splits an image into content and style, and classifies the content."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from .configuration_disentangled_vae import DisentangledVAEConfig


class Code(NamedTuple):
    """A normal distribution with independent components: means [B, K] and log-variances [B, K]."""

    mean: Tensor
    log_variance: Tensor

    def sample(self) -> Tensor:
        """Reparameterised: mean + standard deviation * noise -> [B, K]."""
        return self.mean + (0.5 * self.log_variance).exp() * torch.randn_like(self.mean)

    def divergence(self) -> Tensor:
        """KL divergence from the standard normal, in nats -> [B] (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance).sum(1)


@dataclass
class DisentangledVAEOutput(ImageClassifierOutputWithNoAttention):
    """`auxiliary_loss` [B], while training: what the autoencoder adds to each sample's cross-entropy."""

    auxiliary_loss: Tensor | None = None


class DisentangledVAEForImageClassification(PreTrainedModel):
    """Encoder -> (content, style); decoder of both; a classifier of the content alone.

    The encoder's body is LeNet's, padded; the decoder has one hidden layer. Source: the report, section 5.2;
    beta as in Higgins et al. 2017 ("beta-VAE", ICLR). Nothing but the size of the codes and the classifier's
    position asks content and style to be different things.
    """

    config: DisentangledVAEConfig
    config_class = DisentangledVAEConfig
    base_model_prefix = "disentangled_vae"
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012 (the base class reads it from the class)

    def __init__(self, config: DisentangledVAEConfig):
        super().__init__(config)
        if config.image_size % 4:
            raise ValueError(f"image_size must be a multiple of 4, not {config.image_size}.")
        first, second = config.conv_channels
        map_size = config.image_size // 4
        codes = config.content_size + config.style_size
        self.encoder = nn.Sequential(
            nn.Conv2d(config.num_channels, first, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(second * map_size**2, 2 * codes),
        )
        image_shape = (config.num_channels, config.image_size, config.image_size)
        self.decoder = nn.Sequential(
            nn.Linear(codes, config.decoder_size),
            nn.ReLU(),
            nn.Linear(config.decoder_size, math.prod(image_shape)),
            nn.Unflatten(1, image_shape),
        )
        self.classifier = nn.Sequential(
            nn.Linear(config.content_size, config.hidden_size),
            nn.ReLU(),
            nn.Linear(config.hidden_size, config.num_labels or 2),
        )
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # torch's defaults; PreTrainedModel's own N(0, 0.02) makes a network of this size untrainable.
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.reset_parameters()

    def encode(self, pixel_values: Tensor) -> tuple[Code, Code]:
        """Float [B, C, H, W] in 0..1 -> content [B, content_size] and style [B, style_size]."""
        means, log_variances = self.encoder(pixel_values).chunk(2, dim=1)
        sizes = [self.config.content_size, self.config.style_size]
        content_mean, style_mean = means.split(sizes, dim=1)
        content_log_variance, style_log_variance = log_variances.split(sizes, dim=1)
        return Code(content_mean, content_log_variance), Code(style_mean, style_log_variance)

    def decode(self, content: Tensor, style: Tensor) -> Tensor:
        """Codes [B, content_size], [B, style_size] -> the logits of pixels in 0..1, [B, C, H, W]."""
        return self.decoder(torch.cat([content, style], dim=1))

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """Float [B, C, H, W] in 0..1 -> content [B, content_size]: a sample while training, else the mean."""
        content, _ = self.encode(pixel_values)
        return content.sample() if self.training else content.mean

    def forward_head(self, features: Tensor) -> Tensor:
        """Content [B, content_size] -> logits [B, num_labels]."""
        return self.classifier(features)

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        feature_transform: Callable[[Tensor, Callable[[Tensor], Tensor], Tensor | None], Tensor]
        | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> DisentangledVAEOutput:
        """Arguments and result as in `LeNetForImageClassification.forward`; features are the content.

        `loss` is the plain cross-entropy, comparable with other networks'. `auxiliary_loss` [B], while
        training, is (reconstruction_weight * cross-entropy summed over pixels + beta * KL) / pixels: the
        bound on the image's likelihood in nats per pixel value, of the size of the classification loss.
        """
        content, style = self.encode(pixel_values)
        sample = content.sample() if self.training else content.mean
        auxiliary_loss = self._auxiliary_loss(pixel_values, sample, content, style) if self.training else None
        features = sample
        if feature_transform is not None:
            features = feature_transform(features, self.forward_head, labels)
        logits = self.forward_head(features)
        return DisentangledVAEOutput(
            loss=None if labels is None else mean_loss(logits.float(), labels, self.config.problem_type),
            logits=logits,
            hidden_states=(features,) if output_hidden_states else None,
            auxiliary_loss=auxiliary_loss,
        )

    def _auxiliary_loss(self, pixel_values: Tensor, sample: Tensor, content: Code, style: Code) -> Tensor:
        decoded = self.decode(sample, style.sample()).to(pixel_values)
        errors = F.binary_cross_entropy_with_logits(decoded, pixel_values, reduction="none")
        divergence = (content.divergence() + style.divergence()) / pixel_values[0].numel()
        return self.config.reconstruction_weight * errors.flatten(1).mean(1) + self.config.beta * divergence

    @torch.no_grad()
    def reconstruct(self, pixel_values: Tensor) -> Tensor:
        """Float [B, C, H, W] in 0..1 -> the same image from the means of its codes; nothing is sampled."""
        return self.swap_styles(pixel_values, pixel_values)

    @torch.no_grad()
    def swap_styles(self, content_images: Tensor, style_images: Tensor) -> Tensor:
        """The content of the first images in the style of the second, both float [B, C, H, W] in 0..1."""
        (content, _), (_, style) = self.encode(content_images), self.encode(style_images)
        return self.decode(content.mean, style.mean).sigmoid()


def mean_loss(logits: Tensor, labels: Tensor, problem_type: str | None = None) -> Tensor:
    """Cross-entropy for class ids [B] or their shares [B, C], squared error for floats [B] -> []; of several
    labels a sample (the configuration's `problem_type` says so) binary cross-entropy for floats [B, C]."""
    if problem_type == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, labels)
    if labels.dim() == 1 and labels.is_floating_point():
        return F.mse_loss(logits[:, 0], labels)
    return F.cross_entropy(logits, labels)


__all__ = ["DisentangledVAEForImageClassification"]
