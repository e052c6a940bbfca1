"""`trainers/reproduce.py`: carry out studies, and write their tables and the page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ..errors import unknown_name
from ..experiments.executors import EXECUTORS
from ..experiments.progress import follow
from ..experiments.study.kept import find_damaged, keep_pictures, show, write_cards
from ..experiments.study.rows import KeptRows
from ..experiments.study.standing import Plan, clear_earlier, look, write_rows, writing_rows
from ..experiments.study.study import BUDGETS, Study, load_study, study_files
from ..reporting.terminal import say
from ..resources import RECIPES, RESULTS
from .funnel import add_debug, one_message
from .signals import one_sentence
from .still_to_do import print_expected, print_standing
from .verify_study import verify

DESCRIPTION = """\
Carry out studies and write tables, figures and one page.

  %(prog)s --list
  %(prog)s --study figure_15 --budget quick --seeds 3
  %(prog)s --budget full          everything; hours on two cores
  %(prog)s --from_results         page and tables from the results that are kept alone

  %(prog)s --budget full --dry_run                         how long it will take
  %(prog)s figure_15 --budget full --verify --seed 3       is this seed the committed one?
  %(prog)s --executor ray --address 10.0.0.1:6379          on a Ray cluster

Finished runs are kept and never repeated, and so are rows of kept tables with the same settings, wherever
they were computed; each run's rows are written as it ends, so after an interruption (Ctrl-C, a machine that
goes away) the same command goes on. Several commands may share a folder of runs: each run is done by one of
them. A run uses one thread, so that its numbers do not depend on how many run side by side: as many workers
as cores use the whole machine."""


KEPT = "Finished runs are kept: the same command goes on."


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="STUDY", help="some studies; default: all")
    parser.add_argument("--study", nargs="+", metavar="NAME", help="the same")
    parser.add_argument("--list", action="store_true", help="show the studies with their arms, and stop")
    parser.add_argument("--only", nargs="+", default=[], metavar="ARM", help="these arms only")
    parser.add_argument("--budget", choices=BUDGETS, help="default: quick; of --verify: what is kept")
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
    parser.add_argument(
        "--rerun",
        action="store_true",
        help="make again what earlier code or other versions made; without this it counts as finished",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="carry --seed N of the named studies out again, and say whether it is the committed one",
    )
    parser.add_argument("--seed", type=seed, metavar="N", help="for --verify")
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
    parser.add_argument(
        "--docs_page", type=Path, help="the page as a document with its pictures beside it: docs/report.md"
    )
    add_debug(parser)
    return parser


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def seed(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is less than 0")
    return number


@one_message
def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when a run failed or is not the committed one."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    named = [*arguments.names, *(arguments.study or [])]
    budget = arguments.budget or "quick"
    try:
        everything = choose(arguments.recipes, None)
        studies = choose(arguments.recipes, named or None)
        plans = [Plan(study, budget, study.runs(budget, arguments.seeds)) for study in studies]
        asked = [
            replace(plan, runs=plan.study.runs(budget, arguments.seeds, arguments.only)) for plan in plans
        ]
    except ValueError as error:
        parser.error(str(error))
    check_flags(arguments, named, parser)
    if arguments.list:
        for study in studies:
            console.print(f"[bold]{escape(study.name)}[/]  {escape(study.title)}")
            for arm in study.arms:
                say(console, f"    {arm}")
        return 0
    made_again = [] if arguments.from_results or arguments.verify else [study.name for study in studies]
    say_damaged(everything, arguments.results_dir, made_again, budget, console)
    if arguments.verify:
        with one_sentence("The committed figures are as they were."):
            return verify(studies, arguments, console)
    failed: list[str] = []
    if not arguments.from_results:
        folder = arguments.results_dir / budget
        kept = KeptRows.of_folders([folder, RESULTS / budget])
        standing = look(asked, kept, arguments.runs_dir, arguments.rerun)
        print_standing(standing, console)
        print_expected(standing, asked, arguments, console)
        if arguments.dry_run:
            return 0
        if arguments.rerun:
            clear_earlier(standing.left, arguments.runs_dir)
        write_rows(standing, folder)
        carry_out = EXECUTORS[arguments.executor]
        events = carry_out(standing.left, arguments.runs_dir, arguments.workers, arguments.address or "auto")
        events = writing_rows(events, plans, kept, arguments.runs_dir, folder)
        with one_sentence(KEPT):
            failed = follow(events, len(standing.left), arguments.runs_dir, console)
        for plan in plans:
            keep_pictures(plan.study, plan.runs, arguments.runs_dir, folder)
            write_cards(plan.study, plan.runs, arguments.runs_dir, arguments.cards_dir, budget)
    page = show(everything, arguments.results_dir, arguments.readme, arguments.docs_page)
    say(console, f"page: {page}\ntables: {page.with_suffix('.md')}")
    for message in failed:
        console.print(f"[red]failed[/] {escape(message)}")
    return 1 if failed else 0


def check_flags(arguments: argparse.Namespace, named: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Refuse flags that would do nothing."""
    if arguments.address and arguments.executor != "ray":
        parser.error("--address goes with --executor ray.")
    if arguments.verify != (arguments.seed is not None) or (arguments.verify and not named):
        parser.error("--verify reruns one seed of the studies that are named: STUDY --verify --seed N.")
    alone = [name for name in ("rerun", "from_results", "dry_run") if getattr(arguments, name)]
    if arguments.verify and alone:
        parser.error(f"--verify does not go with --{alone[0]}.")


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
                f"{wrong}. Bring it back, make it again, from the runs that are kept where there are any, "
                f"with hf-ood reproduce --study {file.stem} --budget {file.parent.name}; or delete it."
            )
        console.print(f"[yellow]made again:[/] {escape(wrong)}.")
