"""From a sweep's candidates to the file of its choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...evaluation.results import versions
from ...evaluation.selection import tested_entries
from ...files import replace_text
from ...json_files import json_text, read_object
from ...local_paths import without_local_paths
from ...runs.folder import DATA_FILE
from ...runs.origin import commit, commit_of
from ...runs.settings import plain
from ..keyed_run import data_fingerprint, read_run
from .choices import CHOICES, CHOICES_FILE
from .plan import Plan
from .selection_table import chosen
from .trials import VALUES, Trials


def write_choices(
    plan: Plan, trials: Trials, seeds: Sequence[int], root: Path, table: pd.DataFrame, folder: Path
) -> None:
    """Write the choices of a table of `candidates`, each with what its run says of the environments that were
    held out."""
    lines = [_line(plan, trials, root, row) for row in chosen(table).to_dict("records")]
    settings = without_local_paths(plain(plan.settings))
    content = {
        "data": "/".join(str(settings[key]) for key in ("dataset", "dataset_config") if settings.get(key)),
        "classes": next((names for _, names in lines if names), []),
        "environments": list(plan.environments),
        "held_out": {name: list(own) for name, own in plan.held_out.items()},
        "trials": int(table["trial"].max()) + 1,
        "seeds": list(seeds),
        "settings": settings,
        "commit": commit(),
        "data_fingerprint": data_fingerprint(plan.settings),
        "versions": versions(),
        CHOICES: [line for line, _ in lines],
    }
    replace_text(folder / CHOICES_FILE, json_text(content, indent=1) + "\n")


def _line(plan: Plan, trials: Trials, root: Path, row: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A choice, and the classes where its run's folder says them."""
    held_out, seed = row["held_out"], row["seed"]
    values = next(
        trial.user_attrs[VALUES]
        for trial in trials.ended(row["method"], held_out)
        if trial.number == row["trial"]
    )
    protocol = next(each for each in plan.protocols if each.name == row["protocol"])
    run = plan.runs(row["method"], values, held_out, seed)[protocol.left_out]
    results = read_run(run, root)
    assert results is not None, "a candidate has all its runs"
    place = run.folder(root)
    note = place / DATA_FILE
    line = {
        **row,
        "values": values,
        "run": place.name,
        "commit": commit_of(place),
        "checkpoint": results["selection"],
        "in_domain_accuracy": results.get("in_domain_accuracy"),
        "tested": tested_entries(results, plan.held_out[held_out]),
    }
    return line, read_object(note)["label_names"] if note.is_file() else []
