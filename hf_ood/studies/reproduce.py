"""`trainers/reproduce.py`: carry out studies, and write their tables and the page."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..data.configurations import unknown_name
from .collect import finished
from .executors import EXECUTORS
from .results import keep, show, write_cards
from .study import BUDGETS, Run, Study, load_study, study_files

DESCRIPTION = """\
Carry out studies and write tables, figures and one page.

  python trainers/reproduce.py --list
  python trainers/reproduce.py --study figure_15 --budget quick --seeds 3
  python trainers/reproduce.py --budget full          everything; hours on two cores
  python trainers/reproduce.py --from_results         page and tables from the committed results alone

Finished runs are kept and never repeated; after an interruption the same command goes on."""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", nargs="+", metavar="NAME", help="some studies; default: all")
    parser.add_argument("--list", action="store_true", help="show the studies with their arms, and stop")
    parser.add_argument("--only", nargs="+", default=[], metavar="ARM", help="these arms only")
    parser.add_argument("--budget", choices=BUDGETS, default="quick", help="default: quick")
    parser.add_argument("--seeds", type=int, help="number of seeds; default: the study's own")
    parser.add_argument("--executor", choices=list(EXECUTORS), default="workers", help="default: workers")
    parser.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="processes; default: the cores",
    )
    parser.add_argument("--dry_run", action="store_true", help="list the runs that are still to do, and stop")
    parser.add_argument("--from_results", action="store_true", help="train nothing: read the CSV files")
    parser.add_argument(
        "--recipes", type=Path, default=Path("trainers/recipes"), help="folder of the studies"
    )
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/studies"), help="where runs are kept")
    parser.add_argument(
        "--results_dir", type=Path, default=Path("trainers/results"), help="where tables and the page go"
    )
    parser.add_argument(
        "--cards_dir", type=Path, default=Path("model_cards"), help="where cards of main arms go"
    )
    parser.add_argument("--readme", type=Path, help="a README whose table of claims is renewed")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when a run failed."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    try:
        everything = choose(arguments.recipes, None)
        studies = choose(arguments.recipes, arguments.study)
        plans = {study.name: study.runs(arguments.budget, arguments.seeds) for study in studies}
        asked = [
            run for study in studies for run in study.runs(arguments.budget, arguments.seeds, arguments.only)
        ]
    except ValueError as error:
        parser.error(str(error))
    if arguments.list:
        for study in studies:
            console.print(f"[bold]{study.name}[/]  {study.title}")
            for arm in study.arms:
                console.print(f"    {arm}")
        return 0
    failed: list[str] = []
    if not arguments.from_results:
        left = unfinished(asked, arguments.runs_dir, console)
        console.print(f"{len(asked) - len(left)} of {len(asked)} runs are finished, {len(left)} to do.")
        if arguments.dry_run:
            for run in left:
                console.print(f"  {run.study}: {run.arm}, seed {run.seed}")
            return 0
        failed = carry_out_all(left, arguments.runs_dir, arguments.executor, arguments.workers, console)
        for study in studies:
            keep(study, plans[study.name], arguments.runs_dir, arguments.results_dir / arguments.budget)
            write_cards(study, plans[study.name], arguments.runs_dir, arguments.cards_dir)
    page = show(everything, arguments.results_dir, arguments.readme)
    console.print(f"page: {page}\ntables: {page.with_suffix('.md')}")
    for message in failed:
        console.print(f"[red]failed[/] {message}")
    return 1 if failed else 0


def choose(recipes: Path, names: Sequence[str] | None) -> list[Study]:
    files = study_files(recipes)
    if not files:
        raise ValueError(f"{recipes} holds no study; run this from the project's folder, or give --recipes.")
    for name in names or []:
        if name not in files:
            raise ValueError(unknown_name("study", name, list(files)))
    return [load_study(files[name]) for name in names or files]


def unfinished(runs: Sequence[Run], root: Path, console: Console) -> list[Run]:
    """The runs still to do, each setting once; a damaged result is reported and counts as not done."""
    left: dict[Path, Run] = {}
    for run in runs:
        try:
            done = finished(run, root)
        except ValueError as error:
            console.print(f"[yellow]run again:[/] {error}")
            done = False
        if not done:
            left[run.folder(root)] = run
    return list(left.values())


def carry_out_all(
    runs: Sequence[Run], root: Path, executor: str, workers: int, console: Console
) -> list[str]:
    """Carry runs out with a live progress line; returns what failed."""
    failed: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("runs", total=len(runs))
        for run, error in EXECUTORS[executor](runs, root, workers):
            progress.update(task, advance=1, description=f"{run.study}: {run.arm}, seed {run.seed}")
            if error:
                failed.append(f"{run.study}: {run.arm}, seed {run.seed}: {error}")
    return failed
