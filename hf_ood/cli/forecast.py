"""`hf-ood forecast`: how well a finished run will work at a site that has no labels yet."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from ..data.built_in import refuse_made_in_memory, refuse_unwritten
from ..data.folders import LABEL
from ..data.measured_rows import input_columns, read_rows
from ..data.reading import column_of
from ..evaluation.forecast.over_environments import CONFIDENCE, INTERVALS
from ..evaluation.forecast.weighting import RULES
from ..evaluation.prediction import load_classifier
from ..evaluation.results import versions
from ..experiments.executors import EXECUTORS
from ..experiments.forecast.forecast import Site, forecast_run
from ..experiments.forecast.heads import are_heads, head_trials, in_bulk
from ..experiments.forecast.plan import Plan, find_finished, make_plan
from ..experiments.forecast.report import FORECAST_FILE, print_forecast
from ..experiments.forecast.trials import MeasuredTrial, measure_trial
from ..experiments.head_estimate import estimate_together
from ..experiments.keyed_run import Run
from ..experiments.progress import duration, follow
from ..experiments.time_estimate import estimate, kind, makespan
from ..files import all_or_nothing
from ..json_files import json_text
from ..local_paths import without_local_paths
from ..names import file_name
from ..reporting.terminal import say
from ..runs.cores import cores
from ..runs.folder import recorded_spec
from ..runs.published_command import command_line
from .funnel import add_debug, one_message
from .parser import HelpFormatter, add_reading, reading_of
from .predict import refuse_missing_processor
from .reproduce import KEPT, positive
from .signals import one_sentence

UNASKED_SECONDS = 60.0  # re-runs that take longer are asked about first


@one_message
def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse the command line, make the re-runs that are missing, and leave `forecast.json` in a folder.
    Returns what it holds."""
    flags = list(sys.argv[1:] if argv is None else argv)
    arguments = make_parser().parse_args(flags)
    return run(arguments, command_line("hf-ood forecast", flags), Console(highlight=False, soft_wrap=True))


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Forecast how well a finished run will work at a new site, from rows without labels.\n\n"
        "  %(prog)s --run runs/mine --unlabelled new.csv\n"
        "  %(prog)s --run runs/mine                      the trials alone, for hf-ood dossier\n\n"
        "The run is made again without each of its training environments in turn, so that estimators of\n"
        "accuracy are tried where the truth is known. They are weighed by how far they were off there, and\n"
        "how far their average was off gives the interval: one over environments. A column of labels\n"
        "that is filled in some rows corrects it.\n\n"
        "Where the network is frozen (--cache_features), re-runs are heads on features that are computed\n"
        "once and kept below --runs_dir, where those of a sweep or a bench are found too.",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--run", required=True, type=Path, help="The output folder of a finished run.")
    parser.add_argument(
        "--unlabelled", help="Rows of the new site: a table, a folder of images, or a Hub dataset."
    )
    parser.add_argument("--dataset_config", help="Of those rows: the dataset's configuration.")
    parser.add_argument("--split", help="Of those rows: the split. Default: the only one, or test.")
    parser.add_argument(
        "--seeds",
        type=positive,
        default=1,
        help="Seeds of every re-run, the run's own first; from two on their agreement is an estimator.",
    )
    parser.add_argument(
        "--rule",
        choices=list(RULES),
        default="average",
        help="Of several estimators: average, weighed by their errors in the trials, or best, the one that "
        "was off least.",
    )
    parser.add_argument(
        "--interval",
        choices=list(INTERVALS),
        default="t",
        help="Over environments: t, or conformal, which assumes no distribution and needs 9 environments.",
    )
    parser.add_argument("--confidence", type=float, default=CONFIDENCE, help="Of the interval.")
    parser.add_argument(
        "--runs_dir", type=Path, default=Path("runs/forecasts"), help="Where re-runs are kept."
    )
    parser.add_argument(
        "--reuse", type=Path, nargs="+", default=[], metavar="DIR",
        help="Folders of runs, such as a sweep's, in which re-runs may be found.",
    )  # fmt: skip
    parser.add_argument("--executor", choices=list(EXECUTORS), default="workers", help="Of re-runs.")
    parser.add_argument("--workers", type=positive, metavar="N", help="At a time. Default: the cores.")
    parser.add_argument("--yes", action="store_true", help="Do not ask before re-runs that take minutes.")
    parser.add_argument(
        "--output_dir", type=Path, help="Folder of forecast.json. Default: forecasts/<run>[-on-<rows>]."
    )
    add_reading(parser)
    add_debug(parser)
    return parser


def run(arguments: Namespace, command: str, console: Console) -> dict[str, Any]:
    """Make what is missing, forecast, write and show."""
    if not 0.5 <= arguments.confidence < 1:
        raise ValueError(f"--confidence must lie in 0.5..1, not {arguments.confidence:g}.")
    plan = make_plan(arguments.run)
    site = None if arguments.unlabelled is None else read_site(arguments)
    runs = {
        (name, number): plan.without(name, number)
        for name in plan.environments
        for number in range(arguments.seeds)
    }
    again = [plan.again(number) for number in range(1, arguments.seeds)]
    trials = measured_trials(plan, runs, again, arguments, console)
    own = [plan.folder, *(one.folder(arguments.runs_dir) for one in again)]
    report = {
        **forecast_run(own, trials, site, arguments.rule, arguments.interval, arguments.confidence),
        "versions": versions(),
        "command": without_local_paths(command),
    }
    folder = arguments.output_dir or Path("forecasts") / file_name(
        "-on-".join([plan.folder.resolve().name, *([site.name] if site else [])])
    )
    with all_or_nothing(folder, last=FORECAST_FILE) as files:
        (files / FORECAST_FILE).write_text(json_text(report, indent=1) + "\n", encoding="utf-8")
    print_forecast(report, console)
    say(console, f"report: {folder / FORECAST_FILE}")
    return report


def measured_trials(
    plan: Plan,
    runs: dict[tuple[str, int], Run],
    again: Sequence[Run],
    arguments: Namespace,
    console: Console,
) -> list[MeasuredTrial]:
    """The trial of each environment: of heads on frozen features, or of re-runs. What is missing is made."""
    root = arguments.runs_dir
    kept = all(find_finished(run, name, root, arguments.reuse) for (name, _), run in runs.items())
    if not kept and are_heads(list(runs.values()), root):
        if again:
            carry_out({}, again, arguments, console)
        heads = [in_bulk(run) for run in runs.values()]
        console.print(f"{len(heads)} heads on the features of a frozen network, which are computed once.")
        agree(estimate_together(heads), 1, arguments, console)
        return head_trials(runs, root, lambda sentence: say(console, sentence))
    folders = carry_out(runs, again, arguments, console)
    return [
        measure_trial([folders[name, number] for number in range(arguments.seeds)], name)
        for name in plan.environments
    ]


def carry_out(
    runs: dict[tuple[str, int], Run],
    again: Sequence[Run],
    arguments: Namespace,
    console: Console,
) -> dict[tuple[str, int], Path]:
    """The folder of each re-run, those that are missing made first. Raises `ValueError` when one fails, and
    where nobody can be asked whether minutes may be spent."""
    root = arguments.runs_dir
    found = {
        which: find_finished(one, which[0], root, arguments.reuse if which[1] == 0 else ())
        for which, one in runs.items()
    }
    left = [runs[which] for which, folder in found.items() if folder is None]
    left += [one for one in again if find_finished(one, "", root) is None]
    reused = len(runs) + len(again) - len(left)
    console.print(f"{reused} of {len(runs) + len(again)} re-runs are finished, {len(left)} to do.")
    if left:
        ask(left, arguments, console)
        with one_sentence(KEPT):
            failed = follow(
                EXECUTORS[arguments.executor](left, root, arguments.workers), len(left), root, console
            )
        if failed:
            raise ValueError(f"A re-run failed, so there is no forecast: {failed[0]}")
    return {which: folder or runs[which].folder(root) for which, folder in found.items()}


def ask(left: Sequence[Run], arguments: Namespace, console: Console) -> None:
    """Say what the re-runs will cost and, where that is minutes, ask. Raises `ValueError` for a no."""
    workers = 1 if arguments.executor == "in_process" else arguments.workers or cores()
    of_kind: dict[str, float] = {}
    for one in left:
        if kind(one) not in of_kind:
            of_kind[kind(one)] = estimate(one) if not of_kind else next(iter(of_kind.values()))
    agree(makespan([of_kind[kind(one)] for one in left], workers), workers, arguments, console)


def agree(seconds: float, workers: int, arguments: Namespace, console: Console) -> None:
    """The same of so many seconds."""
    console.print(f"They take about {duration(seconds)} on {workers} worker{'s' if workers > 1 else ''}.")
    if seconds <= UNASKED_SECONDS or arguments.yes:
        return
    if not sys.stdin.isatty():
        raise ValueError(f"The re-runs take about {duration(seconds)}: add --yes to spend that.")
    if console.input("Make them now? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ValueError("No re-run was made: nothing is forecast without them.")


def read_site(arguments: Namespace) -> Site:
    """The rows of the new site, and the labels that some of them have. Raises `ValueError` for a run whose
    model reads no table."""
    name, folder = str(arguments.unlabelled), str(arguments.run)
    refuse_made_in_memory(name, "hf-ood forecast")
    refuse_unwritten(name)
    rows, own = read_rows(name, arguments.dataset_config, arguments.split, reading_of(arguments))
    data = recorded_spec(arguments.run).data
    refuse_missing_processor(folder)
    _, processor = load_classifier(folder)
    text = data.text_column if set(data.text_column or []) <= set(rows.column_names) else None
    columns = input_columns(rows, processor, data.image_column, text, data.audio_column)
    label = column_of(data.label_column[0], LABEL)
    labels = labels_of(own, label)
    return Site(Path(name).name, rows, columns, labels, processor, data.max_length)


def labels_of(own: pd.DataFrame, column: str) -> list[str | None]:
    """The label of each row by name, None where the cell is empty or there is no such column."""
    if column not in own:
        return [None] * len(own)
    return [None if pd.isna(cell) or str(cell).strip() == "" else str(cell) for cell in own[column]]
