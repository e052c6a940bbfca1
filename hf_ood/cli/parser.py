"""The flags of a run: topics, defaults and help, from the dataclasses that own them."""

from __future__ import annotations

from argparse import (
    SUPPRESS,
    Action,
    ArgumentDefaultsHelpFormatter,
    ArgumentParser,
    RawDescriptionHelpFormatter,
)
from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import Field, fields
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

from ..data.reading import Reading
from ..discovery import INFERENCES
from ..errors import UsageError
from ..methods.last_layer import LAST_LAYERS
from ..methods.losses.by_name import NAME
from ..methods.registry import METHODS
from ..models import MODELS
from ..runs.adapters import LORA
from ..runs.flags import OTHERS, PARTS, flag, flag_name, run_fields
from ..runs.sections import LOSS, Option, sections
from ..runs.spec import RunSpec
from ..trainer import OODConfig
from .funnel import DEBUG_HELP

DESCRIPTION = """\
Train a classifier on several environments and report it on each of them.

  hf-ood train --config quickstart
  hf-ood train --config quickstart --method erm irm+rsc --seeds 3        compares methods over seeds
  hf-ood train --method irm+rsc --irm.penalty_weight 100 --dataset_config unseen_colors
  hf-ood train --dataset scans.csv --environment_column hospital \\
      --test_environments C --model google/vit-base-patch16-224 --method irm
  torchrun --nproc_per_node 2 -m hf_ood train --config quickstart

Flags override the recipe. In a recipe a dotted flag is a section: `irm: {penalty_weight: 100}`. A recipe may
have `stages`, a list of names with the flags that each changes: as in --config disentangled_vae."""


class HelpFormatter(RawDescriptionHelpFormatter, ArgumentDefaultsHelpFormatter):
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
    """HfArgumentParser over the options of a run, grouped by topic."""

    def add_run_options(self) -> None:
        known = run_fields()
        hints = {"training": get_type_hints(OODConfig), "": get_type_hints(RunSpec)}
        hints |= {part: get_type_hints(cls) for part, cls in PARTS.items()}
        topics = dict.fromkeys(flag(field).topic for _, field in known.values())
        ordered = [*(topic for topic in topics if topic != OTHERS), OTHERS]
        groups: dict[str, Any] = {topic: self.add_argument_group(topic) for topic in ordered}
        for part, field in known.values():
            self._parse_dataclass_field(groups[flag(field).topic], _as_flag(field, hints[part][field.name]))

    def error(self, message: str) -> Any:
        raise UsageError(f"{message}\nSee --help.")


def _as_flag(field: Field[Any], hint: Any) -> Field[Any]:
    """The field as HfArgumentParser reads it: under the name of its flag, its type resolved."""
    own, aliases = copy(field), [f"--{alias}" for alias in flag(field).aliases]
    own.name, own.type = flag_name(field), hint
    own.metadata = MappingProxyType({"help": field.metadata["help"], "aliases": aliases})
    return own


def make_parser() -> ArgumentParser:
    parser = _Parser(
        [],
        description=DESCRIPTION,
        allow_abbrev=False,
        usage="%(prog)s [--config FILE] [flags]",
        formatter_class=HelpFormatter,
    )
    parser.add_run_options()
    for action in parser._actions:
        if action.dest == "method":
            action.nargs = "+"
        elif action.dest == "debug":
            action.help = f"{DEBUG_HELP} With a value, as TrainingArguments has it: {action.help}"
    parser.add_argument(
        "--seeds",
        type=int,
        help="Train with the seeds 0, 1, ..., so many, and compare; so are several methods after --method.",
    )
    parser.add_argument(
        "--config", help="A YAML recipe: a file of flags, overridden by those on the command line."
    )
    parser.add_argument(
        "--class_weights",
        nargs="+",
        help="What samples count by their class: balanced (every class the same in the training data), or a "
        "number for each class in the order of the labels (1,5). The same as --loss.class_weights.",
    )
    for section, options in sections().items():
        group = parser.add_argument_group(f"{_kind(section)} {section}")
        if section == LOSS:
            named, options = options[NAME], {key: own for key, own in options.items() if key != NAME}
            flags, owner = (f"--{LOSS}", f"--{LOSS}.{NAME}"), f"{LOSS}.{NAME}"
            group.add_argument(*flags, dest=owner, help=named.help, metavar="NAME", default=named.default)
        add_options(group, options, f"{section}.")
    return parser


def _kind(section: str) -> str:
    kinds: dict[str, Collection[str]] = {
        "method": METHODS,
        "model": MODELS,
        "environments": INFERENCES,
        "fit": LAST_LAYERS,
        "adapters": [LORA],
        "samples'": [LOSS],
    }
    return next((kind for kind, members in kinds.items() if section in members), "dataset")


def add_options(group: Any, options: Mapping[str, Option], prefix: str = "") -> None:
    """A flag for every option of `sections`."""
    for name, option in options.items():
        default = option.default
        many = isinstance(default, (list, tuple))
        example = default[0] if many else default
        kind_of = get_args(option.hint)[0] if example is None else type(example)  # int | None
        group.add_argument(
            f"--{prefix}{name}",
            default=default,
            help=option.help.replace("%", "%%"),
            nargs="+" if many else None,
            type=string_to_bool if kind_of is bool else kind_of,
            metavar=name.upper(),
        )


def add_reading(parser: Any) -> None:
    """The flags that say how files are read, `Reading`, for a command that reads one split."""
    for field in fields(Reading):
        if field.name != "ignore_splits":
            switch = field.default is False
            parser.add_argument(
                f"--{field.name}",
                default=field.default,
                help=field.metadata["help"],
                **({"action": "store_true"} if switch else {}),
            )


def reading_of(arguments: Any) -> Reading:
    """What those flags say."""
    there = vars(arguments)
    return Reading(**{field.name: there[field.name] for field in fields(Reading) if field.name in there})
