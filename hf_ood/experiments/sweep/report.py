"""A sweep on the terminal and on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...files import replace_text
from ...names import file_name, markdown
from ...reporting.terminal import plain
from ...runs.settings import merge
from .choices import CANDIDATES_FILE
from .chosen_runs import write_choices
from .plan import Plan
from .selection_table import best_values, candidates, chosen, cost, worth
from .space import as_settings, space_table
from .trials import Trials

TABLE_FILE, COST_FILE, RECIPES = "sweep.md", "cost.csv", "recipes"
ORACLE_NOTE = "the test environment chose: an upper bound, not a result"


def report(
    plan: Plan,
    methods: Sequence[str],
    trials: Trials,
    seeds: Sequence[int],
    root: Path,
    folder: Path,
    console: Console,
) -> Path | None:
    """Write tables and recipes into `folder` and show them; None while no candidate is complete."""
    table = candidates(plan, methods, trials, seeds, root)
    if table.empty:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / CANDIDATES_FILE, index=False, float_format="%.6g")
    write_choices(plan, trials, seeds, root, table, folder)
    accuracies, costs = worth(chosen(table)), cost(plan, methods, trials, seeds, root)
    costs.to_csv(folder / COST_FILE)
    oracles = {protocol.name for protocol in plan.protocols if protocol.oracle}
    for protocol, rows in accuracies.groupby(level="protocol", sort=False):
        console.print(_shown(str(protocol), rows.droplevel("protocol"), str(protocol) in oracles))
    console.print(_shown("cost", costs.astype(str), oracle=False))
    spaces = space_table(map(plan.space, methods))
    replace_text(folder / TABLE_FILE, _markdown(plan, accuracies, costs, spaces, oracles))
    _write_recipes(plan, methods, trials, table, folder / RECIPES)
    return folder / TABLE_FILE


def _shown(title: str, rows: pd.DataFrame, oracle: bool) -> Table:
    mark = Text.assemble(("ORACLE", "red"), " ", plain(title), f": {ORACLE_NOTE}") if oracle else plain(title)
    table = Table(title=mark, title_justify="left", style="red" if oracle else "")
    table.add_column(plain(rows.index.name))
    for column in rows:
        table.add_column(plain(column), justify="right", overflow="fold")
    for method, cells in rows.iterrows():
        table.add_row(plain(method), *map(plain, cells.fillna("-")))
    return table


def _markdown(
    plan: Plan, accuracies: pd.DataFrame, costs: pd.DataFrame, spaces: pd.DataFrame, oracles: set[str]
) -> str:
    text = [
        "# Accuracy in held-out environments, by selection protocol",
        "",
        "Percent, mean ± 95 % interval over seeds (t-distribution); hyper-parameters are chosen for each "
        f"seed apart. Environments: {', '.join(map(markdown, plan.environments))}.",
    ]
    for protocol, rows in accuracies.groupby(level="protocol", sort=False):
        heading = f"## {protocol}"
        if protocol in oracles:
            heading = f"## 🟥 {protocol} ({ORACLE_NOTE})"
        text += ["", heading, "", _table(rows.droplevel("protocol"))]
    text += [
        "## cost",
        "",
        _table(costs),
        "## where hyper-parameters were looked for",
        "",
        _table(spaces, "option"),
    ]
    return "\n".join(text)


def _table(rows: pd.DataFrame, of: str = "method") -> str:
    lines = [[of, *map(markdown, rows.columns)], ["---", *["---:"] * len(rows.columns)]]
    lines += [[markdown(name), *map(markdown, cells.fillna("-"))] for name, cells in rows.iterrows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _write_recipes(
    plan: Plan, methods: Sequence[str], trials: Trials, table: pd.DataFrame, folder: Path
) -> None:
    """The best hyper-parameters of each method as recipes of train.py, chosen by the first protocol that is
    no oracle."""
    honest = next((protocol for protocol in plan.protocols if not protocol.oracle), None)
    if honest is None:
        return
    folder.mkdir(exist_ok=True)
    for method in methods:
        for held_out in plan.held_out:
            if ((table["method"] == method) & (table["held_out"] == held_out)).any():
                values = best_values(table, trials, method, held_out, honest.name)
                settings = plan.without(method, values, set(plan.held_out[held_out]), 0).settings
                name = file_name(f"{method}-without-{held_out}".replace("+", "-")) + ".yaml"
                content = yaml.safe_dump(merge(settings, as_settings(values)), sort_keys=False)
                replace_text(folder / name, f"# Chosen by {honest.name}.\n{content}")
