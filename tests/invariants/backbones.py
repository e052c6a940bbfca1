"""Tiny random networks of many families, for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    set_seed,
)

from hf_ood.models import batch_norms

TOKENS: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
PATCHES: dict[str, Any] = {**TOKENS, "image_size": 28, "patch_size": 7}
STAGES: dict[str, Any] = {"hidden_sizes": [8, 12], "depths": [1, 1]}
WINDOWS: dict[str, Any] = {
    "image_size": 28,
    "patch_size": 7,
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "window_size": 2,
}
TEXT: dict[str, Any] = {**TOKENS, "vocab_size": 30, "max_position_embeddings": 24, "pad_token_id": 0}

# Family -> its configuration, small.
VISION: dict[str, dict[str, Any]] = {
    "resnet": {"embedding_size": 8, **STAGES},
    "convnext": {"num_stages": 2, "patch_size": 2, **STAGES},
    "vit": PATCHES,
    "deit": PATCHES,
    "swin": WINDOWS,
    "dinov2": PATCHES,
    "beit": PATCHES,
    "mobilenet_v2": {
        "depth_multiplier": 0.1,
        "depth_divisible_by": 4,
        "min_depth": 4,
        "output_stride": 8,
        "finegrained_output": False,
    },
    "efficientnet": {
        "image_size": 28,
        "width_coefficient": 0.1,
        "depth_coefficient": 0.1,
        "hidden_dim": 128,
        "depth_divisor": 4,
        "kernel_sizes": [3, 3],
        "in_channels": [8, 4],
        "out_channels": [4, 8],
        "strides": [1, 2],
        "num_block_repeats": [1, 1],
        "expand_ratios": [1, 2],
        "depthwise_padding": [],
    },
    "regnet": {"embedding_size": 8, "groups_width": 4, **STAGES},
}
LANGUAGE: dict[str, dict[str, Any]] = {
    "bert": TEXT,
    "roberta": TEXT,
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16, "vocab_size": 30},
    "deberta-v2": {**TEXT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": {**TEXT, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
    "albert": {**TEXT, "embedding_size": 8},
}
BACKBONES = [*VISION, *LANGUAGE]
CLASSES = 3


def make_backbone(name: str, **changes: Any) -> PreTrainedModel:
    """Weights large enough for the prediction to depend on all of the input."""
    set_seed(0)
    auto, options = (
        (AutoModelForImageClassification, VISION[name])
        if name in VISION
        else (AutoModelForSequenceClassification, LANGUAGE[name])
    )
    config = AutoConfig.for_model(name, **{**options, "num_labels": CLASSES, **changes})
    config.initializer_range = 0.3
    config.architectures = []
    model = auto.from_config(config)
    for norm in batch_norms(model):
        norm.momentum = 1.0
    model.train()(**make_inputs(name))  # running statistics that are those of a batch
    for norm in batch_norms(model):
        norm.momentum = 0.1
    return model


def make_inputs(name: str, batch: int = 4) -> dict[str, Tensor]:
    """Images, or token ids of which some are padding."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(batch) % CLASSES
    if name in VISION:
        return {"pixel_values": torch.rand(batch, 3, 28, 28, generator=generator), "labels": labels}
    ids = torch.randint(3, 30, (batch, 7), generator=generator)
    ids[:, 0] = 1
    lengths = 7 - torch.arange(batch) % 3
    mask = (torch.arange(7) < lengths[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}
