"""A comparison in words and cells, for terminal, Markdown and HTML alike."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..evaluation.comparison import IN_DOMAIN, LEVEL, MEAN, SUMMARY, WORDS, WORST, Comparison
from ..evaluation.verdicts import Verdict
from ..names import visible
from .terminal import plain

MOST_COLUMNS = 6  # held-out environments that are shown one by one on a terminal
COLORS = {WORDS[Verdict.HOLDS]: "green", WORDS[Verdict.REVERSED]: "red"}
NOT_TOGETHER = "†"
WIDEST_VERDICT = 12  # characters of inconclusive
Cell = list[str]  # parts: a line each on a terminal, one line elsewhere


def result_cells(comparison: Comparison, most_environments: int = MOST_COLUMNS) -> dict[str, dict[str, Cell]]:
    """The main table by row and column: held-out environments, mean, worst, in domain, differences, cost.

    One held-out environment is its own mean and worst; of more than `most_environments` only these two are
    shown.
    """
    held_out = comparison.held_out
    columns = [("test", name) for name in held_out] if len(held_out) <= most_environments else []
    columns += [(SUMMARY, name) for name in ((MEAN, WORST) if len(held_out) > 1 else ())]
    columns += [(SUMMARY, IN_DOMAIN)]
    rules = comparison.cost["selection"].nunique() > 1
    table = {}
    for line in comparison.cost.itertuples():
        row = str(line.row)
        cells = {name: _found(comparison, row, split, name) for split, name in columns}
        cells |= {
            f"{of if len(held_out) > 1 else 'difference'} - {comparison.first}": cell
            for of, cell in _difference_cells(comparison, row)
        }
        cells |= {
            "s": [f"{line.seconds:.0f}"],
            "CPU s": [f"{line.cpu_seconds:.0f}"],
            "n": [f"{line.runs}"],
        }
        table[row] = cells | ({"selection": [str(line.selection)]} if rules else {})
    return table


def environment_cells(comparison: Comparison) -> dict[str, dict[str, Cell]]:
    """Every environment by row: the training ones (on their held-out samples), then the tested ones."""
    found = comparison.intervals[comparison.intervals["split"] != SUMMARY]
    columns = list(dict.fromkeys(zip(found["split"], found["environment"], strict=True)))
    return {
        row: {f"{name} ({split})": _found(comparison, row, split, name) for split, name in columns}
        for row in comparison.rows
    }


def _found(comparison: Comparison, row: str, split: str, environment: str) -> Cell:
    table = comparison.intervals
    lines = table[(table["row"] == row) & (table["split"] == split) & (table["environment"] == environment)]
    if lines.empty:  # a training environment that this row did not have
        return [""]
    line = lines.iloc[0]
    return [f"{line['mean']:.2f}", *([f"± {line['half_width']:.2f}"] if line["n"] > 1 else [])]


def _difference_cells(comparison: Comparison, row: str) -> Iterator[tuple[str, Cell]]:
    table = comparison.differences
    for of in dict.fromkeys(table["of"]):
        lines = table[(table["row"] == row) & (table["of"] == of)]
        if lines.empty:  # the first row
            yield of, [""]
            continue
        line = lines.iloc[0]
        if line["n"] == 0:
            yield of, ["no seed", "in common"]
        elif line["verdict"] is None:
            yield of, [f"{line['difference']:+.2f}", "one seed"]
        else:
            mark = NOT_TOGETHER if fails_together(line) else ""
            yield (
                of,
                [f"{line['difference']:+.2f}", f"± {line['half_width']:.2f}", f"{line['verdict']}{mark}"],
            )


def fails_together(line: pd.Series) -> bool:
    """Whether a verdict of better or worse does not stand among all those of the table (Holm)."""
    return line["verdict"] in COLORS and line["p_holm"] > LEVEL


def conclusions(comparison: Comparison) -> list[str]:
    """What can be concluded, a sentence for each row; then what has to be known about the table."""
    table = comparison.differences
    told = [_conclusion(comparison, line) for _, line in table[table["of"] == MEAN].iterrows()]
    if len(comparison.rows) == 1:
        told.append(f"There are only runs of {comparison.first}: nothing is compared.")
    if not comparison.decides and len(comparison.rows) > 1:
        told.append(
            "One seed decides nothing: train each with several (hf-ood train --seeds 3) and compare again."
        )
    if any(fails_together(line) for _, line in table.iterrows()):
        tests = int(table["verdict"].notna().sum())
        told.append(
            f"{NOT_TOGETHER} by itself only: not among all {tests} differences of this table taken together "
            "(Holm)."
        )
    return [*told, *_left_out(comparison), *_selection(comparison)]


def _conclusion(comparison: Comparison, line: pd.Series) -> str:
    first, row = comparison.first, line["row"]
    if line["n"] == 0:
        return f"{row} and {first} have no seed in common, so their differences cannot be paired."
    unit = "points" if comparison.in_percent else comparison.measure.replace("_", " ")
    environments = len(comparison.held_out)
    where = (
        f"in the mean of {environments} held-out environments"
        if environments > 1
        else f"in {comparison.held_out[0]}"
    )
    if line["verdict"] is None:
        return f"{row}: {line['difference']:+.2f} {unit} {where} against {first}, of one seed."
    size = f"{line['difference']:+.2f} ± {line['half_width']:.2f} {unit} {where}, {line['n']} seeds"
    if line["verdict"] == WORDS[Verdict.NO_DIFFERENCE]:
        return f"{row} makes no difference to {first}: {size}, within ± {comparison.margin:g}."
    if line["verdict"] == WORDS[Verdict.INCONCLUSIVE]:
        return f"{row} against {first} is inconclusive: {size}. {_forecast(line)}"
    return f"{row} is {line['verdict']} than {first}: {size}."


def _forecast(line: pd.Series) -> str:
    if pd.isna(line["seeds_needed"]):
        return "With this spread no reasonable number of seeds would decide it."
    return f"About {max(line['seeds_needed'], line['n'] + 1)} seeds would decide it, if mean and spread stay."


def _left_out(comparison: Comparison) -> Iterator[str]:
    seeds = {name: {run.seed for run in row} for name, row in comparison.rows.items()}
    first = seeds[comparison.first]
    for name, own in seeds.items():
        if (alone := own ^ first) and own & first:
            told = ", ".join(map(str, sorted(alone)))
            yield f"Only one of {name} and {comparison.first} has seed {told}: differences leave it out."
    if comparison.unfinished:
        yield f"Not finished, left out: {', '.join(folder.name for folder in comparison.unfinished)}."


def _selection(comparison: Comparison) -> Iterator[str]:
    rules = list(dict.fromkeys(comparison.cost["selection"]))
    if len(rules) == 1:
        yield f"Selection: {rules[0]}. n: seeds; s and CPU s: seconds of one run."
    else:
        yield (
            "Different rules chose the checkpoints, which is a difference between the rows too. n: "
            "seeds; s and CPU s: seconds of one run."
        )


def rule(comparison: Comparison) -> str:
    """What the words of the table mean."""
    points = " points" if comparison.in_percent else ""
    margin = comparison.margin
    equal = (
        "" if margin is None else f"; no difference: it contains zero and lies within ± {margin:g}{points}"
    )
    return (
        "± is the half width of the 95 % interval over seeds (t-distribution). Differences to "
        f"{comparison.first} are paired by seed; better and worse: their 95 % interval lies on one side of "
        f"zero{equal}; anything else is inconclusive. One seed "
        "decides nothing."
    )


def unit(comparison: Comparison) -> str:
    name = comparison.measure.replace("_", " ")
    return f"{name} (%)" if comparison.in_percent else name


def terminal_table(comparison: Comparison, console: Console) -> Table:
    """The main table, its cells on lines of their own; without single environments where the terminal is too
    narrow for them."""
    table = _terminal_table(comparison, result_cells(comparison))
    boundless = console.options.update(max_width=10_000)
    if Measurement.get(console, boundless, table).minimum <= console.width:
        return table
    narrow = _terminal_table(comparison, result_cells(comparison, most_environments=1))
    narrow.caption = "the single environments are in the pages below"
    return narrow


def _terminal_table(comparison: Comparison, cells: dict[str, dict[str, Cell]]) -> Table:
    title = f"{unit(comparison)} in held-out environments of {comparison.data}"
    table = Table(title=plain(title), title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("method", overflow="fold", min_width=len("method"))
    for column in cells[comparison.first]:
        difference = column.endswith(f" - {comparison.first}")
        named = visible(column)
        heading = named.replace(" - ", "\n- ", 1) if difference else re.sub("([_ ])", r"\1\n", named)
        width = WIDEST_VERDICT if difference else len(heading) if len(heading) < 2 else 6
        table.add_column(Text(heading), justify="right", overflow="fold", min_width=width)
    for row, own in cells.items():
        table.add_row(plain(row), *(_colored(column, parts) for column, parts in own.items()))
        table.add_row()
    return table


def _colored(column: str, parts: Cell) -> Text:
    text = "\n".join(map(visible, parts)) if any(parts) else ""
    text = text.replace("no difference", "no\ndifference")
    color = COLORS.get(parts[-1].rstrip(NOT_TOGETHER))
    if column == "selection" and "oracle" in text.lower():
        color = "red"
    return Text(text, style=color or "")
