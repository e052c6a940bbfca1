"""What a bench runs on: a recipe, and what it says about methods and budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ...errors import unknown_name
from ...resources import BENCH, recipe_file
from ...runs.recipe import BENCH as BENCH_SECTION
from ...runs.recipe import Recipe, read_recipe
from ...runs.settings import STAGES, Settings, canonical, merge

VARIED = ("method", "test_environments", "seed", "output_dir")  # what a bench chooses itself


@dataclass(frozen=True)
class Amount:
    """How much a budget tries. `settings`: what else it changes. `methods`: None for all that go."""

    methods: list[str] | None = None
    trials: int | None = None
    seeds: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)


QUICK_METHODS = ["erm", "irm", "vrex", "group_dro", "sd", "rsc", "mixup", "ema"]
# Beside single methods, where all are asked for: averaged weights with what acts elsewhere.
COMBINATIONS = ("vrex+ema", "group_dro+ema", "rsc+ema", "mixup+ema", "irm+rsc")
USUAL = {"quick": Amount(QUICK_METHODS, trials=2, seeds=3), "full": Amount(trials=10, seeds=5)}


@dataclass(frozen=True)
class Section:
    """The section `bench` of a recipe, all of it optional.

    `title`: what the data and the network are, for a heading. `note`: what a reader of the table has to know.
    `arms`: further rows beside methods, by name: the settings in which each differs (`method` among them).
    `quick`, `full`: what each budget tries here, where not the usual. `by_default`: whether it takes part
    where no data are named.
    """

    title: str = ""
    note: str = ""
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)
    quick: Amount = field(default_factory=Amount)
    full: Amount = field(default_factory=Amount)
    by_default: bool = False


@dataclass(frozen=True)
class Configuration:
    """A recipe as a bench runs it. `settings`: of every run, with one name for each option."""

    name: str
    settings: Settings
    section: Section

    def amount(self, budget: str) -> Amount:
        """What a budget tries here: what the recipe says, otherwise the usual."""
        own: Amount = getattr(self.section, budget)
        usual = USUAL[budget]
        methods = own.methods if own.methods is not None else usual.methods
        return Amount(methods, own.trials or usual.trials, own.seeds or usual.seeds, own.settings)

    def with_budget(self, budget: str) -> Settings:
        """The settings of all runs at a budget."""
        return merge(self.settings, canonical(self.amount(budget).settings))


def named_configurations() -> dict[str, Path]:
    """The package's own, by name."""
    return {file.stem: file for file in sorted(BENCH.glob("*.yaml"))}


def default_names() -> list[str]:
    """Those that are run where no data are named."""
    return [name for name, file in named_configurations().items() if read(file).section.by_default]


def find(name: str) -> Path:
    """The recipe of a bench: one of the package's own by its name, or any recipe by its path. Raises
    `ValueError`."""
    own = named_configurations()
    if name in own:
        return own[name]
    if Path(name).suffix in (".yaml", ".yml") or Path(name).is_file():
        return recipe_file(name)
    raise ValueError(
        f"{unknown_name('data of a bench', name, list(own))} Name a recipe of your own by its path."
    )


def read(file: Path) -> Configuration:
    """Raises `ValueError`, with the line, for what cannot be read, and for settings that a bench chooses
    itself."""
    recipe = read_recipe(file)
    section = _section(recipe)
    settings = canonical(recipe.settings)
    for name in ("test_environments", STAGES):
        if settings.get(name):
            raise ValueError(
                f"{recipe.where([name])}: a bench holds every environment out in turn and trains in one "
                f"stage: leave {name} out."
            )
    for name in VARIED:
        settings.pop(name, None)
    return Configuration(file.stem, settings, section)


def _section(recipe: Recipe) -> Section:
    content: Any = recipe.bench
    known = [each.name for each in fields(Section)]
    for key in content if isinstance(content, Mapping) else ():
        if key not in known:
            raise ValueError(f"{recipe.where([BENCH_SECTION, key])}: {unknown_name('key', key, known)}")
    try:
        return TypeAdapter(Section).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        path: Sequence[Any] = (BENCH_SECTION, *first["loc"])
        raise ValueError(f"{recipe.where(path)}: {'.'.join(map(str, path))}: {first['msg']}.") from error
