"""The flags: topics, defaults and help, from the dataclasses that own them."""

from __future__ import annotations

import re
import sys
from argparse import (
    SUPPRESS,
    Action,
    ArgumentDefaultsHelpFormatter,
    ArgumentParser,
    RawDescriptionHelpFormatter,
)
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import fields
from types import MappingProxyType
from typing import Any, get_type_hints

from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

from ..data import linear_unit_tests
from ..data.configurations import OPTIONS, ColoredMNISTConfig
from ..data.linear_unit_tests import LinearUnitTestConfig
from ..discovery import INFERENCES
from ..losses import CrossEntropy
from ..models import MODELS
from ..trainer import OODConfig
from ..trainer.methods import METHODS
from .adapters import LORA, LORA_OPTIONS, LoRA
from .run_arguments import RunArguments

DESCRIPTION = """\
Train a classifier on several environments and report it on each of them.

  accelerate launch trainers/train.py --config trainers/recipes/quickstart.yaml
  accelerate launch trainers/train.py --method irm+rsc --irm.penalty_weight 100 --dataset_config unseen_colors
  accelerate launch trainers/train.py --dataset_name scans.csv --environment_column hospital \\
      --test_environments C --model_name_or_path google/vit-base-patch16-224 --method irm
  torchrun --nproc_per_node 2 trainers/train.py --config my.yaml --use_cpu true --ddp_backend gloo

Flags override the recipe. In a recipe a dotted flag is a section: `irm: {penalty_weight: 100}`. A recipe may
have `stages`, a list of names with the flags that each changes: trainers/recipes/disentangled_vae.yaml."""


TOPICS: dict[str, list[str]] = {
    "training": [
        "num_train_epochs",
        "max_steps",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "learning_rate",
        "lr_scheduler_type",
        "warmup_steps",
        "weight_decay",
        "optim",
        "max_grad_norm",
        "seed",
        "data_seed",
    ],
    "environments": ["environment_proportions", "sample_with_replacement"],
    "evaluation and choice of the checkpoint": [
        "eval_strategy",
        "eval_steps",
        "per_device_eval_batch_size",
        "load_best_model_at_end",
        "metric_for_best_model",
        "greater_is_better",
        "early_stopping_patience",
        "early_stopping_threshold",
    ],
    "output": [
        "output_dir",
        "resume_from_checkpoint",
        "save_strategy",
        "save_steps",
        "save_total_limit",
        "logging_steps",
        "report_to",
        "run_name",
        "disable_tqdm",
    ],
    "hardware": ["use_cpu", "ddp_backend", "bf16", "fp16", "torch_compile", "dataloader_num_workers"],
}
LOSS = "loss"  # the section of what a sample costs
OTHERS = "everything else of transformers.TrainingArguments"


class _HelpFormatter(RawDescriptionHelpFormatter, ArgumentDefaultsHelpFormatter):
    """One spelling of each flag, defaults where there are any, as wide as the terminal."""

    def _format_action_invocation(self, action: Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        value = (
            ""
            if action.nargs == 0
            else f" {getattr(action.type, '__name__', 'str').removeprefix('string_to_')}"
        )
        return (
            action.option_strings[0]
            + value.replace("<lambda>", "str")
            + (" ..." if action.nargs == "+" else "")
        )

    def _get_help_string(self, action: Action) -> str | None:
        return action.help if action.default in (None, SUPPRESS) else super()._get_help_string(action)


class _Parser(HfArgumentParser):
    """HfArgumentParser whose fields are grouped by topic."""

    def _add_dataclass_arguments(self, dtype: Any) -> None:
        hints = get_type_hints(dtype)
        topic_of = {name: topic for topic, names in TOPICS.items() for name in names}
        groups: dict[str, Any] = {}
        default_topic = "what to run" if dtype is RunArguments else OTHERS
        topics = [default_topic] if dtype is RunArguments else [*TOPICS, OTHERS]
        for topic in topics:
            groups[topic] = self.add_argument_group(topic)
        for field in fields(dtype):
            if field.init:
                field = copy(field)
                field.type = hints[field.name]
                field.metadata = MappingProxyType({"help": field.metadata["help"]})
                self._parse_dataclass_field(groups[topic_of.get(field.name, default_topic)], field)

    def error(self, message: str) -> Any:
        raise UsageError(f"{message}\nSee --help.")


class UsageError(SystemExit):
    """A command line that cannot be understood: printed without a traceback, exit status 2."""

    def __init__(self, message: str):
        print(f"error: {message}", file=sys.stderr)  # noqa: T201 (a command line's errors go to the terminal)
        super().__init__(2)
        self.message = message


def sections() -> dict[str, dict[str, tuple[Any, str]]]:
    """Dotted flags: section -> option -> (default, help)."""
    found: dict[str, dict[str, tuple[Any, str]]] = {
        "colored_mnist": _dataclass_options(ColoredMNISTConfig, OPTIONS),
        "linear_unit_tests": _dataclass_options(LinearUnitTestConfig, linear_unit_tests.OPTIONS),
    }
    for name, (config, _) in MODELS.items():
        found[name] = _model_options(config)
    for name, method in {**METHODS, **INFERENCES}.items():
        found[name] = _dataclass_options(method, [field.name for field in fields(method) if field.init])
    found[LOSS] = _dataclass_options(CrossEntropy, [f.name for f in fields(CrossEntropy) if f.init])
    found[LORA] = _dataclass_options(LoRA, LORA_OPTIONS)
    return {name: options for name, options in found.items() if options}


def _dataclass_options(cls: Any, names: Sequence[str]) -> dict[str, tuple[Any, str]]:
    options = {}
    for field in fields(cls):
        if field.name in names:
            default = field.default_factory() if callable(field.default_factory) else field.default
            options[field.name] = (default, field.metadata["help"])
    return options


def _model_options(config: Any) -> dict[str, tuple[Any, str]]:
    """A model's own configuration fields; their help is the configuration's docstring."""
    help_of = dict(
        re.findall(r"^\s+(\w+) \(`.*?\): (.*?)(?=\n\s+\w+ \(`|\n\s*\Z)", config.__doc__, re.M | re.S)
    )
    names = [name for name in config.__annotations__ if name in help_of]
    return {name: (getattr(config, name), re.sub(r"\s+", " ", help_of[name]).strip()) for name in names}


def make_parser() -> ArgumentParser:
    parser = _Parser(
        [RunArguments, OODConfig],  # type: ignore[list-item]
        description=DESCRIPTION,
        allow_abbrev=False,
        usage="%(prog)s [--config FILE] [flags]",
        formatter_class=_HelpFormatter,
    )
    parser.add_argument(
        "--config", help="A YAML recipe: a file of flags, overridden by those on the command line."
    )
    for section, options in sections().items():
        group = parser.add_argument_group(f"{_kind(section)} {section}")
        add_options(group, options, f"{section}.")
    return parser


def _kind(section: str) -> str:
    kinds: dict[str, Collection[str]] = {
        "method": METHODS,
        "model": MODELS,
        "environments": INFERENCES,
        "adapters": [LORA],
        "samples'": [LOSS],
    }
    return next((kind for kind, members in kinds.items() if section in members), "dataset")


def add_options(group: Any, options: dict[str, tuple[Any, str]], prefix: str = "") -> None:
    """A flag for every option of `sections`."""
    for name, (default, help) in options.items():
        many = isinstance(default, (list, tuple))
        kind_of = type(default[0]) if many else type(default)
        group.add_argument(
            f"--{prefix}{name}",
            default=default,
            help=help.replace("%", "%%"),
            nargs="+" if many else None,
            type=string_to_bool if kind_of is bool else kind_of,
            metavar=name.upper(),
        )
