"""From finished runs to one table: a row per run and measure."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...errors import unknown_name
from ...reporting.summaries import ERRORS
from ...runs.origin import commit_of
from ..keyed_run import Run, read_run
from .study import Study

SUMMARIES = (
    "mean_accuracy", "worst_accuracy", "train_accuracy", "gap", "mean_macro_f1", "worst_macro_f1",
    "mean_squared_error", "mean_rmse", "worst_rmse",
)  # fmt: skip
COLUMNS = ["study", "arm", "seed", "measure", "value", "settings", "key", "commit", "cpu_seconds"]
TEXTS = ("study", "arm", "measure", "settings", "key", "commit")
NUMBERS = (
    "value",
    "cpu_seconds",
)  # where not empty: a measure that an arm does not have, a cost that is lost
SINCE = ("settings", "commit")  # columns that earlier tables do not have
VALIDATION_CURVE = "validation_mean_accuracy"  # beside a study's curve: whether it has stopped rising
PER_SEED = "%.6g"  # how values are kept


def read_table(file: Path) -> pd.DataFrame:
    """The rows that `collect` made; those from before settings and commits were kept have empty ones. Raises
    `ValueError` when the file is damaged."""
    try:
        text = file.read_text(encoding="utf-8")
        table = pd.read_csv(
            io.StringIO(text),
            dtype=dict.fromkeys(TEXTS, str),  # "0.001" is a name
            keep_default_na=False,
            na_values=dict.fromkeys(NUMBERS, ""),
        )
        table = table.assign(**{name: "" for name in SINCE if name not in table})
        wrong = _wrong(table, text)
    except ValueError as error:  # of decoding and parsing
        wrong = " ".join(str(error).split())
    if wrong:
        raise ValueError(f"{file} is damaged ({wrong})")
    return table[COLUMNS].astype({"seed": int, **dict.fromkeys(NUMBERS, float)})


def _wrong(table: pd.DataFrame, text: str) -> str | None:
    if set(table.columns) != set(COLUMNS):
        return f"its columns are not {', '.join(COLUMNS)}"
    if not text.endswith("\n"):
        return "its end is missing"
    for column in ("study", "arm", "measure", "key"):
        if (bad := table[column].isin(["", None])).any():
            return f"line {int(bad.argmax()) + 2}: no {column}"
    for column in ("seed", *NUMBERS):
        given = table[column].notna() if column in NUMBERS else pd.Series(True, table.index)
        bad = given & ~np.isfinite(pd.to_numeric(table[column], errors="coerce").to_numpy(float))
        if bad.any():
            return f"line {int(bad.argmax()) + 2}: {column} is no number"
    if table.duplicated(["arm", "seed", "measure"]).any():
        return "a run is there twice"
    curves = table["measure"].str.contains("@")
    for arm, rows in table[~curves].groupby("arm"):
        measured = rows.groupby("seed")["measure"].agg(frozenset)
        if measured.nunique() > 1:
            return f"the runs of {arm} do not have the same measures"
        if (rows["value"].isna() & rows["measure"].isin(rows[rows["value"].notna()]["measure"])).any():
            return f"a run of {arm} lacks a value that others have"
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
    if name == "largest_predicted_share":
        tested = [entry for entry in results["environments"].values() if entry["split"] == "test"]
        return sum(max(entry["predicted_share"]) for entry in tested) / len(tested)
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
    """A row for each measure of each finished run.

    `value`: in percent, but for squared errors; empty for a measure that the arm does not have. `settings`:
    of settings, seed and data, `key`: of code and versions too, `commit`: where the run was begun.
    """
    rows = [row for run in runs for row in _of_run(study, run, root)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_run(study: Study, run: Run, root: Path) -> Iterator[dict[str, Any]]:
    results = read_run(run, root)
    if results is None:
        return
    named = {name: measure(results, name) for name in study.measures}
    if study.curve:
        for record in results["history"]:
            for name in (study.curve, VALIDATION_CURVE):
                if name in record:
                    named[f"{name}@{record['epoch']:g}"] = record[name]
    for name, value in named.items():
        yield {
            "study": study.name,
            "arm": run.arm,
            "seed": run.seed,
            "measure": name,
            "value": value if value is None or name in ERRORS else 100 * value,
            "settings": run.settings_key,
            "key": run.recorded_key(root),
            "commit": commit_of(run.folder(root)),
            "cpu_seconds": results["cpu_seconds"],
        }
