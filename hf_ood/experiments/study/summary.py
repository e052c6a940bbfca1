"""A study's intervals beside the report's figures, a verdict on each claim, what selection rules choose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pandas as pd

from ...evaluation.verdicts import Interval, interval, judge, place
from ...reporting.summaries import (
    ERRORS,
    ChoiceRow,
    ClaimRow,
    Curve,
    Illustration,
    PrintedRow,
    StudySummary,
    TableRow,
)
from .study import LEFT_OUT, Claim, Selection, Study
from .table import VALIDATION_CURVE

# Of these nobody has said what is too small to matter: a point is much of a share that varies by one.
WITHOUT_MARGIN = (*ERRORS, "digit_share", "digit_area")


def summarize(study: Study, table: pd.DataFrame, budget: str, pictures: Path) -> StudySummary:
    """From the rows that `collect` makes (percent; at least one), and the folder of the study's pictures."""
    wide = table.pivot(index=["arm", "seed"], columns="measure", values="value")
    arms = [arm for arm in study.arms if arm in wide.index.get_level_values("arm")]
    return StudySummary(
        name=study.name,
        title=study.title,
        note=study.note,
        budget=budget,
        cpu_hours=_cpu_hours(table),
        measures=list(study.measures),
        rows=[_row(arm, wide, study) for arm in arms],
        claims=[
            _judge(claim, study, wide)
            for claim in study.claims
            if {claim.better, claim.than} <= set(arms) and len(_differences(claim, wide))
        ],
        choices=list(_choices(study.selection, wide, arms)) if study.selection else [],
        curves=[_curve(arm, wide, study.curve) for arm in arms] if study.curve else [],
        validation_curves=[_curve(arm, wide, VALIDATION_CURVE) for arm in arms] if study.curve else [],
        pictures=[
            Illustration(
                f"{study.name}-{picture.slug}", picture.title, pictures / picture.kept_as(study.name)
            )
            for picture in study.pictures
            if (pictures / picture.kept_as(study.name)).exists()
        ],
        printed=list(_printed(study, wide, arms)),
        seeds=_seeds(table, arms),
        planned=study.seeds(budget),
        planned_arms=len(study.arms),
        commits=list(dict.fromkeys(table["commit"])),
        other_settings=_other_settings(study, table, budget),
        source=study.source,
    )


def _seeds(table: pd.DataFrame, arms: list[str]) -> tuple[int, int]:
    found = table[table["arm"].isin(arms)].groupby("arm")["seed"].nunique()
    return int(found.min()), int(found.max())


def _other_settings(study: Study, table: pd.DataFrame, budget: str) -> bool:
    """Whether any row is not of the settings that the study has now."""
    runs = study.runs(budget, int(table["seed"].max()) + 1)
    now = {(run.arm, run.seed): run.settings_key for run in runs}
    rows = table.drop_duplicates(["arm", "seed"])
    found = zip(rows["arm"], rows["seed"], rows["settings"], strict=True)
    return any(now.get((arm, seed)) != settings for arm, seed, settings in found)


def _printed(study: Study, wide: pd.DataFrame, arms: list[str]) -> Iterator[PrintedRow]:
    for source, figures in {study.source: study.report, **study.also_printed}.items():
        for arm in (arm for arm in arms if arm in figures):
            for name, printed in figures[arm].items():
                values = wide.loc[arm].get(name, pd.Series(dtype=float)).dropna().tolist()
                if values:
                    found = place(values, printed, study.report_runs)
                    yield PrintedRow(arm, name, source, printed, interval(values), found)


def _cpu_hours(table: pd.DataFrame) -> float | None:
    seconds = table.drop_duplicates("key")["cpu_seconds"]
    return None if seconds.isna().any() else float(seconds.sum()) / 3600


def _interval(wide: pd.DataFrame, arm: str, measure: str) -> Interval:
    return interval(wide.loc[arm][measure].dropna().tolist())


def _row(arm: str, wide: pd.DataFrame, study: Study) -> TableRow:
    there = [name for name in study.measures if name in wide and wide.loc[arm][name].notna().any()]
    found = {name: _interval(wide, arm, name) for name in there}
    return TableRow(arm, found, dict(study.report.get(arm, {})))


def _differences(claim: Claim, wide: pd.DataFrame) -> list[float]:
    """By how much it is better, over the seeds that both arms have."""
    better, than = (
        wide.loc[arm].get(measure, pd.Series(dtype=float))
        for arm, measure in ((claim.better, claim.measure), (claim.than, claim.than_measure or claim.measure))
    )
    sign = -1 if claim.measure in ERRORS else 1
    return (sign * (better - than)).dropna().tolist()


def _judge(claim: Claim, study: Study, wide: pd.DataFrame) -> ClaimRow:
    margin = claim.margin
    if margin is None and claim.measure not in WITHOUT_MARGIN:
        margin = study.margin
    found = judge(_differences(claim, wide), margin)
    better, than, measure = claim.better, claim.than, claim.measure
    if claim.than_measure is not None:
        measure = f"{claim.measure} - {claim.than_measure}"
        better, than = (
            f"{arm} after {_stage(study, arm, of)}"
            for arm, of in ((claim.better, claim.measure), (claim.than, claim.than_measure))
        )
    return ClaimRow(
        claim.text, better, than, measure, found.difference, found.verdict, margin, found.p_value,
        found.seeds_needed,
    )  # fmt: skip


def _stage(study: Study, arm: str, measure: str) -> str:
    """The stage that a measure of an arm is taken after: the one that it names, or the last."""
    stages = [stage["name"] for stage in (study.arms[arm] or {}).get("stages", [])]
    named = measure.partition("/")[0]
    if named in stages or not stages:
        return named
    return stages[-1]


def _choices(selection: Selection, wide: pd.DataFrame, arms: list[str]) -> Iterator[ChoiceRow]:
    def worth(arm: str, measure: str) -> float:
        if measure != LEFT_OUT:
            return _interval(wide, arm, measure).mean
        return fmean(_interval(wide, fold, selection.measure).mean for fold in selection.folds(arm))

    for rule, measure in selection.rules.items():
        for method, group in selection.groups.items():
            folds = [fold for arm in group for fold in selection.folds(arm)] if measure == LEFT_OUT else []
            if measure == LEFT_OUT and method not in selection.left_out_groups:
                continue
            there = [arm for arm in group if arm in arms]
            if there and set(folds) <= set(arms):
                best = max(there, key=lambda arm: worth(arm, measure))
                yield ChoiceRow(rule, method, best, _interval(wide, best, selection.measure))


def _curve(arm: str, wide: pd.DataFrame, measure: str) -> Curve:
    epochs = sorted(
        (float(str(name).partition("@")[2]), str(name))
        for name in wide.columns
        if str(name).startswith(f"{measure}@") and wide.loc[arm][name].notna().any()
    )
    return Curve(arm, [epoch for epoch, _ in epochs], [_interval(wide, arm, name) for _, name in epochs])
