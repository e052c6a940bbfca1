"""Which of a network's parameters a run trains: all, some, its head on cached features, or adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel

from ..data import EnvironmentDataset
from ..methods.masking import MixStyle
from ..methods.registry import Method, build_method
from ..models import without_stem
from ..trainer.linear_probe import compute_features, on_features
from .adapters import LORA, LoRA, add_adapters, head_name
from .stages import freeze_all_but

if TYPE_CHECKING:
    from .spec import RunSpec


def choose_trainable(model: PreTrainedModel, spec: RunSpec) -> Any:
    """Freeze what the run does not train -> the model, wrapped in adapters if it asks for LoRA.

    Raises `ValueError` for what does not go together.
    """
    lora = spec.options.get(LORA)
    if lora is not None:
        return add_adapters(model, LoRA(**lora), spec)
    if not spec.network.cache_features:
        freeze_all_but(model, spec.network.trainable)
        return model
    check_cacheable(spec)
    if is_head_of_vectors(spec):
        freeze_all_but(model, spec.network.trainable)
        return model
    network = without_stem(model)
    head = head_name(network)
    freeze_all_but(model, spec.network.trainable or [f"{head}.*"])
    moving = [name for name, own in network.named_parameters() if own.requires_grad]
    outside = [name for name in moving if not name.startswith(f"{head}.")]
    if outside:
        raise ValueError(
            f"--cache_features trains the last linear layer only ({head}.*), and --trainable names "
            f"{outside[0]}: leave one of the two out."
        )
    return model


def is_head_of_vectors(spec: RunSpec) -> bool:
    """Whether the run's network takes vectors and its data are such: with cached features it is a head of
    these and trains whole."""
    return spec.network.cache_features and spec.data.feature_columns is not None


def check_cacheable(spec: RunSpec) -> None:
    """Refuse what changes features from step to step, or is about features alone."""
    acting = {
        f"--augmentation {spec.data.augmentation}"
        * (spec.data.augmentation != "none"): "changes what the network sees",
        "--gradient_checkpointing" * bool(spec.training.gradient_checkpointing): "runs the network again",
    }
    for name, what in acting.items():
        if name:
            raise ValueError(
                f"{name} {what} at every step, and with --cache_features the network runs only once: leave "
                "one of the two out."
            )
    refuse_what_stays_as_it_is(build_method(spec.method.name, spec.options), spec)


def refuse_what_stays_as_it_is(method: Method, spec: RunSpec) -> None:
    """Raise `ValueError` for a method that would move features where they are kept, and one that needs more
    than vectors."""
    if is_head_of_vectors(spec):
        return
    objective, transform = method.objective, method.feature_transform
    if isinstance(transform, MixStyle):
        raise ValueError(
            f"{transform.name} mixes statistics of feature maps, and --cache_features keeps vectors: leave "
            "one of the two out."
        )
    if objective.moves_features:
        raise ValueError(
            f"{objective.name} moves features, and with --cache_features they stay as they are: "
            "leave it out, or use erm or an objective that compares risks or slopes, such as irm."
        )


def inputs_of_the_trained_part(
    spec: RunSpec, model: Any
) -> Callable[[EnvironmentDataset], EnvironmentDataset]:
    """What makes a dataset the input of what is trained: as it is, or the features that the model's last
    linear layer sees of it."""
    if not spec.network.cache_features or is_head_of_vectors(spec):
        return lambda dataset: dataset
    training = spec.training
    model.to(training.device)
    batch_size, workers = training.per_device_eval_batch_size, training.dataloader_num_workers
    return lambda dataset: on_features(dataset, compute_features(model, dataset, batch_size, workers))
