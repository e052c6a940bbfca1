"""Configuration of the content and style autoencoder."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class DisentangledVAEConfig(PreTrainedConfig):
    r"""
    Configuration of [`DisentangledVAEForImageClassification`] (report, section 5.2, which gives no sizes).

    Args:
        num_channels (`int`, *optional*, defaults to 3): Channels of the input image.
        image_size (`int`, *optional*, defaults to 28): Height and width of the input, in pixels; a multiple
            of 4.
        conv_channels (`list[int]`, *optional*, defaults to `[6, 16]`): Channels of the encoder's two
            convolutions; LeNet's.
        content_size (`int`, *optional*, defaults to 32): Size of the code that the classifier sees.
        style_size (`int`, *optional*, defaults to 8): Size of the code that only the decoder sees.
        hidden_size (`int`, *optional*, defaults to 64): Width of the classifier's hidden layer.
        decoder_size (`int`, *optional*, defaults to 256): Width of the decoder's hidden layer.
        beta (`float`, *optional*, defaults to 1.0): Weight of the KL divergence; 1 is a plain VAE
            (Kingma & Welling 2014), more presses for disentangled codes (Higgins et al. 2017).
        reconstruction_weight (`float`, *optional*, defaults to 1.0): Weight of the reconstruction error.
    """

    model_type = "ood_disentangled_vae"

    num_channels: int = 3
    image_size: int = 28
    conv_channels: list[int] | tuple[int, ...] = (6, 16)
    content_size: int = 32
    style_size: int = 8
    hidden_size: int = 64
    decoder_size: int = 256
    beta: float = 1.0
    reconstruction_weight: float = 1.0


__all__ = ["DisentangledVAEConfig"]
