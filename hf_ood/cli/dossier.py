"""`hf-ood dossier`: the evidence on a finished run in one document."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ..evaluation.results import load_results
from ..experiments.forecast.report import FORECAST_FILE
from ..json_files import read_object
from ..names import file_name
from ..reporting.attributions import ATTRIBUTIONS_FILE
from ..reporting.dossier import MARKDOWN_FILE, Evidence, write_dossier
from ..reporting.terminal import say
from ..runs.finished_run import read_run
from ..runs.folder import DATA_FILE
from ..runs.origin import read_origin
from .funnel import add_debug, one_message
from .parser import HelpFormatter

PICTURES = {ATTRIBUTIONS_FILE: "Where the model looks, in samples that it gets right and wrong"}


@one_message
def main(argv: Sequence[str] | None = None) -> Path:
    """Parse the command line and write the page and the section. Returns the page's path."""
    arguments = make_parser().parse_args(argv)
    forecasts = arguments.forecast or found_forecasts(arguments.run)
    evidence = read_evidence(arguments.run, forecasts, arguments.use)
    folder = arguments.output_dir or Path("dossiers") / file_name(evidence.name)
    page = write_dossier(evidence, folder)
    console = Console()
    say(console, f"page: {page}")
    say(console, f"text: {folder / MARKDOWN_FILE}")
    return page


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="The evidence on a finished run, for whoever must sign: one page that needs no other "
        "file (print it\nas a PDF from a browser), and a section for its card.\n\n"
        '  %(prog)s --run runs/mine --use "triage of X-rays, then read by a radiologist"\n'
        "  %(prog)s --run runs/mine --forecast forecasts/mine\n\n"
        "hf-ood forecast --run leaves each environment out in turn; without that, the page has the "
        "environments that\nthe run itself held out.",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--run", required=True, type=Path, help="The output folder of a finished run.")
    parser.add_argument(
        "--forecast",
        nargs="+",
        type=Path,
        help="Folders that hf-ood forecast wrote for the run. Default: forecasts/<run>*, those of this run.",
    )
    parser.add_argument("--use", help="What the model is for, in a sentence.")
    parser.add_argument("--output_dir", type=Path, help="Folder of the page. Default: dossiers/<run>.")
    add_debug(parser)
    return parser


def read_evidence(run: Path, forecasts: Sequence[Path], use: str | None = None) -> Evidence:
    """What the folders hold. Raises `ValueError` for one without a finished run or forecast."""
    read_run(run)
    for folder in forecasts:
        if not (folder / FORECAST_FILE).is_file():
            raise ValueError(f"{folder} holds no forecast: there is no {FORECAST_FILE} in it.")
    note = run / DATA_FILE
    return Evidence(
        run.resolve().name,
        load_results(run),
        read_object(note) if note.is_file() else {},
        read_origin(run) or {},
        [read_object(folder / FORECAST_FILE) for folder in forecasts],
        use,
        {title: (run / file).read_bytes() for file, title in PICTURES.items() if (run / file).is_file()},
    )


def found_forecasts(run: Path) -> list[Path]:
    """The forecasts where `hf-ood forecast` leaves those of a run called so, the trials alone first."""
    place, name = Path("forecasts"), file_name(run.resolve().name)
    found = [folder for folder in sorted(place.glob("*")) if folder.name == name]
    found += [folder for folder in sorted(place.glob("*")) if folder.name.startswith(f"{name}-on-")]
    return [folder for folder in found if (folder / FORECAST_FILE).is_file()]
