"""`trainers/bench.py`: every method on data sets of real shifts, chosen honestly, as one page."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from transformers.utils import logging

from ..errors import unknown_name
from ..experiments.bench.built_data import with_data
from ..experiments.bench.carry_out import Place, results_of, train
from ..experiments.bench.configuration import (
    Configuration,
    default_names,
    find,
    named_configurations,
    read,
)
from ..experiments.bench.expected import rehearse
from ..experiments.bench.kept import KEPT, Kept, find_kept, find_largest, keep
from ..experiments.bench.plan import Bench, make_bench
from ..experiments.bench.show import flips, show
from ..experiments.executors import EXECUTORS
from ..experiments.keyed_run import Run
from ..experiments.progress import duration, follow
from ..experiments.study.study import BUDGETS
from ..experiments.sweep.trials import open_journal, open_storage
from ..reporting.terminal import say
from ..runs.cores import cores
from .funnel import add_debug, one_message
from .reproduce import KEPT as KEPT_SENTENCE
from .reproduce import positive, seed
from .signals import one_sentence

DESCRIPTION = """\
Which method generalises, on data sets of real shifts or on yours? Methods x held-out environments x
hyper-parameters x seeds, chosen without the test environment, against ERM, as one page.

  %(prog)s --budget quick                                    a few methods on all sets, about ten minutes
  %(prog)s --budget full                                     every method, about two hours
  %(prog)s --data my.yaml --methods erm irm rsc --trials 5   your own data: a recipe of hf-ood train
  %(prog)s --budget full --first_seed 5 --results_dir again --against bench
  %(prog)s --from_results                                    the page from what is kept, training nothing

Of every data set each environment is held out in turn. Trial 0 has the defaults, the others are drawn from
the spaces that the page names. What chooses: held-out samples of the training environments, and (full) each
of these left out too; the oracle, whom the test environment tells, stands apart in red. ERM is also trained
on every environment by itself: what there is to win. Finished runs are kept and never repeated; after an
interruption the same command goes on, and several machines may share --storage and --runs_dir."""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="NAME|RECIPE",
        help="data sets of a bench, by name (--list shows them), or recipes of your own, by path; default: "
        "all that --list marks",
    )
    parser.add_argument("--list", action="store_true", help="show the data sets, and stop")
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help="erm irm rsc+ema ..., or all; default: the budget's. ERM is always among them",
    )
    parser.add_argument(
        "--budget",
        choices=BUDGETS,
        help="default: quick; of --from_results: the larger kept of each data set",
    )
    parser.add_argument("--trials", type=positive, help="per method and environment; quick: 2, full: 10")
    parser.add_argument("--seeds", type=positive, help="of each trial; quick: 3, full: 5")
    parser.add_argument("--first_seed", type=seed, default=0, metavar="N", help="seeds from N on; default: 0")
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="an Optuna storage that machines may share; default: a file in --runs_dir",
    )
    parser.add_argument("--executor", choices=list(EXECUTORS), default="workers", help="default: workers")
    parser.add_argument("--workers", type=positive, metavar="N", help="at a time; default: the cores")
    parser.add_argument("--address", metavar="HOST:PORT|auto|local", help="of a Ray cluster")
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/bench"), help="where runs are kept")
    parser.add_argument(
        "--data_dir",
        type=Path,
        help="where data sets are written that are read from a folder; default: data in --runs_dir",
    )
    parser.add_argument("--results_dir", type=Path, default=Path("bench"), help="where results and pages go")
    parser.add_argument("--from_results", action="store_true", help="train nothing: read the kept tables")
    parser.add_argument("--dry_run", action="store_true", help="count and time what there is to do, and stop")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="the results of another bench, of other seeds: name every verdict that is the opposite there",
    )
    parser.add_argument(
        "--docs_page",
        type=Path,
        help="the page as a document with its pictures beside it: docs/leaderboard.md",
    )
    parser.add_argument(
        "--guide", type=Path, help="a document whose marked tables are renewed: docs/which_method.md"
    )
    add_debug(parser)
    return parser


@one_message
def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when a run failed."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    if arguments.list:
        return _list(console)
    if arguments.address and arguments.executor != "ray":
        parser.error("--address goes with --executor ray.")
    failed: list[str] = []
    budget = arguments.budget
    if arguments.from_results:
        _refuse_training_flags(arguments, parser)
    else:
        budget = budget or "quick"
        benches = [_bench(name, budget, arguments) for name in arguments.data or default_names()]
        benches = _rehearsed(benches, arguments, console)
        _refuse_nowhere(arguments.methods, benches)
        if arguments.dry_run:
            return 0
        failed = _train(benches, arguments, console)
    named = [Path(name).stem for name in arguments.data] if arguments.data else None
    results_dir = arguments.results_dir
    kept = find_kept(budget, results_dir, KEPT, names=named) if budget else find_largest(results_dir, named)
    if not kept:
        say(console, f"No results are kept for the budget {budget}.")
        return 1
    folder = results_dir / max((each.budget for each in kept), key=BUDGETS.index)
    page = show(kept, folder, console, arguments.docs_page, arguments.guide)
    if arguments.against is not None:
        _compare(kept, arguments.against, console)
    say(console, f"page: {page}\ntables: {page.with_suffix('.md')}, {page.with_suffix('.csv')}")
    for message in failed:
        console.print(f"[red]failed[/] {escape(message)}")
    return 1 if failed else 0


def _list(console: Console) -> int:
    defaults = default_names()
    for name, file in named_configurations().items():
        mark = "*" if name in defaults else " "
        say(console, f"{mark} {name}: {read(file).section.title}")
    say(console, "* run where no data are named")
    return 0


def _bench(name: str, budget: str, arguments: argparse.Namespace) -> Bench:
    configuration = read(find(name))
    amount = configuration.amount(budget)
    data_dir = arguments.data_dir or arguments.runs_dir / "data"
    configuration = Configuration(
        configuration.name, with_data(configuration.settings, data_dir), configuration.section
    )
    methods = arguments.methods or amount.methods
    if methods == ["all"]:
        methods = None
    trials, seeds = arguments.trials or amount.trials, arguments.seeds or amount.seeds
    assert trials is not None and seeds is not None, "a budget says how many"
    return make_bench(
        configuration,
        budget,
        methods,
        trials,
        range(arguments.first_seed, arguments.first_seed + seeds),
        folds=budget == "full",
    )


def _refuse_training_flags(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    for name in ("methods", "trials", "seeds", "storage", "workers", "dry_run", "data_dir", "first_seed"):
        if getattr(arguments, name):
            parser.error(f"--from_results trains nothing: leave --{name} out.")


def _refuse_nowhere(methods: Sequence[str] | None, benches: Sequence[Bench]) -> None:
    """Raise `ValueError` for a method that was asked for and goes with none of the data."""
    for method in methods or []:
        if method != "all" and not any(method in bench.methods for bench in benches):
            bench = benches[0]
            raise ValueError(f"--methods {method}: {bench.left_out.get(method, 'not on these data')}")


@contextmanager
def without_warnings() -> Iterator[None]:
    """Within, libraries tell errors alone."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _rehearsed(benches: Sequence[Bench], arguments: argparse.Namespace, console: Console) -> list[Bench]:
    """Say what there is to do and how long it will take, before anything is trained; the benches without the
    methods that would fail."""
    workers = 1 if arguments.executor == "in_process" else arguments.workers or cores()
    total, seconds = 0, 0.0
    going: list[Bench] = []
    for rehearsed in benches:
        with without_warnings():  # they are told where a run says them
            found = rehearse(rehearsed, workers)
        bench, each = found.bench, found.bench.trainings()
        total, seconds, going = total + each, seconds + found.seconds, [*going, bench]
        folds = ", leave-one-out" if len(bench.plan.protocols) > 2 else ""
        say(
            console,
            f"{bench.name}: {len(bench.methods)} methods, {len(bench.plan.held_out)} environments{folds}, "
            f"{bench.trials} trials, seeds {bench.seeds[0]} to {bench.seeds[-1]}: {each:,} trainings, about "
            f"{duration(found.seconds)}",
        )
        for method, reason in bench.left_out.items():
            say(console, f"  left out: {method}: {reason}")
    on = f"{workers} core{'s' if workers > 1 else ''}"
    say(console, f"{total:,} trainings in all, about {duration(seconds)} on {on}, less what is done.")
    return going


def _train(benches: Sequence[Bench], arguments: argparse.Namespace, console: Console) -> list[str]:
    """Data set by data set; what each has found is kept as soon as it is at its end."""
    arguments.runs_dir.mkdir(parents=True, exist_ok=True)
    asked = arguments.storage
    storage = open_storage(asked) if asked else open_journal(arguments.runs_dir / "trials.log")
    place = Place(storage, arguments.runs_dir)

    def carry_out(runs: Sequence[Run]) -> list[str]:
        events = EXECUTORS[arguments.executor](
            runs, arguments.runs_dir, arguments.workers, arguments.address or "auto"
        )
        return follow(events, len(runs), arguments.runs_dir, console) if runs else []

    failed: list[str] = []
    for bench in benches:
        with one_sentence(KEPT_SENTENCE):
            failed += train(bench, place, carry_out, lambda sentence: say(console, sentence))
            found = results_of(bench, place)
        if found is not None:
            keep(found, arguments.results_dir / bench.budget / bench.name)
    return failed


def _compare(kept: Sequence[Kept], folder: Path, console: Console) -> None:
    """Say which verdicts are the opposite in the results of another bench at the same budget. Raises
    `ValueError` where it has not all of the data sets."""
    for each in kept:
        others = {other.name: other for other in find_kept(each.budget, folder)}
        if each.name not in others:
            raise ValueError(unknown_name(f"data set of {folder / each.budget}", each.name, list(others)))
        found = flips(each, others[each.name])
        told = "; ".join(found) if found else "no verdict is the opposite"
        say(
            console,
            f"{each.name}, seeds {each.about['seeds']} and {others[each.name].about['seeds']}: {told}",
        )
