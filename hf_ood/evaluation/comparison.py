"""Finished runs side by side: what each method reaches in each environment, and whether it decides anything.

comparison = compare(["runs/erm-*", "runs/irm-*"])
comparison.differences            # one row a method: the paired difference to the first, its verdict
comparison.intervals              # mean and 95 % interval of every environment
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import unknown_name
from .comparison_rows import Row, make_rows
from .finished_runs import find_runs
from .measures import rises
from .verdicts import MARGIN, Verdict, holm, interval, judge

SUMMARY = "summary"  # the split of what is taken over environments:
MEAN, WORST, IN_DOMAIN = "mean", "worst", "in domain"
IN_THEIR_UNIT = (
    "loss",
    "squared_error",
    "rmse",
    "mae",
    "error",
    "r2",
)  # all other measures are shares: percent
# The verdicts on "the row beats the first one".
WORDS = {
    Verdict.HOLDS: "better",
    Verdict.REVERSED: "worse",
    Verdict.NO_DIFFERENCE: "no difference",
    Verdict.INCONCLUSIVE: "inconclusive",
}
USUAL = ("accuracy", "macro_f1", "exact_match", "rmse")  # what is compared where nothing is asked for
LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Runs of several methods on the same data.

    Values are percent, but for losses and errors. `data`: what was tested. `measure`: which measure.
    `margin`: within it there is no difference; None where none was said. `rows`: the runs of each row by
    name; the others are compared with the first.

    `values`: one line for each (row, seed, split, environment) with its `value`; the split `summary` has
    `mean` and `worst` over the held-out environments, and `in domain`, the mean over the training
    environments' held-out samples.
    `intervals`: one line for each (row, split, environment): `mean`, `half_width` of the 95 % interval, `n`.
    `differences`: one line for each other row and summary (`of`): `difference` (row minus first, paired by
    seed), `half_width`, `n` (seeds of both), `verdict` (better, worse, no difference, inconclusive; None for
    fewer than two seeds), `p_value`, `p_holm` (corrected for all lines) and `seeds_needed`.
    `cost`: one line for each row: `runs`, `seconds` and `cpu_seconds` of a run (means), `selection`.
    `unfinished`: folders of runs without results.
    """

    data: str
    measure: str
    margin: float | None
    rows: Mapping[str, Row]
    values: pd.DataFrame
    intervals: pd.DataFrame
    differences: pd.DataFrame
    cost: pd.DataFrame
    unfinished: Sequence[Path] = ()

    @property
    def first(self) -> str:
        """The row that the others are compared with."""
        return next(iter(self.rows))

    @property
    def in_percent(self) -> bool:
        return is_share(self.measure)

    @property
    def held_out(self) -> list[str]:
        """The test environments."""
        tested = self.intervals[self.intervals["split"] == "test"]
        return list(dict.fromkeys(tested["environment"]))

    @property
    def decides(self) -> bool:
        """Whether there are seeds enough for any verdict."""
        return bool(self.differences["verdict"].notna().any())


def compare(
    runs: Sequence[str | Path],
    measure: str | None = None,
    margin: float | None = None,
    first: str | None = None,
) -> Comparison:
    """Compare finished runs, those of a method with several seeds as one row.

    `runs`: folders of runs, folders with runs in them, or patterns. `measure`: of each environment, as in
    `results.json` (`accuracy`, `macro_f1`, `loss`, ...); default: `accuracy`, of several
    labels a sample `macro_f1` (where all environments have it, otherwise `exact_match`), of a regression
    `rmse`. `margin`: what is too small a difference to matter, in points or the measure's unit; default: 1
    point of a share, none of losses and errors. `first`: the name of the row that the others are compared
    with; default: that of the first run.

    Raises `ValueError` for places without runs, runs that were tested on different data, two runs with the
    same settings and seed, and unknown names.

    Example: `compare(["runs/erm", "runs/irm"]).differences[["row", "difference", "verdict"]]`
    """
    found, unfinished = find_runs(runs)
    if not found:
        raise ValueError(f"None of these runs has finished: {', '.join(map(str, unfinished))}.")
    rows = make_rows(found)
    if first is not None:
        if first not in rows:
            raise ValueError(unknown_name("row", first, list(rows)))
        rows = {first: rows.pop(first), **rows}
    measure = _checked_measure(measure, rows)
    if margin is None and is_share(measure):
        margin = MARGIN
    values = _values(rows, measure)
    data = found[0].data
    return Comparison(
        data="/".join(str(data[part]) for part in ("dataset", "config") if data[part]),
        measure=measure,
        margin=margin,
        rows=rows,
        values=values,
        intervals=_intervals(values),
        differences=_differences(values, list(rows), bool(rises(measure)), margin),
        cost=_cost(rows),
        unfinished=unfinished,
    )


def is_share(measure: str) -> bool:
    """Whether the measure is a share, which is told in percent, its differences in points."""
    return not measure.endswith(IN_THEIR_UNIT)


def _checked_measure(measure: str | None, rows: Mapping[str, Row]) -> str:
    """Raises `ValueError` for a measure that not all runs have, or whose direction is not known."""
    entries = [
        entry for row in rows.values() for run in row for entry in run.results["environments"].values()
    ]
    numbers = (int, float)
    known = [
        name
        for name, value in entries[0].items()
        if name != "count" and isinstance(value, numbers) and all(name in entry for entry in entries)
    ]
    measure = measure or next((name for name in USUAL if name in known), "squared_error")
    if measure not in known or rises(measure) is None:
        raise ValueError(
            unknown_name("measure", measure, [name for name in known if rises(name) is not None])
        )
    return measure


def _values(rows: Mapping[str, Row], measure: str) -> pd.DataFrame:
    """See `Comparison.values`."""
    lines = [
        (name, run.seed, split, environment, value)
        for name, row in rows.items()
        for run in row
        for split, environment, value in _of_run(run.results["environments"], measure)
    ]
    return pd.DataFrame(lines, columns=["row", "seed", "split", "environment", "value"])


def _of_run(entries: Mapping[str, Mapping[str, Any]], measure: str) -> list[tuple[str, str, float]]:
    """(split, environment, value) of a run, summaries last."""
    scale = 100 if is_share(measure) else 1
    found = [(entry["split"], name, scale * float(entry[measure])) for name, entry in entries.items()]
    tested, validated = ([v for split, _, v in found if split == part] for part in ("test", "validation"))
    worst = min if rises(measure) else max
    summaries = [(SUMMARY, MEAN, float(np.mean(tested))), (SUMMARY, WORST, worst(tested))]
    if validated:
        summaries.append((SUMMARY, IN_DOMAIN, float(np.mean(validated))))
    # Rounded, so that equal results have a difference of zero, not of a rounding error without spread.
    return [(split, name, round(value, 9)) for split, name, value in [*found, *summaries]]


def _intervals(values: pd.DataFrame) -> pd.DataFrame:
    keys = ["row", "split", "environment"]
    lines = []
    for key, group in values.groupby(keys, sort=False):
        found = interval(group["value"].tolist())
        lines.append((*key, found.mean, found.half_width, found.n))
    return pd.DataFrame(lines, columns=[*keys, "mean", "half_width", "n"])


def _differences(
    values: pd.DataFrame, rows: Sequence[str], rising: bool, margin: float | None
) -> pd.DataFrame:
    """See `Comparison.differences`: the worst environment is judged where there are several."""
    summaries = values[values["split"] == SUMMARY]
    several = values.loc[values["split"] == "test", "environment"].nunique() > 1
    sign = 1 if rising else -1
    lines: list[tuple[Any, ...]] = []
    for name in rows[1:]:
        for of in [MEAN, WORST] if several else [MEAN]:
            by_row = summaries[summaries["environment"] == of].pivot(
                index="seed", columns="row", values="value"
            )
            paired = (by_row[name] - by_row[rows[0]]).dropna()
            if paired.empty:
                lines.append((name, of, np.nan, np.nan, 0, None, np.nan, None))
                continue
            found = judge((sign * paired).tolist(), margin)
            word = WORDS[found.verdict] if found.verdict else None
            shown = interval(paired.tolist())
            lines.append(
                (name, of, shown.mean, shown.half_width, shown.n, word, found.p_value, found.seeds_needed)
            )
    columns = ["row", "of", "difference", "half_width", "n", "verdict", "p_value", "seeds_needed"]
    table = pd.DataFrame(lines, columns=columns).astype({"verdict": object, "seeds_needed": "Int64"})
    table.insert(7, "p_holm", holm(table["p_value"].tolist()))
    return table


def _cost(rows: Mapping[str, Row]) -> pd.DataFrame:
    lines = []
    for name, row in rows.items():
        seconds, cpu = (
            float(np.mean([run.results.get(cost, np.nan) for run in row]))
            for cost in ("seconds", "cpu_seconds")
        )
        rules = dict.fromkeys(str(run.results.get("selection")) for run in row)
        lines.append((name, len(row), seconds, cpu, "; ".join(rules)))
    return pd.DataFrame(lines, columns=["row", "runs", "seconds", "cpu_seconds", "selection"])
