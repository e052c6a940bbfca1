"""What a study is: base settings, arms as differences, seeds, the quantities compared, the claims tested."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import yaml

from ..cli.datasets import BUILT_IN
from ..errors import unknown_name
from ..methods.registry import METHODS, method_parts

Settings = dict[str, Any]  # flags of train.py; a section such as `irm` is a dict
BUDGETS = ("quick", "full")
ONLY_SHOW = ("reporting", "hub", "studies", "sweeps")  # rooms that change no result of a run


@dataclass(frozen=True)
class Claim:
    """`better` has the larger `measure` than `than` (smaller squared error), says the report in these words.

    `than_measure`: what is read of `than`, if not the same measure (a stage's figure against the final one).
    """

    text: str
    better: str
    than: str
    measure: str = "mean_accuracy"
    than_measure: str | None = None


@dataclass(frozen=True)
class Selection:
    """Which arm of each group a rule would choose, and what it is worth.

    `groups`: arms to choose among, by method. `rules`: the measure that chooses (its mean over seeds), by a
    name that says whether it is an oracle. `measure`: what is then reported.
    """

    groups: Mapping[str, Sequence[str]]
    rules: Mapping[str, str]
    measure: str = "mean_accuracy"


@dataclass(frozen=True)
class Picture:
    """A picture that the first seed's run of an arm leaves behind as `file`."""

    title: str
    arm: str
    file: str

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", f"{self.arm}-{Path(self.file).stem}".lower())

    def kept_as(self, study: str) -> str:
        """Its file's name beside the tables."""
        return f"{study}-{self.slug}{Path(self.file).suffix}"


@lru_cache
def code_hash() -> str:
    """Changes with every edit of the code that a run's results depend on."""
    package = Path(__file__).parents[1]
    files = sorted(
        file for file in package.glob("*/**/*.py") if file.relative_to(package).parts[0] not in ONLY_SHOW
    )
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@dataclass(frozen=True)
class Run:
    """One training run: an arm with a seed. `key` changes with everything that determines its results."""

    study: str
    arm: str
    seed: int
    settings: Settings
    explain: bool = False

    @property
    def key(self) -> str:
        content = [self.settings, self.seed, code_hash(), torch.__version__]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]

    def folder(self, root: Path) -> Path:
        """The same for the same run in another study, so that it is carried out once."""
        data = Path(self.settings.get("dataset_name", "")).name
        what = [self.settings.get("dataset_config") or data, self.settings.get("method", "erm")]
        return root / f"{re.sub('[^a-z0-9_]+', '-', '-'.join(what))}-seed{self.seed}-{self.key}"

    def recipe(self, root: Path) -> Settings:
        """The recipe of train.py that is this run.

        One thread a run: its numbers then do not depend on how many runs share the machine.
        """
        own = {"seed": self.seed, "output_dir": str(self.folder(root)), "num_threads": 1}
        data = self.settings.get("dataset_name", "colored_mnist")
        return merge({data: {"seed": self.seed}} if data in BUILT_IN else {}, own, self.settings)


@dataclass(frozen=True)
class Study:
    """One figure or table of the report, or a question beyond it.

    `settings`: flags of train.py that all arms share. `arms`: what each changes. `budgets`: what `quick` and
    `full` change, and their number of `seeds`. `measures`: the columns of the table: `mean_accuracy`,
    `worst_accuracy`, `train_accuracy`, `validation_accuracy`, `gap`, `mean_squared_error` (of a regression),
    the name of an environment (its accuracy), or one of these in another configuration that is tested too
    (`fixed_colors/mean_accuracy`) or after a stage (`pretrain/mean_accuracy`; an arm without stages has
    none).
    `report`: the report's own figures in percent, by arm and measure. `claims`: comparisons that the report
    makes. `selection`: how hyper-parameters could be chosen among the arms. `pictures`: what runs leave
    behind that the page shows. `cards`: arms of which `model_cards/` holds a card. `explain`: look
    into every run with Grad-CAM; `digit_share` (its share on the digit) and `digit_area` (that of an even
    map) are measures then. `order`: its place on the page. `note`: what a
    reader has to know.
    """

    name: str
    title: str
    arms: Mapping[str, Settings]
    settings: Settings = field(default_factory=dict)
    budgets: Mapping[str, Settings] = field(default_factory=dict)
    measures: Sequence[str] = ("mean_accuracy",)
    report: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    claims: Sequence[Claim] = ()
    selection: Selection | None = None
    pictures: Sequence[Picture] = ()
    cards: Sequence[str] = ()
    explain: bool = False
    order: int = 100
    curve: str | None = None
    note: str = ""

    def runs(self, budget: str, seeds: int | None = None, only: Sequence[str] = ()) -> list[Run]:
        """Seed by seed, so that an interrupted study has whole comparisons.

        Raises `ValueError` for an unknown arm or budget.
        """
        if budget not in BUDGETS:
            raise ValueError(unknown_name("budget", budget, list(BUDGETS)))
        for arm in only:
            if arm not in self.arms:
                raise ValueError(unknown_name("arm", arm, list(self.arms)))
        extra = dict(self.budgets.get(budget, {}))
        count = seeds or extra.pop("seeds", 5)
        extra.pop("seeds", None)
        return [
            Run(self.name, arm, seed, used(merge(self.settings, extra, changes or {})), self.explain)
            for seed in range(count)
            for arm, changes in self.arms.items()
            if not only or arm in only
        ]


def used(settings: Settings) -> Settings:
    """Without sections of methods that are not used: what is the same run has the same settings."""
    methods = [stage.get("method") for stage in settings.get("stages", [])] + [settings.get("method", "erm")]
    unused = set(METHODS) - {part for method in methods if method for part in method_parts(method)}
    return {name: value for name, value in settings.items() if name not in unused}


def merge(*parts: Mapping[str, Any]) -> Settings:
    """Later parts win; sections are merged key by key."""
    merged: Settings = {}
    for part in parts:
        for name, value in part.items():
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            merged[name] = {**merged[name], **value} if both else value
    return merged


def study_files(folder: Path) -> dict[str, Path]:
    """The studies of a folder by name: YAML files that have arms (a recipe of train.py has none)."""
    return {
        path.stem: path
        for path in sorted(folder.glob("*.yaml"))
        if "arms" in (yaml.safe_load(path.read_text()) or {})
    }


def load_study(path: Path) -> Study:
    """Read and check a study. Raises `ValueError` naming the file and the nearest key."""
    content = yaml.safe_load(path.read_text())
    known = [f.name for f in fields(Study) if f.name != "name"]
    for key in content:
        if key not in known:
            raise ValueError(f"{path}: {unknown_name('key', key, known)}")
    for missing in {"title", "arms"} - set(content):
        raise ValueError(f"{path} lacks {missing!r}.")
    claims = [Claim(**claim) for claim in content.pop("claims", [])]
    pictures = [Picture(**picture) for picture in content.pop("pictures", [])]
    selection = Selection(**content.pop("selection")) if "selection" in content else None
    study = Study(name=path.stem, claims=claims, pictures=pictures, selection=selection, **content)
    arms = [arm for claim in claims for arm in (claim.better, claim.than)]
    arms += [*study.cards, *(picture.arm for picture in pictures)]
    measures = [name for claim in claims for name in (claim.measure, claim.than_measure) if name]
    if selection:
        arms += [arm for group in selection.groups.values() for arm in group]
        measures += [*selection.rules.values(), selection.measure]
    for kind, names, known in (("arm", arms, list(study.arms)), ("measure", measures, list(study.measures))):
        for name in names:
            if name not in known:
                raise ValueError(f"{path}: {unknown_name(kind, name, known)}")
    return study
