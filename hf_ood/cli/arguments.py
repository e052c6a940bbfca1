"""From a command line and a YAML recipe to the arguments of a run; errors name the nearest flag."""

from __future__ import annotations

import difflib
import json
import sys
from argparse import SUPPRESS, Action
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ..trainer import OODConfig
from ..trainer.methods import method_parts
from .command import command_line
from .parser import RunArguments, UsageError, make_parser, sections


@dataclass(frozen=True)
class Arguments:
    """A parsed command line. `options`: what dotted flags gave, by section; `given`: all that was given;
    `command`: the command line as it may be published."""

    run: RunArguments
    training: OODConfig
    options: dict[str, dict[str, Any]]
    given: dict[str, Any]
    command: str


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
    recipe = _recipe_flags(config) if config else []
    namespace, unknown = parser.parse_known_args(recipe + flags)
    _refuse_unknown([token for token in unknown if token.startswith("-")] or unknown, parser._actions, config)
    given = dict(sorted(vars(namespace).items()))
    options: dict[str, dict[str, Any]] = {}
    for_run: dict[str, Any] = {}
    for_training: dict[str, Any] = {}
    run_names = {field.name for field in fields(RunArguments)}
    for name, value in given.items():
        section, dot, key = name.partition(".")
        if dot:
            options.setdefault(section, {})[key] = value
        else:
            (for_run if name in run_names else for_training)[name] = value
    try:
        run = RunArguments(**for_run)
        chosen = {*method_parts(run.method), run.model, run.dataset_name}
        _refuse_useless(flags, chosen, run)
        training = OODConfig(**for_training)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error
    used = {name: values for name, values in options.items() if name in chosen}
    return Arguments(run, training, used, {"run": for_run, **used, "training": for_training}, command)


def _pop_config(flags: list[str]) -> tuple[str | None, list[str]]:
    for position, token in enumerate(flags):
        if token == "--config":
            if position + 1 == len(flags):
                raise UsageError("--config needs a file.")
            return flags[position + 1], flags[:position] + flags[position + 2 :]
        if token.startswith("--config="):
            return token.removeprefix("--config="), flags[:position] + flags[position + 1 :]
    return None, flags


def _recipe_flags(file: str) -> list[str]:
    """A recipe as the flags it stands for, so that it is parsed and checked exactly as they are."""
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
    known_sections = sections()
    tokens: list[str] = []
    for key, value in content.items():
        if key in known_sections and isinstance(value, dict):
            for name, inner in value.items():
                tokens += _tokens(f"{key}.{name}", inner)
        elif isinstance(value, dict) and key not in OODConfig.__dataclass_fields__:
            raise UsageError(f"{file}: {_unknown(str(key), list(known_sections), 'section')}")
        else:
            tokens += _tokens(str(key), value)
    return tokens


def _tokens(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    if isinstance(value, dict):
        return [f"--{name}", json.dumps(value)]
    return [f"--{name}={str(value).lower() if isinstance(value, bool) else value}"]


def _refuse_unknown(unknown: Sequence[str], actions: Sequence[Action], config: str | None) -> None:
    if not unknown:
        return
    known = [
        flag.lstrip("-") for action in actions for flag in action.option_strings if flag.startswith("--")
    ]
    name = unknown[0].lstrip("-").partition("=")[0]
    where = f" (in {config} or on the command line)" if config else ""
    raise UsageError(_unknown(name, known, "key") + where)


def _unknown(name: str, known: Sequence[str], what: str) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Unknown {what} {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")


def _refuse_useless(flags: Sequence[str], chosen: set[str], run: RunArguments) -> None:
    """A dotted flag of something that is not used would silently do nothing (recipes may keep such
    sections)."""
    for flag in flags:
        section, dot, _ = flag.removeprefix("--").partition("=")[0].partition(".")
        if flag.startswith("--") and dot and section in sections() and section not in chosen:
            raise ValueError(
                f"{flag.partition('=')[0]} has no effect with --method {run.method} --model {run.model} "
                f"--dataset_name {run.dataset_name}."
            )
