"""The network that a run asks for: this package's own, or any classifier of transformers."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.utils import logging

from ..data.align import align, listed
from ..data.targets import CLASSIFICATION, PROBLEM_TYPES
from ..encoder_packages import place_of
from ..errors import unknown_name
from ..models import MODELS, PRETRAINED, PROCESSORS, image_processor, without_stem
from ..models.classes import class_names, renew_classes, with_class_order
from ..models.modes import evaluation_mode
from .spec import NO_STEM, OWN_POOLING, NetworkSpec, RunSpec

logger = logging.get_logger(__name__)
MODEL_CONFIG = "model_config"  # the section of a configuration's fields
VECTOR_MODELS = ("mlp", "linear")  # of this package's, those that take vectors
AUTO_CLASSES = (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForAudioClassification,
)


def model_section(network: NetworkSpec) -> str:
    """The section of options that the chosen network reads."""
    return MODEL_CONFIG if backbone(network) else network.model


def backbone(network: NetworkSpec) -> str | None:
    """What names a network of transformers; None: one of this package's. Raises `ValueError` for options that
    do not go together."""
    own = network.model in MODELS
    slip = not own and difflib.get_close_matches(network.model, MODELS, cutoff=0.8)
    if slip and not Path(network.model).exists():
        raise ValueError(unknown_name("model", network.model, list(MODELS)))
    if network.config_name and not own:
        raise ValueError(f"--model {network.model} brings its own configuration: leave --config_name out.")
    if network.config_name and not network.from_scratch:
        raise ValueError(
            f"--config_name {network.config_name} brings no weights: add --from_scratch true, or name a "
            "checkpoint with --model."
        )
    if network.from_scratch and own and not network.config_name:
        raise ValueError("--from_scratch needs --config_name, or a Hub id or folder as --model.")
    if network.pretrained and (network.config_name or not own):
        raise ValueError(
            "--pretrained is for networks of this package; a network of transformers brings its weights "
            "unless --from_scratch is true: leave --pretrained out."
        )
    if network.pretrained and network.model not in PRETRAINED:
        raise ValueError(
            f"{network.model} has no published weights: leave --pretrained out, or use --model "
            f"{' or '.join(PRETRAINED)}."
        )
    if network.pooling != OWN_POOLING and own and not network.config_name:
        raise ValueError(
            f"--pooling {network.pooling} is for text classifiers of transformers, and {network.model} is "
            "none: leave it out."
        )
    return network.config_name or (None if own else network.model)


def check_start(spec: RunSpec) -> None:
    """Raise `ValueError` for published weights that the run's first stage would not start from."""
    first = next(iter(spec.stages.values()), spec).network
    if first.pretrained and first.start_from not in ("previous", "scratch"):
        raise ValueError(
            f"--start_from {first.start_from} brings its weights: leave --pretrained out, or start from "
            "the published ones."
        )


def build_model(
    spec: RunSpec, label_names: Sequence[str], shape: Sequence[int] | None = None
) -> PreTrainedModel:
    """The network, with one output for every label. `shape`: of a sample, where it is known: a network of
    vectors gets its number of inputs from it. Raises `ValueError`, or `OSError` for an unknown id."""
    network = spec.network
    options = spec.options.get(model_section(network), {})
    labels: dict[str, Any] = {
        "id2label": dict(enumerate(label_names)),
        "label2id": {name: number for number, name in enumerate(label_names)},
    }
    if (name := backbone(network)) is None:
        config_class, model_class = MODELS[network.model]
        kind: dict[str, Any] = (
            {} if spec.data.task == CLASSIFICATION else {"problem_type": PROBLEM_TYPES[spec.data.task]}
        )
        model = model_class(
            config_class(**options | input_size(network.model, options, shape) | labels | kind)
        )
        if network.pretrained:
            PRETRAINED[network.model](model)
        return model
    config = load_config(network, name, options | labels | {"problem_type": PROBLEM_TYPES[spec.data.task]})
    auto_class = find_auto_class(config)
    if network.from_scratch:
        return auto_class.from_config(config, trust_remote_code=network.trust_remote_code)
    model, info = auto_class.from_pretrained(
        place_of(name, network.revision),
        config=config,
        revision=network.revision,
        trust_remote_code=network.trust_remote_code,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    body = f"{model.base_model_prefix}."
    broken = sorted(key for key, *_ in info["mismatched_keys"] if key.startswith(body))
    if broken:
        raise ValueError(
            f"--{MODEL_CONFIG} changes the shape of weights that {name} has ({', '.join(broken[:3])}): leave "
            "it out, or start with --from_scratch true."
        )
    match_classes(model, class_names(load_config(network, name, {})), label_names, name, network)
    return model


def input_size(name: str, options: Mapping[str, Any], shape: Sequence[int] | None) -> dict[str, Any]:
    """The number of inputs, as the data have it, of a network of vectors called `name`; nothing for others.

    `options`: what was asked of the network; `shape`: of a sample. Raises `ValueError` for vectors with a
    network of images, and for options that do not fit them.
    """
    if not shape:
        return {}
    is_vector = len(shape) == 1
    if is_vector and name not in VECTOR_MODELS:
        raise ValueError(
            f"The data are vectors of {shape[0]} numbers, which {name} does not take: --model "
            f"{' or '.join(VECTOR_MODELS)} does."
        )
    if name not in VECTOR_MODELS or (name == "mlp" and not is_vector):
        return {}
    numbers, asked = math.prod(shape), options.get("num_features")
    if asked is not None and asked != numbers:
        raise ValueError(
            f"--{name}.num_features {asked} does not fit: a sample holds {numbers} numbers. Leave it out, it "
            "is read from the data."
        )
    images = sorted({"num_channels", "image_size", "stride", "grayscale"} & {*options})
    if images and is_vector:
        raise ValueError(f"--{name}.{images[0]} is for images, and the data are vectors: leave it out.")
    return {} if asked is not None else {"num_features": numbers}


def match_classes(
    model: PreTrainedModel, trained: Sequence[str], ours: Sequence[str], name: str, network: NetworkSpec
) -> None:
    """Let each class have the weights that a class of its name has, where the checkpoint has the same classes
    in another order. Where it has other ones by name, its weights for classes are new, and that is said."""
    if list(ours) == list(trained) or len(ours) != len(trained):  # of another number they are new already
        return
    try:
        match = align(ours, trained, "classes", "the data", name)
    except ValueError:
        fresh = find_auto_class(model.config).from_config(
            model.config, trust_remote_code=network.trust_remote_code
        )
        renewed = renew_classes(model, fresh)
        logger.warning(
            f"{name} tells {listed(trained)} apart, the data have {listed(ours)}: its weights for classes "
            f"({', '.join(renewed)}) are new."
        )
        return
    if match.ids.tolist() != list(range(len(ours))):
        model.load_state_dict(with_class_order(model, match.ids.tolist()))
        logger.warning(
            f"{name} has the classes in the order {listed(trained)}, the data {listed(ours)}: matched "
            f"{match.how}."
        )


def load_config(network: NetworkSpec, name: str, changes: dict[str, Any]) -> PreTrainedConfig:
    """The configuration of a folder, a Hub id or a model type, with changed fields.

    Raises `ValueError` for an unknown field, naming the nearest, and for a name that is nothing of these.
    """
    is_type = name in CONFIG_MAPPING and not Path(name).is_dir()
    if is_type:
        config = AutoConfig.for_model(name)
    else:
        try:
            config = AutoConfig.from_pretrained(
                place_of(name, network.revision),
                revision=network.revision,
                trust_remote_code=network.trust_remote_code,
            )
        except OSError as error:
            if "/" in name:
                raise
            raise ValueError(
                f"{unknown_name('model type', name, list(CONFIG_MAPPING))} It is no folder or Hub id either."
            ) from error
    known = [*config.to_dict(), *config.attribute_map]
    for field in changes:
        if field not in known:
            raise ValueError(unknown_name(f"field of {type(config).__name__}", field, known))
    try:
        # What a configuration derives from its fields is derived anew for a type, and was saved otherwise.
        changed = type(config).from_dict(changes if is_type else {**config.to_diff_dict(), **changes})
    except StrictDataclassError as error:
        raise ValueError(f"--{MODEL_CONFIG}: {error}") from error
    changed.architectures = config.architectures or []
    return changed


def find_auto_class(config: PreTrainedConfig) -> Any:
    """The `AutoModelFor...Classification` that knows this network. Raises `ValueError` if none does."""
    for auto_class in AUTO_CLASSES:
        remote = getattr(config, "auto_map", None) or {}
        if type(config) in auto_class._model_mapping or auto_class.__name__ in remote:
            return auto_class
    raise ValueError(
        f"transformers has no classifier of type {config.model_type!r} for images, texts or sounds."
    )


def describe_model(spec: RunSpec) -> dict[str, Any]:
    """What `results.json` says about the network."""
    network = spec.network
    options = spec.options.get(model_section(network), {})
    source = backbone(network)
    stem = {} if network.input_stem == NO_STEM else {"input_stem": network.input_stem}
    if source is None:
        start = {"pretrained": True} if network.pretrained else {}
        return {"name": network.model, **start, **stem, **options}
    start = {"from_scratch": network.from_scratch}
    pooling = {} if network.pooling == OWN_POOLING else {"pooling": network.pooling}
    return {"name": Path(source).name, "source": source, **start, **stem, **pooling, **options}


def own_processor(spec: RunSpec) -> Any:
    """What resizes and normalises images for a network of this package; None for one that takes them as they
    are."""
    name = spec.network.model
    if backbone(spec.network) or name not in PROCESSORS:
        return None
    config: Any = MODELS[name][0]
    side = spec.options.get(name, {}).get("image_size", config.image_size)
    return image_processor(side, side, name)


def input_processor(model: PreTrainedModel, height: int, width: int) -> Any:
    """What turns any image into what the network was trained on: `height` x `width` pixels, 0..1."""
    if type(without_stem(model)) in {model_class for _, model_class in MODELS.values()}:
        return image_processor(height, width)
    return ViTImageProcessorPil(size={"height": height, "width": width}, do_normalize=False)


def check_sound(model: PreTrainedModel, batch: Mapping[str, Tensor], seconds: float) -> None:
    """Raise `ValueError` when the network makes nothing of a batch of sounds that are so many `seconds` long:
    its windows are longer."""
    inputs = {name: values for name, values in batch.items() if name not in ("labels", "environment")}
    with torch.no_grad(), evaluation_mode(model):
        try:
            model(**inputs)
        except RuntimeError as error:
            raise ValueError(
                f"{type(model).__name__} makes nothing of sounds of {seconds:g} seconds ({error}): pass a "
                "longer --max_seconds."
            ) from error


def check_image_size(model: PreTrainedModel, name: str, size: tuple[int, ...]) -> None:
    """Raise `ValueError` when a network of this package is built for images of another size than `size`.

    `name`: of the network; `size`: height and width, nothing where there are no images.
    """
    expected = getattr(model.config, "image_size", None)
    if name in MODELS and size and expected and size != (expected, expected):
        way = f"set --{name}.image_size {size[0]}" if size[0] == size[1] else "resize them"
        raise ValueError(
            f"The images have {size[0]} x {size[1]} pixels, {name} takes {expected} x {expected}: {way}, or "
            "use a model with an image processor of the Hub (--model), which resizes them."
        )
