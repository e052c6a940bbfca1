"""The network that the arguments of a run ask for: this package's own, or any classifier of transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub.errors import StrictDataclassError
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

from ..errors import UsageError, unknown_name
from ..models import MODELS, image_processor
from .run_arguments import RunArguments

if TYPE_CHECKING:
    from .arguments import Arguments

MODEL_CONFIG = "model_config"  # the section of a configuration's fields
AUTO_CLASSES = (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForAudioClassification,
)


def model_section(run: RunArguments) -> str:
    """The section of options that the chosen network reads."""
    return MODEL_CONFIG if backbone(run) else run.model


def backbone(run: RunArguments) -> str | None:
    """What names a network of transformers; None: one of this package's. Raises `ValueError` for flags that
    do not go together."""
    if run.model_name_or_path and run.config_name:
        raise ValueError("--model_name_or_path brings its own configuration: leave --config_name out.")
    if run.config_name and not run.from_scratch:
        raise ValueError(
            f"--config_name {run.config_name} brings no weights: add --from_scratch true, or name a "
            "checkpoint with --model_name_or_path."
        )
    name = run.model_name_or_path or run.config_name
    if run.from_scratch and name is None:
        raise ValueError("--from_scratch needs --config_name or --model_name_or_path.")
    return name


def build_model(arguments: Arguments, label_names: Sequence[str]) -> PreTrainedModel:
    """The network, with one output for every label. Raises `ValueError`, or `OSError` for an unknown id."""
    run = arguments.run
    options = arguments.options.get(model_section(run), {})
    labels: dict[str, Any] = {
        "id2label": dict(enumerate(label_names)),
        "label2id": {name: number for number, name in enumerate(label_names)},
    }
    if (name := backbone(run)) is None:
        if run.model not in MODELS:
            raise ValueError(unknown_name("model", run.model, list(MODELS)))
        config_class, model_class = MODELS[run.model]
        return model_class(config_class(**options, **labels))
    config = load_config(run, name, options | labels | {"problem_type": "single_label_classification"})
    auto_class = find_auto_class(config)
    if run.from_scratch:
        return auto_class.from_config(config, trust_remote_code=run.trust_remote_code)
    model, info = auto_class.from_pretrained(
        name,
        config=config,
        revision=run.model_revision,
        trust_remote_code=run.trust_remote_code,
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
    return model


def load_config(run: RunArguments, name: str, changes: dict[str, Any]) -> PreTrainedConfig:
    """The configuration of a folder, a Hub id or a model type, with changed fields.

    Raises `ValueError` for an unknown field, naming the nearest, and for a name that is nothing of these.
    """
    is_type = name in CONFIG_MAPPING and not Path(name).is_dir()
    if is_type:
        config = AutoConfig.for_model(name)
    else:
        try:
            config = AutoConfig.from_pretrained(
                name, revision=run.model_revision, trust_remote_code=run.trust_remote_code
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


def describe_model(arguments: Arguments) -> dict[str, Any]:
    """What `results.json` says about the network."""
    run = arguments.run
    options = arguments.options.get(model_section(run), {})
    source = backbone(run)
    if source is None:
        return {"name": run.model, **options}
    return {"name": Path(source).name, "source": source, "from_scratch": run.from_scratch, **options}


def input_processor(model: PreTrainedModel, height: int, width: int) -> Any:
    """What turns any image into what the network was trained on: `height` x `width` pixels, 0..1."""
    if type(model) in {model_class for _, model_class in MODELS.values()}:
        return image_processor(height, width)
    return ViTImageProcessorPil(size={"height": height, "width": width}, do_normalize=False)


def check_image_size(model: PreTrainedModel, name: str, size: tuple[int, ...]) -> None:
    """Raise `ValueError` when a network of this package is built for images of another size than `size`.

    `name`: of the network; `size`: height and width, nothing where there are no images.
    """
    expected = getattr(model.config, "image_size", None)
    if name in MODELS and size and expected and size != (expected, expected):
        way = f"set --{name}.image_size {size[0]}" if size[0] == size[1] else "resize them"
        raise ValueError(
            f"The images have {size[0]} x {size[1]} pixels, {name} takes {expected} x {expected}: {way}, or "
            "use a model with an image processor (--model_name_or_path), which resizes them."
        )


def take_model_config(tokens: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Part `--model_config.FIELD VALUE ...` from the other flags -> those, and the values by field.

    Which fields there are depends on the network, so no parser can know them. A value is JSON or a word;
    several make a list. Raises `UsageError` for a field without a value.
    """
    others: list[str] = []
    words: dict[str, list[str]] = {}
    current: list[str] = others
    for token in tokens:
        if token.startswith(f"--{MODEL_CONFIG}."):
            name, equals, value = token.removeprefix(f"--{MODEL_CONFIG}.").partition("=")
            current = words[name] = [value] if equals else []
        else:
            current = others if token.startswith("--") else current
            current.append(token)
    for name, values in words.items():
        if not values:
            raise UsageError(f"--{MODEL_CONFIG}.{name} needs a value.")
    read = {name: [_value(word) for word in values] for name, values in words.items()}
    return others, {name: values[0] if len(values) == 1 else values for name, values in read.items()}


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except json.JSONDecodeError:
        return word
