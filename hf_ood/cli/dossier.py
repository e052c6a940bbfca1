"""`hf-ood dossier`: the evidence on a finished run, a sweep or a bench in one document."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from ..evaluation.results import load_results
from ..experiments.bench.rounds import bench_folders, read_rounds
from ..experiments.forecast.report import FORECAST_FILE
from ..experiments.sweep.choices import read_choices
from ..json_files import read_object
from ..names import file_name
from ..reporting.attributions import ATTRIBUTIONS_FILE
from ..reporting.dossier import MARKDOWN_FILE, Evidence, write_dossier, write_rounds
from ..reporting.terminal import say
from ..runs.finished_run import read_run
from ..runs.folder import DATA_FILE
from ..runs.origin import read_origin
from .funnel import add_debug, one_message
from .parser import HelpFormatter

PICTURES = {ATTRIBUTIONS_FILE: "Where the model looks, in samples that it gets right and wrong"}


@one_message
def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Parse the command line and write pages and sections. Returns the pages' paths."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    _refuse_flags_of_others(arguments, parser)
    console, pages = Console(), []
    for page in _written(arguments):
        say(console, f"page: {page}")
        say(console, f"text: {page.parent / MARKDOWN_FILE}")
        pages.append(page)
    return pages


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="The evidence on a finished run, a sweep or a bench, for whoever must sign: one page "
        "that needs no\nother file (print it as a PDF from a browser), and a section for a card.\n\n"
        '  %(prog)s --run runs/mine --use "triage of X-rays, then read by a radiologist"\n'
        "  %(prog)s --run runs/mine --forecast forecasts/mine\n"
        "  %(prog)s --sweep sweeps/mine --method irm\n"
        "  %(prog)s --bench bench/full                     a page for each data set of the bench\n\n"
        "Of a run: hf-ood forecast --run leaves each environment out in turn; without that, the page has "
        "what the\nrun itself held out. Of a sweep or a bench: every environment that was held out, with the "
        "model that a\nprotocol chose for it without seeing it. Benches, and sweeps of frozen features, keep "
        "accuracies alone: the\npage says what is not known, such as calibration.",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    of = parser.add_mutually_exclusive_group(required=True)
    of.add_argument("--run", type=Path, help="The output folder of a finished run.")
    of.add_argument("--sweep", type=Path, help="The folder of a sweep's tables: sweeps/<name>.")
    of.add_argument(
        "--bench",
        type=Path,
        help="The folder of a bench's results: bench/<budget>, or of one data set in it.",
    )
    parser.add_argument(
        "--forecast",
        nargs="+",
        type=Path,
        help="Of a run: folders that hf-ood forecast wrote for it. Default: forecasts/<run>*.",
    )
    parser.add_argument(
        "--method",
        help="Of a sweep or a bench: the method whose rounds are shown. Default: in each round the one whose "
        "score is best, so that no environment chooses the method that it tests.",
    )
    parser.add_argument(
        "--protocol",
        help="Of a sweep or a bench: what chooses hyper-parameters and method, by the name that its tables "
        "have. Default: the first that no test environment takes part in.",
    )
    parser.add_argument("--use", help="What the model is for, in a sentence.")
    parser.add_argument(
        "--output_dir",
        type=Path,
        help="Folder of the page; of a bench with several data sets, of a folder for each. Default: "
        "dossiers/<run, sweep or data set>.",
    )
    add_debug(parser)
    return parser


def _refuse_flags_of_others(arguments: Namespace, parser: ArgumentParser) -> None:
    if arguments.forecast and arguments.run is None:
        parser.error("--forecast goes with --run: a forecast is of a run.")
    for name in ("method", "protocol"):
        if getattr(arguments, name) and arguments.run is not None:
            parser.error(f"--{name} goes with --sweep and --bench: a run has one of its own.")


def _written(arguments: Namespace) -> Iterator[Path]:
    """Write the pages that are asked for, one after the other."""
    if arguments.run is not None:
        forecasts = arguments.forecast or found_forecasts(arguments.run)
        evidence = read_evidence(arguments.run, forecasts, arguments.use)
        yield write_dossier(evidence, arguments.output_dir or _folder(evidence.name))
        return
    choose = {"method": arguments.method, "protocol": arguments.protocol}
    if arguments.sweep is not None:
        rounds = read_choices(arguments.sweep, arguments.use)
        yield write_rounds(rounds, arguments.output_dir or _folder(rounds.name), **choose)
        return
    folders = bench_folders(arguments.bench)
    for rounds in [read_rounds(folder, arguments.use) for folder in folders]:
        folder = arguments.output_dir or _folder(rounds.name)
        if arguments.output_dir and len(folders) > 1:
            folder /= file_name(rounds.name)
        yield write_rounds(rounds, folder, **choose)


def _folder(name: str) -> Path:
    return Path("dossiers") / file_name(name)


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
