"""`trainers/explain.py`: where the model of a finished run looks, in each test environment."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForImageClassification

from ..data import collate
from ..errors import UsageError
from ..evaluation.results import RESULTS_FILE
from ..explain import attribute, default_layer, find_layer, summarize
from ..files import all_or_nothing
from ..reporting.attributions import ATTRIBUTIONS_FILE, draw_attributions
from .arguments import recorded_arguments
from .cores import cores_per_process
from .datasets import load_splits
from .output_folder import ARGUMENTS_FILE
from .parser import _HelpFormatter

REPORT_FILE = "attribution.json"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse the command line, write `attribution.json` and `attributions.png` into the run's folder."""
    arguments = make_parser().parse_args(argv)
    try:
        return explain_run(arguments.run, arguments.samples, arguments.layer)
    except UsageError:
        raise
    except (ValueError, ImportError, OSError) as error:
        raise UsageError(str(error)) from error


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Grad-CAM of a finished run on its test environments: heat maps over right and wrong\n"
        "predictions of each and, for Colored MNIST, how much of them lies on the digit.\n\n"
        "  %(prog)s --run runs/mine\n  %(prog)s --run runs/mine --samples 100 --layer vit.encoder.layer.1",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--run", required=True, type=Path, help="The output folder of a finished run.")
    parser.add_argument("--samples", type=int, default=500, help="Images of each environment.")
    parser.add_argument("--layer", help="The layer that is looked at. Default: the last that knows places.")
    return parser


def explain_run(
    folder: Path, samples: int = 500, layer: str | None = None, threads: int | None = None
) -> dict[str, Any]:
    """What `attribution.json` holds: the layer, and `attribution_report` of the test environments.

    Raises `ValueError` when the folder holds no finished run or `samples` is not positive, and what
    `hf_ood.explain` raises.
    """
    if samples < 1:
        raise ValueError(f"--samples must be at least 1, not {samples}.")
    for file in (ARGUMENTS_FILE, RESULTS_FILE):
        if not (folder / file).is_file():
            raise ValueError(f"{folder} holds no finished run: there is no {file} in it.")
    torch.set_num_threads(threads or cores_per_process())
    arguments = recorded_arguments(folder / ARGUMENTS_FILE)
    if arguments.run.text_column:
        raise ValueError(f"Grad-CAM looks at images; the run of {folder} reads texts.")
    model = AutoModelForImageClassification.from_pretrained(folder).to(PartialState().device)
    if layer:
        find_layer(model, layer)  # a mistake shows before the data are loaded
    dataset = load_splits(arguments, arguments.run.dataset_config)["test"]
    if layer is None:
        few = collate(dataset.__getitems__(range(min(8, len(dataset)))))["pixel_values"]
        layer = default_layer(model, few.to(model.device))
    attributions = attribute(model, dataset, samples, layer=layer)
    report = {"layer": layer, "environments": summarize(dataset, attributions)}
    with all_or_nothing(folder, last=REPORT_FILE) as files:
        (files / REPORT_FILE).write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
        draw_attributions(dataset, attributions).savefig(files / ATTRIBUTIONS_FILE, dpi=150)
    _print_report(report, folder)
    return report


def _print_report(report: dict[str, Any], folder: Path) -> None:
    shown = {"digit share": "digit_share", "of right": "digit_share_right", "of wrong": "digit_share_wrong"}
    shown["digit area"] = "digit_area"
    entries = report["environments"]
    if all(entry["digit_area"] is None for entry in entries.values()):
        shown = {}  # pictures of something else
    title = (
        f"Share of Grad-CAM on the digit, layer {report['layer']}" if shown else f"Layer {report['layer']}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("environment")
    for column in (*shown, "count"):
        table.add_column(column, justify="right")
    for name, entry in entries.items():
        shares = [entry[key] for key in shown.values()]
        cells = ["-" if share is None else f"{share:.1%}" for share in shares]
        table.add_row(name, *cells, f"{entry['count']:,}")
    console = Console()
    console.print(table)
    for what, file in (("report", REPORT_FILE), ("figure", ATTRIBUTIONS_FILE)):
        console.print(f"{what + ':':7s} {folder / file}", highlight=False, soft_wrap=True)
