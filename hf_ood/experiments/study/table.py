"""From finished runs to one table: a row per run and measure."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...errors import unknown_name
from ...reporting.summaries import ERRORS
from ..keyed_run import Run, read_run
from .study import Study

SUMMARIES = (
    "mean_accuracy", "worst_accuracy", "train_accuracy", "gap", "mean_macro_f1", "worst_macro_f1",
    "mean_squared_error", "mean_rmse", "worst_rmse",
)  # fmt: skip
COLUMNS = ["study", "arm", "seed", "measure", "value", "key", "cpu_seconds"]


def read_table(file: Path) -> pd.DataFrame:
    """The rows that `collect` made and `keep` wrote. Raises `ValueError` when the file is damaged."""
    try:
        text = file.read_text(encoding="utf-8")
        table = pd.read_csv(io.StringIO(text), dtype={"arm": str, "key": str})  # "0.001" is a name
        wrong = _wrong(table, text)
    except ValueError as error:  # of decoding and parsing
        wrong = " ".join(str(error).split())
    if wrong:
        raise ValueError(f"{file} is damaged ({wrong})")
    return table


def _wrong(table: pd.DataFrame, text: str) -> str | None:
    if list(table.columns) != COLUMNS:
        return f"its columns are not {', '.join(COLUMNS)}"
    if not text.endswith("\n"):
        return "its end is missing"
    for column in ("study", "arm", "seed", "measure", "value", "key"):
        if (bad := table[column].isna()).any():
            return f"line {int(bad.argmax()) + 2}: no {column}"
    for column in ("seed", "value"):
        bad = ~np.isfinite(pd.to_numeric(table[column], errors="coerce").to_numpy(float))
        if bad.any():
            return f"line {int(bad.argmax()) + 2}: {column} is no number"
    if table.duplicated(["arm", "seed", "measure"]).any():
        return "a run is there twice"
    curves = table["measure"].str.contains("@")
    for arm, rows in table[~curves].groupby("arm"):
        measured = rows.groupby("seed")["measure"].agg(frozenset)
        if measured.nunique() > 1:
            return f"the runs of {arm} do not have the same measures"
    return None


def measure(results: dict[str, Any], name: str) -> float | None:
    """A measure of a run: a summary, or the accuracy on an environment, as a share; squared errors as they
    are.

    `<part>/<measure>` is that of another test configuration or of a stage; None for a run without stages, and
    for the accuracies of a regression or the squared error of a classifier.
    """
    if name in SUMMARIES:
        return results.get(name)
    if "mean_squared_error" in results or "mean_macro_f1" in results:  # these tasks have no accuracies
        return None
    if name in ("digit_share", "digit_area"):
        return sum(entry[name] for entry in results["attribution"]) / len(results["attribution"])
    if name == "validation_accuracy":
        entries = [entry for entry in results["environments"].values() if entry["split"] == "validation"]
        return sum(entry["accuracy"] for entry in entries) / len(entries)
    if name in results["environments"]:
        return results["environments"][name]["accuracy"]
    stages = {entry["name"]: entry for entry in results.get("stages", [])}
    parts = {**results.get("also_test", {}), **stages}
    part, slash, rest = name.partition("/")
    if part in parts:
        return measure(parts[part], rest)
    if slash and not stages:
        return None
    raise ValueError(unknown_name("measure, stage or environment", name, [*results["environments"], *parts]))


def collect(study: Study, runs: Sequence[Run], root: Path) -> pd.DataFrame:
    """Rows of (study, arm, seed, measure, value, key, cpu_seconds); unfinished runs have none.

    Values are in percent, but for squared errors.
    """
    rows = []
    for run in runs:
        results = read_run(run, root)
        if results is None:
            continue
        common = {"study": study.name, "arm": run.arm, "seed": run.seed, "key": run.recorded_key(root)}
        found = {name: measure(results, name) for name in study.measures}
        named = {name: value for name, value in found.items() if value is not None}
        if study.curve:
            for record in results["history"]:
                named[f"{study.curve}@{record['epoch']:g}"] = record[study.curve]
        for name, value in named.items():
            value = value if name in ERRORS else 100 * value
            rows.append({**common, "measure": name, "value": value, "cpu_seconds": results["cpu_seconds"]})
    return pd.DataFrame(rows, columns=COLUMNS)
