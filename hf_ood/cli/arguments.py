"""From a command line, with its recipe, to the spec of a run; errors name the nearest flag."""

from __future__ import annotations

import json
import sys
from argparse import SUPPRESS, Action
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..resources import recipe_file
from ..runs.network import MODEL_CONFIG
from ..runs.published_command import command_line
from ..runs.recipe import Recipe, read_recipe
from ..runs.sections import sections
from ..runs.settings import (
    STAGES,
    Settings,
    SettingsError,
    canonical,
    changeable,
    chosen_sections,
    merge,
    unknown_setting,
)
from ..runs.several import different_runs, split_up
from ..runs.spec import RunSpec
from ..runs.stages import changed_by
from .help_pages import first_page, page
from .parser import make_parser

HELP = {"-h", "--help"}
COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Parsed:
    """A command line with its recipe: `recipe` is what flags made of it, `given` the flags alone."""

    recipe: Recipe
    given: Settings
    command: str

    def spec(self) -> RunSpec:
        """The run. Raises `UsageError` for what it cannot be, and for flags that would do nothing."""
        with told_to_the_user():
            spec = self.recipe.spec(self.command)
        refuse_useless(self.given, [spec])
        return spec

    def specs(self) -> tuple[list[RunSpec], Path]:
        """Of several methods or seeds: their runs, and the folder that they share."""
        with told_to_the_user():
            try:
                runs, folder = split_up(self.recipe.settings, self.recipe.beside)
            except SettingsError as error:
                raise ValueError(f"{self.recipe.where(error.path)}: {error}") from error
            specs = different_runs([replace(self.recipe, settings=run).spec() for run in runs])
        refuse_useless(self.given, specs)
        return specs, folder


def parse(argv: Sequence[str] | None = None) -> Parsed:
    """Parse flags (default: the process's own) and read the recipe. Raises `UsageError`."""
    flags = list(sys.argv[1:] if argv is None else argv)
    command = command_line("trainers/train.py", flags)
    if HELP & set(flags):
        print_help(flags)
    name, flags = _pop_config(flags)
    with told_to_the_user():
        given = canonical(parse_flags(flags))
        recipe = read_recipe(recipe_file(name)) if name else Recipe(COMMAND_LINE, {}, {})
        return Parsed(_with_flags(recipe, given), given, command)


def parse_arguments(argv: Sequence[str] | None = None) -> RunSpec:
    """The run of a command line (default: the process's own). Raises `UsageError`."""
    return parse(argv).spec()


@contextmanager
def told_to_the_user() -> Iterator[None]:
    """Mistakes in settings and files become a message."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise UsageError(str(error).removeprefix(f"{COMMAND_LINE}: ")) from error


def print_help(flags: Sequence[str]) -> None:
    """`--help`: a page; `--help irm`: everything of irm."""
    position = next(number for number, flag in enumerate(flags) if flag in HELP)
    topic = flags[position + 1] if position + 1 < len(flags) else None
    print(first_page() if topic is None or topic.startswith("-") else page(topic), end="")  # noqa: T201
    raise SystemExit(0)


def parse_flags(flags: Sequence[str]) -> Settings:
    """Only what was given, as the settings that a recipe would have: the dataclasses know the defaults."""
    parser = make_parser()
    for action in parser._actions:
        action.default = SUPPRESS
    tokens, model_config = take_model_config(flags)
    namespace, unknown = parser.parse_known_args(tokens)
    _refuse_unknown([token for token in unknown if token.startswith("-")] or unknown, parser._actions)
    settings: Settings = {MODEL_CONFIG: model_config} if model_config else {}
    for name, value in vars(namespace).items():
        section, dot, key = name.partition(".")
        if dot:
            settings.setdefault(section, {})[key] = value
        else:
            settings[name] = value
    if len(methods := settings.get("method", [])) == 1:
        settings["method"] = methods[0]
    return settings


def _with_flags(recipe: Recipe, given: Settings) -> Recipe:
    """Flags override the recipe, in every stage."""
    settings = merge(canonical(recipe.settings), given)
    if STAGES in settings and isinstance(settings[STAGES], list):
        settings[STAGES] = [
            merge(canonical(stage), changed_by(changeable(given), stage))
            if isinstance(stage, dict)
            else stage
            for stage in settings[STAGES]
        ]
    return replace(recipe, settings=settings)


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


def _pop_config(flags: list[str]) -> tuple[str | None, list[str]]:
    for position, token in enumerate(flags):
        if token == "--config":
            if position + 1 == len(flags):
                raise UsageError("--config needs a file.")
            return flags[position + 1], flags[:position] + flags[position + 2 :]
        if token.startswith("--config="):
            return token.removeprefix("--config="), flags[:position] + flags[position + 1 :]
    return None, flags


def _refuse_unknown(unknown: Sequence[str], actions: Sequence[Action]) -> None:
    if unknown:
        strings = [string for action in actions for string in action.option_strings]
        known = [string.lstrip("-") for string in strings if string.startswith("--")]
        raise UsageError(unknown_setting("key", unknown[0].lstrip("-").partition("=")[0], known))


def refuse_useless(given: Settings, specs: Sequence[RunSpec]) -> None:
    """A dotted flag of something that is not used would silently do nothing (recipes may keep such
    sections)."""
    parts = [part for spec in specs for part in spec.stages.values() or [spec]]
    chosen = set().union(*map(chosen_sections, parts))
    for section in {*sections(), MODEL_CONFIG} & set(given) - chosen:
        network = specs[0].network.config_name or specs[0].network.model
        methods = " ".join(dict.fromkeys(spec.method.name for spec in specs))
        raise UsageError(
            f"--{section}.{next(iter(given[section]))} has no effect with --method {methods}, the model "
            f"{network} and --dataset {specs[0].data.dataset}."
        )
