"""Adapters beside a network's frozen weights, from the flags `--lora.rank 8 ...`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel

from ..models import Penultimate
from ..options import option

if TYPE_CHECKING:
    from .spec import RunSpec

LORA = "lora"  # the section of its options


@dataclass
class LoRA:
    """Low-rank adapters (Hu et al. 2022, arXiv:2106.09685) beside frozen weights; the head trains whole."""

    rank: int = option(8, "Rank of each adapter; one of the lora flags is enough to train with adapters.")
    alpha: float = option(16.0, "Adapters count alpha / rank times.")
    dropout: float = option(0.0, "Dropout before each adapter.")
    target_modules: list[str] = option(
        ["all-linear"],
        "Ends of the names of the layers that get an adapter (query value), or all-linear: all linear ones "
        "but the head.",
    )


LORA_OPTIONS = [field.name for field in fields(LoRA)]


def head_name(model: PreTrainedModel) -> str:
    """The name of the last linear layer."""
    head = Penultimate(model).classifier
    return next(name for name, module in model.named_modules() if module is head)


def add_adapters(model: PreTrainedModel, lora: LoRA, spec: RunSpec) -> Any:
    """The model in peft's wrapper: adapters and the head train. Raises `ValueError` without peft, for flags
    that do not go with adapters, and where a name fits no layer."""
    for given, flag in (
        (spec.network.cache_features, "--cache_features keeps the features that adapters would change"),
        (
            spec.training.l2_sp,
            "--l2_sp pulls to a start, and adapters start at 0, where --weight_decay pulls",
        ),
        (spec.network.trainable, "--trainable freezes weights by name, and so do adapters"),
    ):
        if given:
            raise ValueError(f"{flag}: leave it out, or the lora flags.")
    try:
        import peft
    except ModuleNotFoundError as error:
        raise ValueError("The lora flags need peft: pip install 'hf_ood[lora]'.") from error
    head = head_name(model)
    targets = lora.target_modules
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
        exclude_modules=[head],
        modules_to_save=[head],
    )
    return peft.get_peft_model(model, config)


def recorded_lora(spec: RunSpec) -> dict[str, dict[str, Any]]:
    """The options of the adapters, for the results."""
    given = spec.options.get(LORA)
    return {} if given is None else {LORA: asdict(LoRA(**given))}


def without_adapters(model: Any) -> Any:
    """The network as everything else reads it: merged adapters are part of its weights."""
    return model.unload() if hasattr(model, "merge_adapter") else model
