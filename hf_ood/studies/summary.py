"""A study's table: each arm's interval beside the report's figure, and a verdict on each claim."""

from __future__ import annotations

import pandas as pd

from ..reporting.statistics import interval, verdict
from ..reporting.studies import ClaimRow, Curve, StudySummary, TableRow
from .study import Study


def summarize(study: Study, table: pd.DataFrame) -> StudySummary:
    """From the rows that `collect` makes (values in percent)."""
    wide = table.pivot(index=["arm", "seed"], columns="measure", values="value") if len(table) else table
    rows, claims, curves = [], [], []
    for arm in study.arms:
        if not len(table) or arm not in wide.index.get_level_values("arm"):
            continue
        values = wide.loc[arm]
        known = {name: values[name].dropna().tolist() for name in study.measures if name in values}
        found = {name: interval(numbers) for name, numbers in known.items() if numbers}
        rows.append(TableRow(arm, found, dict(study.report.get(arm, {}))))
        if study.curve:
            curves.append(_curve(arm, values, study.curve))
    for claim in study.claims:
        arms = {row.arm for row in rows}
        if {claim.better, claim.than} <= arms:
            other = claim.than_measure or claim.measure
            differences = (wide.loc[claim.better][claim.measure] - wide.loc[claim.than][other]).dropna()
            if len(differences):
                difference, judgement = verdict(differences.tolist())
                compared = claim.measure if other == claim.measure else f"{claim.measure} - {other}"
                claims.append(ClaimRow(claim.text, claim.better, claim.than, compared, difference, judgement))
    return StudySummary(study.name, study.title, study.note, list(study.measures), rows, claims, curves)


def _curve(arm: str, values: pd.DataFrame, measure: str) -> Curve:
    points = sorted(
        (float(name.partition("@")[2]), interval(values[name].dropna().tolist()))
        for name in map(str, values.columns)
        if name.startswith(f"{measure}@") and values[name].notna().any()
    )
    return Curve(arm, [epoch for epoch, _ in points], [found for _, found in points])
