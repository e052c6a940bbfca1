"""`hf-ood reproduce STUDY --verify --seed N`: one seed again, beside the committed one."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ..experiments.executors import EXECUTORS
from ..experiments.progress import follow
from ..experiments.study.rows import KeptRows, add_rows
from ..experiments.study.study import BUDGETS, Study
from ..experiments.study.table import collect
from ..experiments.study.verify import MAY_DIFFER, Check, committed_rows
from ..reporting.terminal import say
from ..resources import RESULTS


def verify(studies: Sequence[Study], arguments: argparse.Namespace, console: Console) -> int:
    """Carry one seed out again and say whether it is the committed one; rows that are get this code's key."""
    failed: list[str] = []
    same = True
    for study in studies:
        budget, kept = _kept_at(study, arguments)
        folder = arguments.results_dir / budget
        runs = [
            run
            for run in study.runs(budget, arguments.seed + 1, arguments.only)
            if run.seed == arguments.seed
        ]
        committed = committed_rows(study, runs, kept, budget)
        arguments.runs_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="verify-", dir=arguments.runs_dir) as place:
            carry_out = EXECUTORS[arguments.executor]
            events = carry_out(runs, Path(place), arguments.workers, arguments.address or "auto")
            failed += follow(events, len(runs), Path(place), console)
            for run, rows in zip(runs, committed, strict=True):
                again = collect(study, [run], Path(place))
                if again.empty:
                    continue
                check = Check(run, rows, again)
                same &= not check.different
                say(console, str(check))
                if not check.different and (folder / f"{study.name}.csv").exists():
                    add_rows(study, budget, again, folder)
    if not same:
        say(console, f"{MAY_DIFFER} --rerun makes the committed rows again.")
    return 0 if same and not failed else 1


def _kept_at(study: Study, arguments: argparse.Namespace) -> tuple[str, KeptRows]:
    """The budget that is asked for, or the largest one that is kept, and its rows."""
    for budget in [arguments.budget] if arguments.budget else reversed(BUDGETS):
        folders = [arguments.results_dir / budget, RESULTS / budget]
        if arguments.budget or any((folder / f"{study.name}.csv").exists() for folder in folders):
            return budget, KeptRows.of_folders(folders)
    raise ValueError(f"No result of {study.name} is kept: there is nothing to compare with.")
