"""A recipe as the flags that are the same run without it."""

from __future__ import annotations

from pathlib import Path

from .arguments import _tokens, parse_arguments


def standalone_flags(recipe: Path) -> list[str]:
    """The flags of `hf-ood train` that a recipe stands for, sections without effect left out, so that the
    command that a run records can be repeated without the file.

    Stages have no flags: a recipe with stages remains `--config FILE`. Raises `UsageError` for a wrong
    recipe.
    """
    arguments = parse_arguments(["--config", str(recipe)])
    if arguments.stages:
        return ["--config", str(recipe)]
    flags = []
    for section, values in arguments.given.items():
        prefix = "" if section in ("run", "training") else f"{section}."
        for name, value in values.items():
            flags += _tokens(f"{prefix}{name}", value)
    return flags
