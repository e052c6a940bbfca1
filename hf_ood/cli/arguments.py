"""From a command line and a YAML recipe to the arguments of a run; errors name the nearest flag."""

from __future__ import annotations

import difflib
import json
import sys
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from ..models import MODELS
from ..trainer import OODConfig
from ..trainer.methods import method_parts
from .adapters import LORA
from .command import command_line
from .models import MODEL_CONFIG, model_section, take_model_config
from .parser import LOSS, UsageError, make_parser, sections
from .run_arguments import RunArguments
from .stages import read_stages

CLASS_WEIGHTS = "class_weights"


@dataclass(frozen=True)
class Arguments:
    """A parsed command line. `options`: what dotted flags gave, by section; `given`: all that was given.

    `stages`: the same for each stage of the recipe, by name and in order; a stage itself has none.
    `command`: the command line as it may be published.
    """

    run: RunArguments
    training: OODConfig
    options: dict[str, dict[str, Any]]
    given: dict[str, Any]
    stages: dict[str, Arguments] = field(default_factory=dict)
    command: str = ""

    @property
    def folder(self) -> Path:
        """Where it is trained and leaves its results."""
        return Path(str(self.training.output_dir))


def parse_arguments(argv: Sequence[str] | None = None) -> Arguments:
    """Parse flags (default: the process's own). A wrong command line raises `UsageError`."""
    flags = list(sys.argv[1:] if argv is None else argv)
    command = command_line("trainers/train.py", flags)
    parser = make_parser()
    if {"-h", "--help"} & set(flags):
        for action in parser._actions:
            if action.option_strings[0].startswith("--no_"):
                action.help = SUPPRESS
        parser.print_help()
        raise SystemExit(0)
    for action in parser._actions:
        action.default = SUPPRESS  # only what was given is kept: the dataclasses know the defaults
    config, flags = _pop_config(flags)
    recipe = _read_recipe(config) if config else {}
    try:
        changes = read_stages(recipe.pop("stages"), list(MODELS)) if "stages" in recipe else {}
    except ValueError as error:
        raise UsageError(f"{config}: {error}") from error
    tokens = _recipe_flags(recipe, f"{config}")
    whole = _parse(parser, tokens + flags, config)
    stages = {}
    for name, changed in changes.items():
        where = f"stage {name!r} of {config}"
        stage = _parse(parser, tokens + _recipe_flags(changed, where) + flags, where)
        stages[name] = replace(stage, command=command)
    _refuse_useless(flags, whole.run, set().union(*map(_chosen, stages.values() or [whole])))
    return replace(whole, stages=stages, command=command)


def _parse(parser: ArgumentParser, tokens: list[str], source: str | None) -> Arguments:
    """Sort what the flags give into the dataclasses; `source` is named in errors."""
    tokens, model_config = take_model_config(tokens)
    namespace, unknown = parser.parse_known_args(tokens)
    _refuse_unknown([token for token in unknown if token.startswith("-")] or unknown, parser._actions, source)
    given = dict(sorted(vars(namespace).items()))
    options: dict[str, dict[str, Any]] = {MODEL_CONFIG: model_config} if model_config else {}
    for_run: dict[str, Any] = {}
    for_training: dict[str, Any] = {}
    run_names = {field.name for field in fields(RunArguments)}
    for name, value in given.items():
        section, dot, key = name.partition(".")
        if dot:
            options.setdefault(section, {})[key] = value
        else:
            (for_run if name in run_names else for_training)[name] = value
    if CLASS_WEIGHTS in for_run:  # another spelling of the loss's option
        if CLASS_WEIGHTS in options.get(LOSS, {}):
            where = f" ({source} and the command line)" if source else ""
            raise UsageError(
                f"--{CLASS_WEIGHTS} and --{LOSS}.{CLASS_WEIGHTS} are the same option, and both are given"
                f"{where}: leave one out."
            )
        options.setdefault(LOSS, {})[CLASS_WEIGHTS] = ",".join(for_run.pop(CLASS_WEIGHTS))
    run = RunArguments(**for_run)
    try:
        method_parts(run.method)
        model_section(run)
        training = OODConfig(**for_training)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error
    arguments = Arguments(run, training, options, {})
    used = {name: values for name, values in options.items() if name in _chosen(arguments)}
    return replace(arguments, options=used, given={"run": for_run, **used, "training": for_training})


def _chosen(arguments: Arguments) -> set[str]:
    """The sections that have an effect."""
    run = arguments.run
    return {
        *method_parts(run.method),
        model_section(run),
        run.dataset_name,
        run.infer_environments,
        LORA,
        LOSS,
    }


def recorded_arguments(file: Path) -> Arguments:
    """The arguments of a run from the note in its folder: flat `section.key` lines.

    Those of its stages, which begin with the stage's number, are left out.
    """
    recorded = yaml.safe_load(file.read_text())
    flags = []
    for name, value in recorded.items():
        if not name[0].isdigit():
            flags += _tokens(name.removeprefix("run.").removeprefix("training."), value)
    return parse_arguments(flags)


def _pop_config(flags: list[str]) -> tuple[str | None, list[str]]:
    for position, token in enumerate(flags):
        if token == "--config":
            if position + 1 == len(flags):
                raise UsageError("--config needs a file.")
            return flags[position + 1], flags[:position] + flags[position + 2 :]
        if token.startswith("--config="):
            return token.removeprefix("--config="), flags[:position] + flags[position + 1 :]
    return None, flags


def _read_recipe(file: str) -> dict[str, Any]:
    path = Path(file)
    if not path.is_file():
        near = [str(recipe) for recipe in sorted(path.parent.glob("*.yaml"))]
        there = f" There are: {', '.join(near)}." if near else ""
        raise UsageError(f"There is no recipe {file}.{there}")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{file} must hold `flag: value` lines.")
    return content


def _recipe_flags(content: dict[str, Any], source: str) -> list[str]:
    """A recipe as the flags it stands for, so that it is parsed and checked exactly as they are."""
    known_sections = {*sections(), MODEL_CONFIG}
    tokens: list[str] = []
    for key, value in content.items():
        if key in known_sections and isinstance(value, dict):
            for name, inner in value.items():
                tokens += _tokens(f"{key}.{name}", inner)
        elif isinstance(value, dict) and key not in OODConfig.__dataclass_fields__:
            raise UsageError(f"{source}: {_unknown(str(key), list(known_sections), 'section')}")
        else:
            tokens += _tokens(str(key), value)
    return tokens


def _tokens(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if name.startswith(f"{MODEL_CONFIG}.") and not isinstance(value, str):
        return [f"--{name}={json.dumps(value)}"]
    if name == f"{LOSS}.{CLASS_WEIGHTS}" and isinstance(value, list):
        return [f"--{name}", ",".join(map(str, value))]
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    if isinstance(value, dict):
        return [f"--{name}", json.dumps(value)]
    return [f"--{name}={str(value).lower() if isinstance(value, bool) else value}"]


def _refuse_unknown(unknown: Sequence[str], actions: Sequence[Action], source: str | None) -> None:
    if not unknown:
        return
    known = [
        flag.lstrip("-") for action in actions for flag in action.option_strings if flag.startswith("--")
    ]
    name = unknown[0].lstrip("-").partition("=")[0]
    where = f" (in {source} or on the command line)" if source else ""
    raise UsageError(_unknown(name, known, "key") + where)


def _unknown(name: str, known: Sequence[str], what: str) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Unknown {what} {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")


def _refuse_useless(flags: Sequence[str], run: RunArguments, chosen: set[str]) -> None:
    """A dotted flag of something that is not used would silently do nothing (recipes may keep such
    sections)."""
    for flag in flags:
        section, dot, _ = flag.removeprefix("--").partition("=")[0].partition(".")
        if flag.startswith("--") and dot and section in {*sections(), MODEL_CONFIG} and section not in chosen:
            network = run.model_name_or_path or run.config_name or run.model
            raise UsageError(
                f"{flag.partition('=')[0]} has no effect with --method {run.method}, the model {network} and "
                f"--dataset_name {run.dataset_name}."
            )
