"""Results as tables on the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..data.splits import IN_DOMAIN
from ..data.targets import CLASSIFICATION, MULTI_LABEL, REGRESSION
from ..evaluation.metrics import headline, task_of_report
from ..evaluation.results import RESULTS_FILE
from ..names import visible
from .confusion_figure import CONFUSION_FILE
from .curves import CURVES_FILE
from .many_environments import shortened, summary_note, summary_rows
from .reliability import RELIABILITY_FILE
from .terminal import plain, say

# measure -> heading, format
MEASURES = {
    "accuracy": ("accuracy", ".2%"),
    "macro_f1": ("macro-F1", ".2%"),
    "loss": ("loss", ".3f"),
    "ece": ("ECE", ".2%"),
    "label_accuracy": ("label accuracy", ".2%"),
    "exact_match": ("exact match", ".2%"),
    "auroc": ("AUROC", ".3f"),
    "squared_error": ("squared error", ".3f"),
    "rmse": ("RMSE", ".4g"),
    "mae": ("MAE", ".4g"),
    "r2": ("R2", ".3f"),
}
# What tables show of each environment, by task.
EVALUATED = {
    CLASSIFICATION: ("accuracy", "macro_f1", "loss", "ece"),
    MULTI_LABEL: ("macro_f1", "auroc", "label_accuracy", "exact_match"),
    REGRESSION: ("rmse", "mae", "r2"),
}
SPLITS = {IN_DOMAIN: "in-domain test"}  # what a split is called, where its name is not the word for it
RUN_MEASURES = ("accuracy", "loss")  # more would not fit a narrow terminal; results.json has all


def measures_row(entry: Mapping[str, Any], measures: Collection[str]) -> list[str]:
    """The measures of an entry as they are shown; nothing where one does not exist."""
    return [shown(entry.get(name), name) for name in measures]


def shown(value: float | None, measure: str) -> str:
    return "" if value is None else format(value, MEASURES[measure][1])


def environments_table(
    title: str,
    environments: dict[str, dict[str, Any]],
    measures: Collection[str] = EVALUATED[CLASSIFICATION],
    small: Collection[str] = (),
    part: str = "split",
) -> Table:
    """A row for each environment, a section for each split; `small` ones get a star at their count.
    `part`: what the entries' `split` is called.

    More than `MOST_ROWS` environments of a split are summarised, and the caption says so, as it says which
    of them are predicted as one class.
    """
    table = Table(title=plain(title), title_justify="left")
    said = "\n".join(filter(None, [summary_note(environments), *collapses(environments)]))
    table.caption, table.caption_justify = Text(said) if said else None, "left"
    for column in ("environment", part):
        table.add_column(column, overflow="fold", min_width=len(column))
    for column in (*(MEASURES[name][0] for name in measures), "count"):
        table.add_column(column, justify="right")
    split = None
    few = frozenset(small)
    for name, entry in summary_rows(environments, measures).items():
        if split not in (None, entry["split"]):
            table.add_section()
        split = entry["split"]
        count = f"{entry['count']:,}{'*' if name in few else ''}" if "count" in entry else ""
        shown = SPLITS.get(split, split)
        own_name = plain(name.removeprefix(f"{IN_DOMAIN}/"))
        table.add_row(own_name, plain(shown), *measures_row(entry, measures), count)
    table.add_section()
    return table


def collapses(environments: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence for each environment of several classes whose samples are all predicted as one."""
    return [
        f"{visible(name)}: all {entry['count']:,} samples are predicted as {visible(entry['collapsed_to'])}"
        for name, entry in environments.items()
        if "collapsed_to" in entry
    ]


def results_table(results: dict[str, Any]) -> Table:
    """The environments of a run, then its summary."""
    title = f"{results['method']} on {results['dataset']}/{results['config']}, seed {results['seed']}"
    if (task := task_of_report(results["environments"])) != CLASSIFICATION:
        measures, summary = EVALUATED[task], results.get("summary", {})
        table = environments_table(title, results["environments"], measures)
        for row in ("mean", "worst"):
            table.add_row(row, "test", *measures_row(summary.get(row, {}), measures))
        table.add_row("mean", "train", shown(results.get(f"train_{measures[0]}"), measures[0]))
        return table
    table = environments_table(title, results["environments"], RUN_MEASURES)
    table.add_row("mean", "test", f"{results['mean_accuracy']:.2%}")
    table.add_row("worst", "test", f"{results['worst_accuracy']:.2%}")
    worst = results.get("summary", {}).get("worst", {})
    if "worst_group" in worst:
        table.add_row("worst group", "test", f"{worst['worst_group']:.2%}")
    if results.get("in_domain_split") == IN_DOMAIN:
        table.add_row("mean", SPLITS[IN_DOMAIN], f"{results['in_domain_accuracy']:.2%}")
    table.add_row("mean", "train", f"{results['train_accuracy']:.2%}")
    table.add_row("gap", "train - test", f"{results['gap']:.2%}")
    if "shift_gap" in results:
        compared = SPLITS.get(results["in_domain_split"], results["in_domain_split"]).removesuffix(" test")
        table.add_row("shift gap", f"{compared} - test", f"{results['shift_gap']:.2%}")
    return table


def evaluation_table(results: dict[str, Any]) -> Table:
    """The environments of an evaluation, then mean, worst and gap of every measure; of a run's, those that it
    was trained on, validated on and never saw apart, in rows and means."""
    data = "/".join(filter(None, (results["dataset"], results["config"])))
    title = f"{results['model']} on {data}"
    if "adapted" in results:
        title += f", adapted by {results['adapted']['by']} ({results['adapted']['note']})"
    entries = results["environments"]
    if by_role := results.get("summary_by_role"):
        title += f", split {results['split']}"
        entries = {
            name: {**entry, "split": entry["role"]}
            for role in by_role
            for name, entry in entries.items()
            if entry["role"] == role
        }
    summaries = by_role or {results["split"]: results["summary"]}
    part = "in the run" if by_role else "split"
    measures = EVALUATED[task_of_report(entries)]
    table = environments_table(title, entries, measures, small_environments(results), part)
    for name, summary in summaries.items():
        for row in ("mean", "worst", "gap"):
            table.add_row(row, plain(name), *measures_row(summary[row], measures))
    return table


def adaptation_told(results: Mapping[str, Any]) -> str:
    """What adapting changed, and where it was given up."""
    unadapted, adapted = results["unadapted"], results["adapted"]
    kind = headline(unadapted["environments"])
    lines = [f"{adapted['by']} {adapted['note']}; without it {told_means(unadapted, kind)}"]
    for name, watched in adapted.get("watched", {}).items():
        figures = f"{watched['before']:.2%} before, {watched['after']:.2%} after"
        outcome = "" if watched["kept"] else ": it failed, so the network as it was is measured"
        lines.append(f"{visible(name)}: on validation samples {figures}{outcome}")
    return "\n".join(lines)


def told_means(figures: Mapping[str, Any], kind: str) -> str:
    """`mean 71.00%, worst 60.00%`, of all that is measured."""
    return ", ".join(f"{of} {shown(figures[f'{of}_{kind}'], kind)}" for of in ("mean", "worst"))


def calibration_table(calibration: Mapping[str, Any]) -> Table:
    """Loss and calibration error of each environment, before and after the logits were divided."""
    title = f"temperature {calibration['temperature']:.3f}, fitted to {calibration['fitted_to']}"
    table = Table(title=title, title_justify="left")
    table.add_column("environment")
    table.add_column("split")
    for column in ("loss before", "after", "ECE before", "after"):
        table.add_column(column, justify="right")
    for split, entries in (("validation", calibration["validation"]), ("", calibration["environments"])):
        for name, entry in entries.items():
            cells = [
                shown(entry[when].get(measure), measure)
                for measure in ("loss", "ece")
                for when in ("before", "after")
            ]
            table.add_row(plain(name), split or "measured", *cells)
        table.add_section()
    return table


def small_environments(results: Mapping[str, Any]) -> list[str]:
    """The environments with too few samples to trust."""
    by_role = results.get("summary_by_role")
    summaries = by_role.values() if by_role else [results["summary"]]
    return [name for summary in summaries for name in summary["small_environments"]]


def interpolation_table(line: list[dict[str, Any]]) -> Table:
    """Accuracies, or a regression's squared errors, on the line from the starting weights (share 0) to the
    trained ones (share 1); a star at the chosen share."""
    table = Table(title="from the starting to the trained weights", title_justify="left")
    columns = [name for name in line[0] if name not in ("share", "chosen")]
    for name in ("share", *columns):
        table.add_column(name.replace("_accuracy", "").replace("_", " "), justify="right")
    for point in line:
        cells = (shown_measure(name, point[name]) for name in columns)
        table.add_row(f"{point['share']:g}{'*' if point['chosen'] else ''}", *cells)
    return table


def soup_table(runs: list[dict[str, Any]]) -> Table:
    """The runs whose weights were averaged, with the measure that chooses on validation and test
    environments; a star at those that are part of the average."""
    headings, *rows = soup_rows(runs)
    table = Table(title="runs of the soup", title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < 2 else "right")
    for row, run in zip(rows, runs, strict=True):
        table.add_row(plain(f"{row[0]}{'*' if run['used'] else ''}"), *map(plain, row[1:]))
    return table


def soup_rows(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Headings, and a row for each run: its name, its method, the measures."""
    measures = [name for name in runs[0] if name not in ("run", "method", "used")]
    named = [name.replace("_accuracy", "").replace("_", " ") for name in measures]
    cells = [
        [run["run"], run["method"], *(shown_measure(name, run[name]) for name in measures)] for run in runs
    ]
    return [["run", "method", *named], *cells]


def shown_measure(name: str, value: Any) -> str:
    """A cell of such a table: shares in per cent."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.2%}" if name.endswith(("accuracy", "macro_f1")) else f"{value:.3f}"


def print_results(results: dict[str, Any], folder: str) -> None:
    console = Console()
    console.print(results_table(results))
    if results.get("interpolation"):
        console.print(interpolation_table(results["interpolation"]))
    if results.get("soup"):
        console.print(soup_table(results["soup"]))
    say(
        console,
        f"selection: {results['selection']}; {results['steps']} steps, {results['seconds']:.0f} s, "
        f"{results['samples_per_second']:,.0f} samples/s",
    )
    _print_files(
        console,
        Path(folder),
        {
            "checkpoint": "model.safetensors",
            "results": RESULTS_FILE,
            "card": "README.md",
            "curves": CURVES_FILE,
        },
    )


def print_evaluation(results: dict[str, Any], folder: Path) -> None:
    console = Console()
    console.print(evaluation_table(results))
    if "adapted" in results:
        say(console, adaptation_told(results))
    if "calibration" in results:
        console.print(calibration_table(results["calibration"]))
    if small := small_environments(results):
        say(console, f"* too few samples to trust: {shortened(list(map(visible, small)))}")
    for note in results.get("notes", []):
        say(console, note)
    say(
        console,
        f"labels matched {results['label_mapping']}; {results['seconds']:.0f} s, "
        f"{results['samples_per_second']:,.0f} samples/s",
    )
    _print_files(
        console,
        folder,
        {"results": RESULTS_FILE, "confusion": CONFUSION_FILE, "reliability": RELIABILITY_FILE},
    )


def _print_files(console: Console, folder: Path, files: dict[str, str]) -> None:
    width = max(map(len, files)) + 1
    for what, file in files.items():
        if not (folder / file).exists():
            continue  # a run on vectors has no card, a soup no curves
        say(console, f"{what + ':':{width}s} {folder / file}")
