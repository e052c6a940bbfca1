"""Any image classifier behind an input stem, as one `PreTrainedModel`."""

import os
from typing import Any

from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoModelForImageClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.dynamic_module_utils import custom_object_save, get_class_from_dynamic_module

from .configuration_stemmed import StemmedConfig
from .input_stem import InputStem

AUTO_CLASS = "AutoModelForImageClassification"
LABELS = ("id2label", "label2id", "problem_type")  # the same in both configurations


class StemmedForImageClassification(PreTrainedModel):
    """A network that sees of an image what its `InputStem` shows; everything else is the network's own.

    `config.network` is the network's configuration. `network`: a network that is there already
    (`with_input_stem`); otherwise it is built, of transformers or of the code that was saved beside the
    weights.
    """

    config: StemmedConfig
    config_class = StemmedConfig
    base_model_prefix = "network"
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012 (the base class reads it from the class)

    def __init__(self, config: StemmedConfig, network: PreTrainedModel | None = None):
        super().__init__(config)
        self.stem = InputStem(config.stem, config.image_mean, config.image_std)
        self.network = build(config) if network is None else network
        self.supports_gradient_checkpointing = self.network.supports_gradient_checkpointing
        self.post_init()

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **options: Any) -> Any:
        """What the network gives for the images that the stem shows.

        `pixel_values`: float [B, 3, H, W], as the network's image processor makes them. `labels`, `options`
        and the result are the network's.
        """
        if labels is not None:
            options["labels"] = labels
        return self.network(pixel_values=self.stem(pixel_values), **options)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **options: Any) -> None:
        """As every model is saved, with the code of a network that transformers does not have."""
        own: Any = self.network.config
        if self.network._auto_class is not None:
            os.makedirs(save_directory, exist_ok=True)
            custom_object_save(self.network, save_directory, config=own)
            custom_object_save(own, save_directory, config=own)
        self.config.network = described(own)
        super().save_pretrained(save_directory, *args, **options)


def build(config: StemmedConfig) -> PreTrainedModel:
    """The network behind the stem, with the labels of the whole. Raises `ValueError` where the configuration
    holds none, and for one whose code may not be run."""
    described = dict(config.network or {})
    if "model_type" not in described:
        raise ValueError(
            "The configuration holds no network behind an input stem: make the model by with_input_stem, or "
            "--input_stem."
        )
    code = described.get("auto_map", {})
    own: Any
    if described["model_type"] in CONFIG_MAPPING:
        own = CONFIG_MAPPING[described["model_type"]].from_dict(described)
        own.update(labels(config))
        return AutoModelForImageClassification.from_config(own)
    if not __name__.startswith("transformers_modules.") or AUTO_CLASS not in code:
        raise ValueError(
            f"The network behind the stem, {described['model_type']}, brings code of its own: load the whole "
            "with trust_remote_code=True."
        )
    place, revision = str(config.name_or_path), getattr(config, "_commit_hash", None)
    config_class: Any = get_class_from_dynamic_module(code["AutoConfig"], place, code_revision=revision)
    model_class: Any = get_class_from_dynamic_module(code[AUTO_CLASS], place, code_revision=revision)
    config_class.register_for_auto_class()
    model_class.register_for_auto_class(AUTO_CLASS)
    own = config_class.from_dict(described)
    own.update(labels(config))
    return model_class(own)


def described(own: PreTrainedConfig) -> dict[str, Any]:
    """A network's configuration, without where its weights came from."""
    return {name: value for name, value in own.to_dict().items() if name != "_name_or_path"}


def labels(config: StemmedConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in LABELS}


__all__ = ["StemmedForImageClassification"]
