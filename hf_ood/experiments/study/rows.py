"""The rows of kept tables: runs that are done, wherever they were carried out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from filelock import FileLock

from ...files import replace_text
from ..keyed_run import Run
from .study import Study
from .table import COLUMNS, PER_SEED, VALIDATION_CURVE, collect, read_table


def _readable(file: Path) -> pd.DataFrame:
    """A table, without rows where there is none or it is damaged, which the command has said."""
    try:
        return read_table(file)
    except (FileNotFoundError, ValueError):
        return pd.DataFrame(columns=COLUMNS)


class KeptRows:
    """Rows by the settings of their runs: a run counts in every study that it belongs to."""

    def __init__(self, tables: Iterable[pd.DataFrame]):
        rows = pd.concat([pd.DataFrame(columns=COLUMNS), *(table for table in tables if len(table))])
        known = rows[rows["settings"] != ""]
        self.runs = {str(settings): found for settings, found in known.groupby("settings", sort=False)}

    @classmethod
    def of_folders(cls, folders: Sequence[Path]) -> KeptRows:
        """Of all tables in these folders, the first folder's before the others'."""
        return cls(_readable(file) for folder in folders for file in sorted(folder.glob("*.csv")))

    def find(self, study: Study, run: Run, only_now: bool = False) -> pd.DataFrame | None:
        """The run's rows as rows of this study, or None where one of its measures is missing.

        Those of this code and these versions come before earlier ones; `only_now`: no others count.
        """
        rows = self.runs.get(run.settings_key)
        if rows is None:
            return None
        keys = sorted(dict.fromkeys(rows["key"]), key=lambda key: key != run.key)
        for key in keys:
            if only_now and key != run.key:
                return None
            found = rows[rows["key"] == key].drop_duplicates("measure").set_index("measure", drop=False)
            curves = (f"{study.curve}@", f"{VALIDATION_CURVE}@") if study.curve else ()
            curve = [name for name in found.index if name.startswith(curves)]
            if {*study.measures} <= {*found.index} and (curve or not study.curve):
                found = found.loc[[*study.measures, *curve]].reset_index(drop=True)
                return found.assign(study=study.name, arm=run.arm)
        return None


def is_of_now(rows: pd.DataFrame, run: Run) -> bool:
    """Whether a run's rows were made by this code on these versions."""
    return bool((rows["key"] == run.key).all())


def rows_of(
    study: Study, run: Run, kept: KeptRows, runs_dir: Path, only_now: bool = False
) -> pd.DataFrame | None:
    """A run's rows, from a table or from its folder; those of this code and these versions come first. Raises
    `ValueError` when neither has them and the folder is damaged."""
    found = kept.find(study, run, only_now)
    if found is not None and is_of_now(found, run):
        return found
    try:
        carried_out = collect(study, [run], runs_dir)
    except ValueError:
        if found is None:
            raise
        return found
    if carried_out.empty:
        return found
    if is_of_now(carried_out, run) or (found is None and not only_now):
        return carried_out
    return found


def merge_rows(study: Study, budget: str, old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """A table in which new rows take the place of old ones of the same arm and seed.

    Old rows of other settings than the study has now, or without one of its measures, go with the first new
    ones: a table never mixes two protocols.
    """
    if new.empty:
        return old
    seeds = int(max(old["seed"].max() if len(old) else 0, new["seed"].max())) + 1
    settings = {(run.arm, run.seed): run.settings_key for run in study.runs(budget, seeds)}
    replaced = set(zip(new["arm"], new["seed"], strict=True))
    whole = {
        of for of, rows in old.groupby(["arm", "seed"]) if set(study.measures) <= set(rows["measure"])
    } - replaced
    stay = [
        (row.arm, row.seed) in whole and settings.get((row.arm, row.seed)) == row.settings
        for row in old.itertuples()
    ]
    table = pd.concat([part for part in (old[stay], new) if len(part)], ignore_index=True)
    places = {arm: place for place, arm in enumerate(study.arms)}
    order = sorted(table.index, key=lambda row: (table["seed"][row], places[table["arm"][row]]))
    return table.loc[order].reset_index(drop=True)


def add_rows(study: Study, budget: str, new: pd.DataFrame, folder: Path) -> None:
    """Put rows into the study's table in `folder`, which is the old one or the whole new one whatever
    happens; of several processes one writes at a time."""
    if new.empty:
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{study.name}.csv"
    with FileLock(folder / f".{file.name}.lock"):
        old = _readable(file)
        text = merge_rows(study, budget, old, new).to_csv(index=False, float_format=PER_SEED)
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            replace_text(file, text)
