"""Names from data in tables, Markdown, HTML, plots and file names, rendered for real."""

from __future__ import annotations

import html.parser
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from hostile_names import HOSTILE
from hub.test_model_card import make_results
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from rich.console import Console

from hf_ood.hub import write_model_card
from hf_ood.names import (
    file_name,
    markdown,
    markdown_block,
    markdown_code,
    one_line,
    plot_text,
    python_string,
    visible,
)
from hf_ood.reporting.confusion_figure import draw_confusion
from hf_ood.reporting.curves import draw_curves
from hf_ood.reporting.panels import panels
from hf_ood.reporting.shift import draw_shifts
from hf_ood.reporting.tables import evaluation_table, results_table


class Cells(html.parser.HTMLParser):
    """The texts of a page's table cells, and all of its tags."""

    def __init__(self, page: str):
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells[-1] += data


def rendered(table: object) -> str:
    file = io.StringIO()
    Console(file=file, width=2000, force_terminal=True, color_system=None).print(table)
    return file.getvalue()


def entry(split: str) -> dict:
    return {"accuracy": 0.5, "macro_f1": 0.5, "loss": 0.5, "ece": 0.5, "count": 4, "split": split}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_cell_of_markdown_holds_the_name_and_nothing_else(name: str) -> None:
    page = f"| {markdown(name)} | x |\n|---|---|\n| {markdown(name)} | y |\n"
    found = Cells(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(page))
    assert found.cells == [visible(name), "x", visible(name), "y"]
    assert found.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    code = Cells(MarkdownIt().render(f"| on {markdown_code(name)} |"))
    assert code.tags == {"p", "code"}
    block = markdown_block(f"a\n```\n{name}\n````\nb", "bash")
    assert Cells(MarkdownIt().render(block)).tags == {"pre", "code"}
    assert eval(python_string(name)) == name and "\n" not in python_string(name)


def test_names_are_told_apart_and_safe_as_file_names(tmp_path: Path) -> None:
    assert len({file_name(name) for name in HOSTILE}) == len(HOSTILE)
    for name in HOSTILE:
        (tmp_path / f"runs-{file_name(name)}-seed0-abcdef").mkdir()
    made = [path.name for path in tmp_path.iterdir()]
    assert len(made) == len(HOSTILE) and max(len(name.encode()) for name in made) < 255
    for name in ("unseen_colors", "a-b.c_1+2", "hospital=C,scanner=0", "My scans", "données"):
        assert file_name(name) == name, "an ordinary name stays"
    for name in ("con", "NUL.txt", "a.", ".hidden", "-rf", "~", ""):
        assert file_name(name) != name and not file_name(name).startswith((".", "-", "~"))


def test_tables_of_the_terminal_show_every_name() -> None:
    environments = {name: entry("test") for name in HOSTILE}
    results = {**make_results("erm"), "environments": environments, "config": "[red]", "dataset": "[/bold]"}
    shown = rendered(results_table(results))
    assert "[/bold]/[red]" in shown and "\x1b[31m" not in shown
    assert all(f" {visible(name)} " in shown for name in HOSTILE)
    role = {
        part: {"accuracy": 0.5, "macro_f1": 0.5, "loss": 0.5, "ece": 0.5} for part in ("mean", "worst", "gap")
    }
    evaluated = {
        **results,
        "model": "[x]",
        "split": "[/y]",
        "summary": {**role, "small_environments": HOSTILE},
    }
    assert all(f" {visible(name)} " in rendered(evaluation_table(evaluated)) for name in HOSTILE)
    narrow = io.StringIO()
    Console(file=narrow, width=60).print(results_table(results))
    assert "n" * 10 in narrow.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_cards_hold_every_name(tmp_path: Path, name: str) -> None:
    environments = {name: {**entry("test"), "collapsed_to": name}, "seen": entry("validation")}
    results = {**make_results("erm"), "environments": environments, "config": name}
    results["hyperparameters"]["data"] = {"text_column": name}
    write_model_card(results, tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    metrics = [result.metric_name for result in card.data.eval_results]
    assert f"accuracy on {name}" in metrics
    found = Cells(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(card.text))
    assert visible(name) in found.cells and not found.tags & {"script", "b", "s", "em"}


def test_plots_draw_every_name(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Glyph")  # of a font without that alphabet
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        names = HOSTILE[:12]
        report = {name: entry("test") for name in names}
        matrices = {name: np.eye(len(names)) for name in names}
        draw_confusion(matrices, names, report).savefig(tmp_path / "confusion.png")
        shift = {
            "estimator": "kde",
            "measures": {
                kind: {"value": 0.5, "low": 0.4, "high": 0.6, "null": 0.1}
                for kind in ("diversity", "correlation")
            },
        }
        for some in (HOSTILE[:12], HOSTILE[12:24], HOSTILE[24:]):
            figure = draw_shifts(dict.fromkeys(some, shift))
            figure.savefig(tmp_path / "shift.png")
            legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
            assert all(any(text.startswith(plot_text(name)) for text in legend) for name in some)
            history = [
                {"epoch": epoch, **{f"test_{name}_accuracy": 0.5 for name in some}} for epoch in (1, 2)
            ]
            environments = {name: entry("test") for name in some[:6]}
            results = {
                **make_results("erm"),
                "environments": environments,
                "history": history,
                "config": some[0],
            }
            draw_curves(results, tmp_path / "curves.png")
        figure, grid = panels(1)
        grid[0].set_title(plot_text("$x_1$"))
        assert isinstance(figure, Figure)
    assert plot_text("_a") == " _a" and len(plot_text("n" * 300)) <= 60


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert visible("line\nbreak") == "line\\nbreak" and visible("") == "''" and visible(" a") == "' a'"
    assert visible("\u202egnorw") == "\\u202egnorw" and one_line("  kept  ") == "  kept  "
    assert visible("مرحبا") == "مرحبا" and visible("e\u0301") == "e\u0301"
