"""`trainers/sweep.py`: which method generalises, with hyper-parameters that were chosen honestly."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from ..errors import unknown_name
from ..evaluation.selection import PROTOCOLS, GivenEnvironment, Protocol
from ..experiments.executors import EXECUTORS
from ..experiments.head_estimate import estimate_together
from ..experiments.jobs import jobs_of, told
from ..experiments.keyed_run import Run, finished
from ..experiments.progress import duration, follow
from ..experiments.sweep.held_out import environments_of
from ..experiments.sweep.plan import Plan
from ..experiments.sweep.report import report
from ..experiments.sweep.rounds import carry_on
from ..experiments.sweep.space import defaults
from ..experiments.sweep.trials import PRUNERS, SAMPLERS, Trials, open_storage
from ..methods.registry import build_method
from ..passwords import without_passwords
from ..reporting.terminal import say
from ..resources import recipe_file
from ..runs.cores import cores
from ..runs.recipe import read_recipe
from ..runs.settings import Settings, canonical
from .funnel import add_debug, one_message
from .reproduce import KEPT, positive
from .signals import one_sentence
from .still_to_do import print_estimate

TEST_SPLIT = "test_split"
DESCRIPTION = """\
Sweep methods x held-out environments x hyper-parameters x seeds, and choose hyper-parameters by stated rules.

  %(prog)s --config sweep --methods erm irm vrex rsc --trials 20 --seeds 3
  %(prog)s --config my.yaml --methods erm irm --protocols validation leave_one_out --held_out hospital_3
  %(prog)s ... --sampler tpe --storage postgresql://user:password@host/sweeps    on several machines at once

A held-out environment is left out whole: no sample of it is trained on. Of every other environment a part is
held out for validation (--validation of train.py, Colored MNIST's own validation split). Protocols:

  validation      mean accuracy on the training environments' held-out samples
  worst           the same, of the worst environment
  leave_one_out   accuracy on an environment that the run left out too, mean over environments (more runs)
  NAME            accuracy on the environment NAME, which the final run does not train on either (more runs)
  oracle          accuracy on the held-out environment itself: an upper bound, marked red everywhere

Finished runs are kept and never repeated; after an interruption the same command goes on."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """Of a mistyped flag, argparse quotes the value."""
        super().error(without_passwords(message, [*sys.argv, message.partition(": ")[2]]))


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="a recipe, or the name of one: data, model, training")
    parser.add_argument("--methods", nargs="+", required=True, metavar="METHOD", help="erm irm vrex+rsc ...")
    parser.add_argument("--trials", type=positive, default=20, help="per method and held-out environment; "
                        "default: 20 (DomainBed). The first has the defaults: --trials 1 compares methods as "
                        "shipped")  # fmt: skip
    parser.add_argument("--seeds", type=positive, default=3, help="of each trial; default: 3 (DomainBed)")
    parser.add_argument(
        "--held_out", nargs="+", metavar="ENV",
        help=f"held out in turn, or {TEST_SPLIT}: the data's own test split; default: every one that trains",
    )  # fmt: skip
    parser.add_argument(
        "--protocols", nargs="+", default=["validation", "oracle"], metavar="RULE",
        help=f"{', '.join(PROTOCOLS)}, or an environment's name; default: validation oracle. The first one "
        "guides the sampler and the pruner, and writes the recipes",
    )  # fmt: skip
    parser.add_argument("--sampler", choices=SAMPLERS, default="random", help="default: random (DomainBed)")
    parser.add_argument(
        "--pruner", choices=list(PRUNERS), default="none",
        help="median: no more seeds for a trial whose first are below the median; default: none",
    )  # fmt: skip
    parser.add_argument("--name", default="sweep", help="of the sweep in the storage; default: sweep")
    parser.add_argument("--storage", metavar="URL", help="an Optuna storage that machines may share: "
                        "postgresql://...; default: sqlite file in --results_dir")  # fmt: skip
    parser.add_argument("--executor", choices=list(EXECUTORS), default="workers", help="default: workers")
    parser.add_argument("--workers", type=positive, metavar="N", help="runs at a time; default: the cores")
    parser.add_argument("--address", metavar="HOST:PORT|auto|local", help="of a Ray cluster")
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/sweeps"), help="where runs are kept")
    parser.add_argument(
        "--results_dir", type=Path, default=Path("sweeps"), help="where tables and recipes go"
    )
    parser.add_argument("--dry_run", action="store_true", help="show spaces, count and time runs, and stop")
    add_debug(parser)
    return parser


@one_message
def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when a run failed."""
    arguments = make_parser().parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    plan = make_plan(arguments)
    folder = arguments.results_dir / arguments.name
    if arguments.dry_run:
        return _preview(plan, arguments, console)
    folder.mkdir(parents=True, exist_ok=True)
    trials = Trials(
        arguments.name,
        open_storage(arguments.storage or f"sqlite:///{arguments.results_dir / 'sweeps.db'}"),
        arguments.sampler,
        arguments.pruner,
        arguments.runs_dir / "trials",
    )
    workers = 1 if arguments.executor == "in_process" else arguments.workers or cores()

    def carry_out(runs: Sequence[Run]) -> list[str]:
        jobs = jobs_of(runs)
        if any(job.together for job in jobs):
            say(console, told(jobs))
        events = EXECUTORS[arguments.executor](
            runs, arguments.runs_dir, arguments.workers, arguments.address or "auto"
        )
        return follow(events, len(runs), arguments.runs_dir, console) if runs else []

    guide, root, seeds = plan.protocols[0], arguments.runs_dir, range(arguments.seeds)
    at_once = arguments.trials if arguments.sampler == "random" else workers
    with one_sentence(KEPT):
        failed = carry_on(
            plan, arguments.methods, trials, arguments.trials, seeds, at_once, guide, root, carry_out
        )
    page = report(plan, arguments.methods, trials, seeds, root, folder, console)
    say(console, f"tables: {page}" if page else "No trial is complete.")
    for message in failed:
        console.print(f"[red]failed[/] {escape(message)}")
    return 1 if failed else 0


def make_plan(arguments: argparse.Namespace) -> Plan:
    """Raises `ValueError` for unknown names of methods, environments and protocols."""
    recipe = recipe_file(arguments.config)
    settings: Settings = canonical(read_recipe(recipe).settings)
    refuse_own_test_environments(arguments, settings)
    for key in ("method", "train_environments", "test_environments", "seed"):
        settings.pop(key, None)  # what the sweep varies
    rows, own = environments_of(recipe)
    environments = list(rows)
    choice = [*environments, TEST_SPLIT] if own else environments
    held_out = {}
    for name in arguments.held_out or environments:
        if name not in choice:
            raise ValueError(unknown_name("environment", name, choice))
        held_out[name] = [name] if name in environments else own
    protocols = [make_protocol(name, environments) for name in arguments.protocols]
    plan = Plan(settings, rows, held_out, protocols)
    for method in arguments.methods:
        least = build_method(method).objective.min_environments
        for name in held_out:
            for run in plan.runs(method, {}, name, 0).values():
                left = run.settings["train_environments"]
                if len(left) < least:
                    raise ValueError(
                        f"{method} needs {least} training environments, and {run.arm} has {len(left)}: hold "
                        "out fewer at a time (protocols that need folds hold out one more), or leave it out."
                    )
    return plan


def refuse_own_test_environments(arguments: argparse.Namespace, settings: Settings) -> None:
    """Raise `ValueError` when the recipe holds environments out itself, and nothing says what is to become of
    them."""
    own = settings.get("test_environments") or []
    own = [own] if isinstance(own, str) else own
    if not own or (arguments.held_out and not set(own) & set(arguments.held_out)):
        return
    told = ", ".join(map(str, own))
    raise ValueError(
        f"{arguments.config} has test_environments: {told}, while a sweep holds environments out itself. "
        f"Test on them alone with --held_out {TEST_SPLIT}; or hold every environment out in turn, by a "
        f"recipe without test_environments; or name others after --held_out, and {told} will not be used."
    )


def make_protocol(name: str, environments: Sequence[str]) -> Protocol:
    if name in PROTOCOLS:
        return PROTOCOLS[name]()
    if name in environments:
        return GivenEnvironment(name)
    raise ValueError(unknown_name("protocol", name, [*PROTOCOLS, *environments]))


def _preview(plan: Plan, arguments: argparse.Namespace, console: Console) -> int:
    """What a sweep would look for and how long it would take."""
    for method in arguments.methods:
        console.print(f"[bold]{escape(method)}[/]")
        for name, (space, default) in plan.space(method).items():
            looked = f"{space.low:g} .. {space.high:g}{' log' if space.log else ''}, {space.source}"
            say(console, f"  {name}: {looked} (default {default:g})")
    runs = {
        (run.folder(arguments.runs_dir), trial): run
        for method in arguments.methods
        for held_out in plan.held_out
        for trial in range(arguments.trials)
        for seed in range(arguments.seeds)
        for run in plan.runs(method, defaults(plan.space(method)), held_out, seed).values()
        if not finished(run, arguments.runs_dir)
    }
    console.print(f"{len(runs)} runs at most, timed at the default hyper-parameters:")
    workers = 1 if arguments.executor == "in_process" else arguments.workers or cores()
    jobs = jobs_of(list(runs.values()))
    heads = [run for job in jobs if job.together for run in job.runs]
    if heads:
        seconds = duration(estimate_together(heads, workers))
        on = f"{workers} worker{'s' if workers > 1 else ''}"
        say(console, f"  {told(jobs)}: about {seconds} on {on}, those that go together")
    others = [job.first for job in jobs if not job.together]
    if others:
        print_estimate(others, workers, console)
    return 0
