"""A comparison on the terminal and as a folder: Markdown, HTML, a picture and the tables as CSV."""

from __future__ import annotations

import base64
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from rich.console import Console

from ..evaluation.comparison import Comparison, compare
from ..files import all_or_nothing
from ..names import file_name, markdown, markdown_code
from .comparison_figure import draw_comparison
from .comparison_table import (
    conclusions,
    environment_cells,
    result_cells,
    rule,
    terminal_table,
    unit,
)
from .terminal import say

TEMPLATES = Path(__file__).parent / "templates"
PAGE, TEXT, PICTURE = "comparison.html", "comparison.md", "comparison.png"
TABLES = ("values", "intervals", "differences", "cost")
DEFAULT_ROOT = Path("comparisons")


def report_comparison(
    runs: Sequence[str | Path],
    output_dir: Path | None = None,
    measure: str | None = None,
    margin: float | None = None,
    first: str | None = None,
    console: Console | None = None,
) -> Comparison:
    """Compare finished runs, show the table and write the pages, as after a training of several methods.

    `runs`, `measure`, `margin`, `first`: as for `compare`, whose errors it raises. `output_dir`: default
    `comparisons/<data>-<rows>`. `console`: default: the terminal.

    Example: `report_comparison(["runs/erm", "runs/irm"], Path("comparisons/erm-irm"))`
    """
    comparison = compare(runs, measure, margin, first)
    folder = output_dir or DEFAULT_ROOT / comparison_name(comparison)
    write_comparison(comparison, folder)
    console = console or Console()
    console.print(terminal_table(comparison, console))
    for sentence in conclusions(comparison):
        say(console, sentence)
    for what, file in (("page", PAGE), ("text", TEXT), ("plot", PICTURE)):
        say(console, f"{what + ':':5s} {folder / file}")
    return comparison


def comparison_name(comparison: Comparison) -> str:
    """`fixed_colors-erm-irm`: a folder's name, of the data and of at most four rows."""
    rows = list(comparison.rows)
    more = [f"and-{len(rows) - 4}-more"] if len(rows) > 4 else []
    words = "-".join([comparison.data.rpartition("/")[2], *rows[:4], *more])
    return file_name(re.sub("[, ]+", "-", words))


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write `comparison.html` (self-contained), `comparison.md`, `comparison.png` and the tables as CSV."""
    with all_or_nothing(folder, last=PAGE) as files:
        draw_comparison(comparison).savefig(files / PICTURE, dpi=120, bbox_inches="tight")
        for name in TABLES:
            getattr(comparison, name).to_csv(files / f"{name}.csv", index=False, float_format="%.6g")
        image = "data:image/png;base64," + base64.b64encode((files / PICTURE).read_bytes()).decode()
        (files / PAGE).write_text(_render("comparison.html", comparison, image), encoding="utf-8")
        (files / TEXT).write_text(_render("comparison.md", comparison), encoding="utf-8")


def _render(template: str, comparison: Comparison, image: str = "") -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "code": markdown_code,
        "name": markdown,
        "cell": lambda text: markdown(text) if text else "",
    }
    return environment.get_template(template).render(
        title=f"{unit(comparison)} of {', '.join(comparison.rows)} on {comparison.data}",
        conclusions=conclusions(comparison),
        results=result_cells(comparison),
        environments=environment_cells(comparison),
        rows=comparison.rows,
        rule=rule(comparison),
        picture=PICTURE,
        image=image,
        command=_command(comparison),
    )


def _command(comparison: Comparison) -> str:
    """The comparison as a command, from the folder where it was made; nothing where that would tell paths of
    this machine."""
    folders = [run.folder for row in comparison.rows.values() for run in row]
    runs = [os.path.relpath(folder) if folder.is_absolute() else str(folder) for folder in folders]
    if any(run.startswith(os.pardir) for run in runs):
        return ""
    margin = [] if comparison.margin is None else ["--margin", f"{comparison.margin:g}"]
    return shlex.join(["hf-ood", "compare", *runs, "--measure", comparison.measure, *margin])
