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
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, get_type_hints

from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

from ..data import AUGMENTATIONS, linear_unit_tests
from ..data.colored_mnist import DEFAULT_CONFIGURATION
from ..data.configurations import CONFIGURATIONS, OPTIONS, ColoredMNISTConfig
from ..data.linear_unit_tests import EXAMPLES, LinearUnitTestConfig
from ..discovery import INFERENCES
from ..models import MODELS
from ..options import option
from ..trainer import OODConfig
from ..trainer.methods import METHODS
from .adapters import LORA, LORA_OPTIONS, LoRA

DESCRIPTION = """\
Train a classifier on several environments and report it on each of them.

  accelerate launch trainers/train.py --config trainers/recipes/quickstart.yaml
  accelerate launch trainers/train.py --method irm+rsc --irm.penalty_weight 100 --dataset_config unseen_colors
  accelerate launch trainers/train.py --dataset_name scans.csv --environment_column hospital \\
      --test_environments C --model_name_or_path google/vit-base-patch16-224 --method irm
  torchrun --nproc_per_node 2 trainers/train.py --config my.yaml --use_cpu true --ddp_backend gloo

Flags override the recipe. In a recipe a dotted flag is a section: `irm: {penalty_weight: 100}`. A recipe may
have `stages`, a list of names with the flags that each changes: trainers/recipes/disentangled_vae.yaml."""


@dataclass
class RunArguments:
    """What is trained on what."""

    method: str = option(
        "erm",
        f"One method, or several that act at different places joined by +, as irm+rsc: {', '.join(METHODS)}.",
    )
    dataset_name: str = option(
        "colored_mnist",
        "colored_mnist or linear_unit_tests (built in), a Hub dataset, a local folder, or files (also as a "
        "pattern, scans-*.csv): .csv, .tsv, .json, .jsonl, .parquet, .arrow.",
    )
    dataset_config: str | None = option(
        None,
        f"Its configuration. Colored MNIST: {', '.join(CONFIGURATIONS)}; by default {DEFAULT_CONFIGURATION}; "
        f"linear unit tests: {', '.join(EXAMPLES)}.",
    )
    image_column: str | None = option(
        None,
        "The column of images, or of names of image files in a table; not needed when there is only one.",
    )
    text_column: list[str] | None = option(
        None, "Classify texts: their column, or two columns for sentence pairs."
    )
    label_column: str = option("label", "The column of the true classes: names or numbers.")
    environment_column: list[str] = option(
        ["environment"],
        "The column that tells the environment: names or numbers. Several make one environment of each "
        "combination, named hospital=A,scanner=2.",
    )
    max_length: int | None = option(
        None, "Cut texts after this many tokens. Default: what the model takes, at most 512."
    )
    in_memory: Literal["auto", "always", "never"] = option(
        "auto",
        "Keep decoded images in memory; never: decode batch by batch from the mapped Arrow file, in "
        "--dataloader_num_workers processes; auto: in memory if they fill at most a quarter of what is free.",
    )
    also_test: list[str] | None = option(
        None, "Measure the final weights on the test environments of these configurations too."
    )
    train_environments: list[str] | None = option(
        None, "Train on these environments only (names). Default: on all that are not held out."
    )
    test_environments: list[str] | None = option(
        None,
        "Hold these environments out as a whole and test on them (names), on their rows in the dataset's own "
        "test split or, if that has none, on all. Default: the own test split; without one, all environments "
        "that --train_environments leaves.",
    )
    validation: list[str] | None = option(
        None,
        "What a checkpoint is chosen on: a share held out at random from each training environment (0.2, an "
        "80/20 split, as DomainBed's), or names of whole environments, which are not trained on. Default: "
        "the dataset's own validation split; without one, 0.2.",
    )
    max_train_samples: int | None = option(
        None, "Use this many training samples, in equal parts per environment."
    )
    augmentation: str = option(
        "none", f"Applied to training batches of images: none, {', '.join(AUGMENTATIONS)}."
    )
    model: str = option("lenet", f"The network: {', '.join(MODELS)}.")
    model_name_or_path: str | None = option(
        None, "Instead of --model: any classifier of transformers, a Hub id or a folder, with its weights."
    )
    config_name: str | None = option(
        None,
        "Instead of --model: the configuration of a Hub id or a folder, or a model type such as resnet, with "
        "random weights; needs --from_scratch true.",
    )
    from_scratch: bool = option(
        False,
        "Random weights. Fields of the configuration are set by --model_config.FIELD VALUE ..., in a recipe "
        "by a section model_config.",
    )
    model_revision: str = option("main", "Branch, tag or commit of the model on the Hub.")
    trust_remote_code: bool = option(False, "Run the code that the model's repository brings along.")
    processor_name: str | None = option(
        None, "Tokenizer or image processor of this Hub id or folder. Default: the one beside the weights."
    )
    start_from: str = option(
        "previous",
        "Starting weights: previous (those of the stage before; a run's first stage starts from scratch), "
        "scratch, or a folder with a checkpoint.",
    )
    trainable: list[str] | None = option(
        None, "Train the parameters whose names match one of these patterns (classifier.*). Default: all."
    )
    cache_features: bool = option(
        False,
        "Linear probing: run the network once over the data (no dropout, running statistics) and train its "
        "last linear layer on the features it gave. Not with what changes the network's inputs or features.",
    )
    hold_out: float = option(
        0.0, "Share of the training images that only stages with --train_on held_out train on."
    )
    train_on: str = option(
        "train", "A stage's training images: train (all but the held-out ones), or held_out (DFR)."
    )
    infer_environments: str = option(
        "none",
        f"Replace the training environments by inferred ones: none, {', '.join(INFERENCES)}. The reference "
        "model is the stage before's, or --start_from's.",
    )
    upweight_errors: int = option(
        1,
        "How often a training sample counts that the reference model (the stage before's, or --start_from's) "
        "gets wrong (JTT).",
    )
    interpolate_with_start: list[float] | None = option(
        None,
        "End between the starting weights (0) and the trained ones (1): at this share of the way (WiSE-FT: "
        "0.5). Of several shares each is measured, and the best mean validation accuracy chooses.",
    )
    num_threads: int | None = option(
        None,
        "CPU threads of each process. Default: the cores shared out evenly (launchers would give one each).",
    )

    def __post_init__(self) -> None:
        if self.dataset_config is None:
            self.dataset_config = DEFAULT_CONFIGURATION if self.dataset_name == "colored_mnist" else "default"


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
