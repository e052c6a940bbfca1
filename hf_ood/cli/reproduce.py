"""`trainers/reproduce.py`: carry out studies, and write their tables and the page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ..errors import unknown_name
from ..experiments.dispatch import describe
from ..experiments.executors import EXECUTORS
from ..experiments.keyed_run import Run, finished
from ..experiments.progress import duration, follow
from ..experiments.study.kept import find_damaged, keep, show, write_cards
from ..experiments.study.study import BUDGETS, Study, load_study, study_files
from ..experiments.time_estimate import estimate, kind, makespan
from ..reporting.terminal import say
from ..resources import RECIPES
from ..runs.cores import cores
from .funnel import add_debug, one_message
from .signals import one_sentence

DESCRIPTION = """\
Carry out studies and write tables, figures and one page.

  %(prog)s --list
  %(prog)s --study figure_15 --budget quick --seeds 3
  %(prog)s --budget full          everything; hours on two cores
  %(prog)s --from_results         page and tables from the results that are kept alone

  %(prog)s --budget full --dry_run                         how long it will take
  %(prog)s --executor ray --address 10.0.0.1:6379          on a Ray cluster

Finished runs are kept and never repeated; after an interruption (Ctrl-C) the same command goes on. Several
commands may share a folder of runs: each run is done by one of them. A run uses one thread, so that its
numbers do not depend on how many run side by side: as many workers as cores use the whole machine."""


KEPT = "Finished runs are kept: the same command goes on."


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", nargs="+", metavar="NAME", help="some studies; default: all")
    parser.add_argument("--list", action="store_true", help="show the studies with their arms, and stop")
    parser.add_argument("--only", nargs="+", default=[], metavar="ARM", help="these arms only")
    parser.add_argument("--budget", choices=BUDGETS, default="quick", help="default: quick")
    parser.add_argument("--seeds", type=int, help="number of seeds; default: the study's own")
    parser.add_argument(
        "--executor",
        choices=list(EXECUTORS),
        default="workers",
        help="where runs are carried out: in_process, one after the other; workers, processes on this "
        "machine (default); ray, tasks on a Ray cluster",
    )
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="runs at a time, each with one thread; default: the cores of this machine or of the cluster. "
        "More than the cores is slower, and warned of",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT|auto|local",
        help="for --executor ray: a cluster that this machine belongs to, the one it is found to belong to "
        "(auto, the default), or a new one on this machine for this study (local)",
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="list the runs still to do, estimate their time from a few timed steps, and stop",
    )
    parser.add_argument("--from_results", action="store_true", help="train nothing: read the CSV files")
    parser.add_argument(
        "--recipes", type=Path, default=RECIPES, help="folder of the studies; default: the package's"
    )
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/studies"), help="where runs are kept")
    parser.add_argument(
        "--results_dir", type=Path, default=Path("results"), help="where tables and the page go"
    )
    parser.add_argument(
        "--cards_dir", type=Path, default=Path("model_cards"), help="where cards of main arms go"
    )
    parser.add_argument(
        "--readme", type=Path, help="a document whose table of claims is renewed: docs/studies.md"
    )
    add_debug(parser)
    return parser


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


@one_message
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
    if arguments.address and arguments.executor != "ray":
        parser.error("--address goes with --executor ray.")
    if arguments.list:
        for study in studies:
            console.print(f"[bold]{escape(study.name)}[/]  {escape(study.title)}")
            for arm in study.arms:
                say(console, f"    {arm}")
        return 0
    made_again = [] if arguments.from_results else [study.name for study in studies]
    say_damaged(everything, arguments.results_dir, made_again, arguments.budget, console)
    failed: list[str] = []
    if not arguments.from_results:
        left = unfinished(asked, arguments.runs_dir, console)
        total = len({run.folder(arguments.runs_dir) for run in asked})
        console.print(f"{total - len(left)} of {total} runs are finished, {len(left)} to do.")
        if arguments.dry_run:
            workers = 1 if arguments.executor == "in_process" else arguments.workers or cores()
            print_estimate(left, workers, console)
            return 0
        if arguments.executor == "workers" and (arguments.workers or 1) > cores():
            console.print(
                f"[yellow]--workers {arguments.workers} on {cores()} cores:[/] a run uses one thread, "
                "so more workers than cores only slow each other down."
            )
        carry_out = EXECUTORS[arguments.executor]
        events = carry_out(left, arguments.runs_dir, arguments.workers, arguments.address or "auto")
        with one_sentence(KEPT):
            failed = follow(events, len(left), arguments.runs_dir, console)
        for study in studies:
            keep(study, plans[study.name], arguments.runs_dir, arguments.results_dir / arguments.budget)
            write_cards(study, plans[study.name], arguments.runs_dir, arguments.cards_dir, arguments.budget)
    page = show(everything, arguments.results_dir, arguments.readme)
    say(console, f"page: {page}\ntables: {page.with_suffix('.md')}")
    for message in failed:
        console.print(f"[red]failed[/] {escape(message)}")
    return 1 if failed else 0


def choose(recipes: Path, names: Sequence[str] | None) -> list[Study]:
    files = study_files(recipes)
    if not files:
        raise ValueError(f"{recipes} holds no study.")
    for name in names or []:
        if name not in files:
            raise ValueError(unknown_name("study", name, list(files)))
    return [load_study(files[name]) for name in names or files]


def say_damaged(
    studies: Sequence[Study], results: Path, made_again: Sequence[str], budget: str, console: Console
) -> None:
    """Name kept tables that are damaged. Raises `ValueError` for one that this command does not make again:
    the page would lack it."""
    for file, wrong in find_damaged(studies, results).items():
        if file.stem not in made_again or file.parent.name != budget:
            raise ValueError(
                f"{wrong}. Make it again, from the runs that are kept where there are any, with hf-ood "
                f"reproduce --study {file.stem} --budget {file.parent.name}; or delete it."
            )
        console.print(f"[yellow]made again:[/] {escape(wrong)}.")


def unfinished(runs: Sequence[Run], root: Path, console: Console) -> list[Run]:
    """The runs still to do, each setting once; a damaged result is reported and counts as not done."""
    left: dict[Path, Run] = {}
    for run in runs:
        try:
            done = finished(run, root)
        except ValueError as error:
            console.print(f"[yellow]run again:[/] {escape(str(error))}")
            done = False
        if not done:
            left[run.folder(root)] = run
    return list(left.values())


def print_estimate(runs: Sequence[Run], workers: int, console: Console) -> None:
    """Each arm's runs with the time of one, and the time of all; kinds of run are timed once."""
    arms: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        arms.setdefault((run.study, run.arm), []).append(run)
    timed: dict[str, float | str] = {}
    for (study, arm), same in arms.items():
        first = same[0]
        if kind(first) not in timed:
            try:
                timed[kind(first)] = estimate(first)
            except (Exception, SystemExit) as error:  # the run itself would fail so
                timed[kind(first)] = describe(error)
        found = timed[kind(first)]
        each = found if isinstance(found, str) else f"about {duration(found)} each"
        console.print(escape(f"  {study}: {arm}, seeds {', '.join(str(run.seed) for run in same)}: {each}"))
    known = [found for run in runs if not isinstance(found := timed[kind(run)], str)]
    if known:
        on = f"{workers} worker{'s' if workers > 1 else ''}"
        console.print(f"about {duration(makespan(known, workers))} on {on}")
