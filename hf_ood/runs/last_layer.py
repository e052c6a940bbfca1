"""A stage that fits the last linear layer in place of training."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from accelerate.utils import broadcast_object_list

from ..data import EnvironmentDataset
from ..data.targets import CLASSIFICATION
from ..errors import unknown_name
from ..methods.last_layer import LAST_LAYERS, FittedLayer, L1Logistic
from ..methods.losses import CrossEntropy
from ..methods.losses.by_name import build_loss
from ..models import MODELS
from ..models.penultimate import last_linear
from ..trainer.linear_probe import compute_features
from .adapters import LORA
from .sections import LOSS
from .spec import RunSpec

TRAINED = "none"
LAST_LAYER = "last_layer"  # the key of the results


def build_fit(spec: RunSpec) -> L1Logistic | None:
    """What fits this stage's last layer; None where it is trained. Raises `ValueError` for an unknown name,
    and for what has no part in a fit."""
    name = spec.method.fit_last_layer
    if name == TRAINED:
        return None
    if name not in LAST_LAYERS:
        raise ValueError(unknown_name("fit of the last layer", name, [TRAINED, *LAST_LAYERS]))
    loss = build_loss(spec.options.get(LOSS, {}))
    asked = {
        f"--method {spec.method.name}": spec.method.name != "erm",
        f"--loss {loss.name} with its options": not (isinstance(loss, CrossEntropy) and loss.is_plain),
        "--lora": LORA in spec.options,
        "--trainable": spec.network.trainable is not None,
        "--cache_features": spec.network.cache_features,
        f"--augmentation {spec.data.augmentation}": spec.data.augmentation != "none",
        f"--upweight_errors {spec.method.upweight_errors}": spec.method.upweight_errors != 1,
        "--interpolate_with_start": bool(spec.method.interpolate_with_start),
        f"--task {spec.data.task}": spec.data.task != CLASSIFICATION,
    }
    for what, given in asked.items():
        if given:
            raise ValueError(
                f"{what} has no part in --fit_last_layer {name}, a logistic regression on the features of "
                "balanced samples: leave one of the two out."
            )
    return LAST_LAYERS[name](**spec.options.get(name, {}))


def check_fit(spec: RunSpec, is_first: bool) -> None:
    """Raise `ValueError` for what has no part in a fit, and for one on the features of random weights: those
    of a run's first stage, or of one that starts from scratch."""
    network = spec.network
    random = network.from_scratch or (network.model in MODELS and not network.pretrained)
    untrained = network.start_from == "scratch" or (network.start_from == "previous" and is_first)
    if build_fit(spec) is not None and untrained and random:
        raise ValueError(
            f"--fit_last_layer {spec.method.fit_last_layer} needs trained features, and here weights are "
            "random: make it a stage after one that trains, or give --start_from a checkpoint's folder."
        )


def fit_last_layer(fit: L1Logistic, model: Any, train: EnvironmentDataset, spec: RunSpec) -> dict[str, Any]:
    """Give the model's last linear layer the weights that `fit` finds on its features of the training
    samples -> what it found, and the rule that chose the weights, for the results.

    One process decides for all. Raises `ValueError` for a layer without bias.
    """
    layer = last_linear(model)
    if layer.bias is None:
        raise ValueError(
            f"The last linear layer of {type(model).__name__} has no bias, which standardised features need: "
            f"train it in place of --fit_last_layer {fit.name}."
        )
    training = spec.training
    batch_size, workers = training.per_device_eval_batch_size, training.dataloader_num_workers
    features = compute_features(model, train, batch_size, workers)
    decided: list[FittedLayer | None] = [None]
    if training.process_index == 0:
        decided = [fit.fit(features, train.labels, train.groups, len(train.label_names), training.seed)]
    (found,) = broadcast_object_list(decided)
    with torch.no_grad():
        layer.weight.copy_(found.weight)
        layer.bias.copy_(found.bias)
    selection = (
        f"last layer fitted by {fit.name}: inverse strength {found.inverse_strength:g} has the best accuracy "
        "of the worst group on half of the samples it is fitted on"
    )
    return {
        "selection": selection,
        LAST_LAYER: {
            "method": fit.name,
            "inverse_strength": found.inverse_strength,
            "worst_group": found.worst_group,
            "subset_samples": found.rows,
            "used_features": found.features,
            "features": layer.in_features,
        },
    }


def recorded_fit(spec: RunSpec) -> dict[str, dict[str, Any]]:
    """The options of what fitted the last layer, by its name."""
    fit = build_fit(spec)
    return {} if fit is None else {fit.name: asdict(fit)}
