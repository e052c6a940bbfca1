"""What a study is: base settings, arms as differences, seeds, the quantities compared, the claims tested."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ...errors import unknown_name
from ...evaluation.verdicts import MARGIN
from ...runs.settings import Settings, merge
from ...yaml_files import KeyPath, read_mapping
from ..keyed_run import Run, used

BUDGETS = ("quick", "full")
LEFT_OUT = "left_out"  # of a selection's rules


@dataclass(frozen=True)
class Claim:
    """`better` has the larger `measure` than `than` (smaller squared error), says the report in these words.

    `than_measure`: what is read of `than`, if not the same measure (a stage's figure against the final one).
    `margin`: what counts as no difference, where that is not the study's.
    """

    text: str
    better: str
    than: str
    measure: str = "mean_accuracy"
    than_measure: str | None = None
    margin: float | None = None


@dataclass(frozen=True)
class Selection:
    """Which arm of each group a rule would choose, and what it is worth.

    `groups`: arms to choose among, by method. `rules`: the measure that chooses (its mean over seeds), by a
    name that says whether it is an oracle; `left_out` is the `measure` on an environment that a run left out
    of its training, mean over those of `leave_out`: each candidate of the groups in `left_out_groups` then
    has an arm more for each of them, with what the budget changes under `left_out`. `measure`: what is then
    reported.
    """

    groups: Mapping[str, Sequence[str]]
    rules: Mapping[str, str]
    measure: str = "mean_accuracy"
    leave_out: Sequence[str] = ()
    left_out_groups: Sequence[str] = ()

    @property
    def candidates(self) -> list[str]:
        """The arms that are also trained without one environment each."""
        return list(dict.fromkeys(arm for group in self.left_out_groups for arm in self.groups[group]))

    def folds(self, arm: str) -> list[str]:
        """The arms that train without one environment each."""
        return [f"{arm}, left out: {environment}" for environment in self.leave_out]

    def fold_arms(self, arms: Mapping[str, Settings]) -> dict[str, Settings]:
        """What each of these arms changes."""
        found = {}
        for arm in self.candidates:
            for fold, environment in zip(self.folds(arm), self.leave_out, strict=True):
                others = [name for name in self.leave_out if name != environment]
                split = {"train_environments": others, "test_environments": [environment]}
                found[fold] = merge(arms[arm] or {}, split)
        return found


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


@dataclass(frozen=True)
class Study:
    """One figure or table of the report, or a question beyond it.

    `settings`: flags of train.py that all arms share. `arms`: what each changes. `budgets`: what `quick` and
    `full` change, and their number of `seeds`. `measures`: the columns of the table: `mean_accuracy`,
    `worst_accuracy`, `train_accuracy`, `validation_accuracy`, `gap`, `mean_squared_error` (of a regression),
    the name of an environment (its accuracy), or one of these in another configuration that is tested too
    (`fixed_colors/mean_accuracy`) or after a stage (`pretrain/mean_accuracy`; an arm without stages has
    none).
    `report`: the report's own figures in percent, by arm and measure; `source` says whose they are, if not
    the report's, `report_runs` of how many runs they are the mean, `also_printed` what others print, by
    source. `margin`: how many points still count as no difference. `claims`: comparisons that the report
    makes. `selection`: how hyper-parameters could be chosen among the arms. `pictures`: what runs leave
    behind that the page shows. `cards`: arms of which `model_cards/` holds a card. `explain`: look
    into every run with Grad-CAM; `digit_share` (its share on the digit) and `digit_area` (that of an even
    map) are measures then. `order`: its place on the page. `note`: what a
    reader has to know.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(coerce_numbers_to_str=True)  # arms "0.1"

    name: str
    title: str
    arms: Mapping[str, Settings]
    settings: Settings = field(default_factory=dict)
    budgets: Mapping[str, Settings] = field(default_factory=dict)
    measures: Sequence[str] = ("mean_accuracy",)
    report: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    source: str = "report"
    report_runs: int = 1
    also_printed: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    margin: float = MARGIN
    claims: Sequence[Claim] = ()
    selection: Selection | None = None
    pictures: Sequence[Picture] = ()
    cards: Sequence[str] = ()
    explain: bool = False
    order: int = 100
    curve: str | None = None
    note: str = ""

    def seeds(self, budget: str) -> int:
        """How many the study states."""
        return self.budgets.get(budget, {}).get("seeds", 5)

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
        extra.pop("seeds", None)
        of_folds = extra.pop(LEFT_OUT, {})
        chosen = self.selection
        folds = {fold for arm in chosen.candidates for fold in chosen.folds(arm)} if chosen else set()
        changed = {
            arm: merge(self.settings, extra, of_folds if arm in folds else {}, changes or {})
            for arm, changes in self.arms.items()
        }
        return [
            Run(self.name, arm, seed, used(changed[arm]), self.explain)
            for seed in range(seeds or self.seeds(budget))
            for arm in self.arms
            if not only or arm in only
        ]


def study_files(folder: Path) -> dict[str, Path]:
    """The studies of a folder by name: YAML files that have arms (a recipe of train.py has none)."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml")) if "arms" in read_mapping(path)[0]}


def load_study(path: Path) -> Study:
    """Read and check a study. Raises `ValueError` naming the file, the line and the nearest key."""
    content, lines = read_mapping(path)
    known = [f.name for f in fields(Study) if f.name != "name"]
    for key in content:
        if key not in known:
            raise ValueError(f"{path}: {unknown_name('key', key, known)}")
    for missing in {"title", "arms"} - set(content):
        raise ValueError(f"{path} lacks {missing!r}.")
    study = _checked(path, content, lines)
    claims, selection = study.claims, study.selection
    arms = [arm for claim in claims for arm in (claim.better, claim.than)]
    arms += [arm for printed in (study.report, *study.also_printed.values()) for arm in printed]
    arms += [*study.cards, *(picture.arm for picture in study.pictures)]
    measures = [name for claim in claims for name in (claim.measure, claim.than_measure) if name]
    if selection:
        arms += [arm for group in selection.groups.values() for arm in group]
        for group in selection.left_out_groups:
            if group not in selection.groups:
                raise ValueError(f"{path}: {unknown_name('group', group, list(selection.groups))}")
        measures += [rule for rule in selection.rules.values() if rule != LEFT_OUT or not selection.leave_out]
        measures += [selection.measure]
    for kind, names, known in (("arm", arms, list(study.arms)), ("measure", measures, list(study.measures))):
        for name in names:
            if name not in known:
                raise ValueError(f"{path}: {unknown_name(kind, name, known)}")
    if selection and selection.leave_out:
        return replace(study, arms={**study.arms, **selection.fold_arms(study.arms)})
    return study


def _checked(path: Path, content: Mapping[str, Any], lines: Mapping[KeyPath, int]) -> Study:
    """The study of these settings. Raises `ValueError` with the line of a value that is missing or of the
    wrong kind."""
    arms = content["arms"]
    if isinstance(arms, Mapping):  # an arm that changes nothing may be empty
        content = {**content, "arms": {name: changes or {} for name, changes in arms.items()}}
    try:
        return TypeAdapter(Study).validate_python({**content, "name": path.stem})
    except ValidationError as error:
        first = error.errors()[0]
        where = tuple(part for part in first["loc"] if part != "[key]")
        found = [lines[where[:length]] for length in range(len(where), 0, -1) if where[:length] in lines]
        line = f", line {found[0]}" if found else ""
        raise ValueError(f"{path}{line}: {'.'.join(map(str, where))}: {first['msg']}.") from error
