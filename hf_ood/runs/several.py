"""Several runs of one recipe: its methods, each with several seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..methods.registry import method_parts
from ..names import file_name
from .folder import processes_told
from .settings import STAGES, Settings, SettingsError, canonical, comparable_settings, merge
from .spec import RunSpec

logger = logging.get_logger(__name__)
SEEDS = "seeds"


def is_several(settings: Mapping[str, Any]) -> bool:
    """Whether more than one method is named, or a number of seeds."""
    return SEEDS in settings or isinstance(settings.get("method"), list)


def split_up(
    settings: Mapping[str, Any], beside: Mapping[str, Settings] | None = None
) -> tuple[list[Settings], Path]:
    """`method: [erm, irm]` and `seeds: 3` -> the settings of each run, seed by seed, and their common folder.

    `beside`: further runs by name, each with the settings in which it differs.

    Each run has a folder of its own in the common one: `output_dir`, or `runs/<hash of the settings>`. Raises
    `SettingsError` for what does not go together.
    """
    whole = canonical(settings)
    given = whole.pop("method", "erm")
    methods = [given] if isinstance(given, str) else list(given)
    if len(set(methods)) < len(methods):
        raise SettingsError(f"method: {', '.join(methods)}: name each once.", ["method"])
    number = whole.pop(SEEDS, 1)
    if not isinstance(number, int) or number < 1:
        raise SettingsError(f"{SEEDS}: a number of at least 1, not {number!r}.", [SEEDS])
    for name in (STAGES, "push_to_hub"):
        if whole.get(name):
            raise SettingsError(f"{name} is of one run: name one method and no {SEEDS}.", [name])
    if "seed" in whole and number > 1:
        raise SettingsError(f"{SEEDS} are 0, 1, ...: leave seed out.", ["seed"])
    for method in methods:
        method_parts(method)
    changes: dict[str, Settings] = {method: {"method": method} for method in methods}
    changes |= {name: canonical(entry) for name, entry in (beside or {}).items()}
    folder = Path(whole.pop("output_dir", None) or _default_folder(whole, methods))
    runs = []
    for seed in range(number):
        for name, change in changes.items():
            own = {"method": "erm", **merge(whole, change), "seed": whole.get("seed", seed)}
            own["output_dir"] = str(folder / f"{file_name(name.replace('+', '-'))}-seed{own['seed']}")
            runs.append(own)
    return runs, folder


def different_runs(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """Without those that repeat an earlier one, as what is beside a recipe's methods does where flags choose
    another network, or the same input."""
    found: dict[str, RunSpec] = {}
    for spec in specs:
        first = found.setdefault(repr(sorted(comparable_settings(spec).items())), spec)
        if first is not spec:
            logger.warning(f"{spec.folder.name} is the same run as {first.folder.name} here: left out.")
    return [*found.values()]


def _default_folder(settings: Settings, methods: list[str]) -> str:
    ignored = ("resume_from_checkpoint", "disable_tqdm", "num_threads")
    content = sorted((name, repr(value)) for name, value in settings.items() if name not in ignored)
    digest = hashlib.sha256(repr(content + processes_told()).encode()).hexdigest()[:6]
    return f"runs/{'-and-'.join(methods).replace('+', '-')}-{digest}"
