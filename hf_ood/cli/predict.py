"""`hf-ood predict`: what a trained model says of every row of a table without labels."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from accelerate import PartialState

from ..data.built_in import refuse_made_in_memory, refuse_unwritten
from ..data.features import FEATURES_FILE, features_file
from ..data.measured_rows import input_columns, read_rows
from ..data.reading import Reading
from ..data.sounds import with_length
from ..evaluation.prediction import load_classifier
from ..evaluation.predictions import load_vector_model, predict_table
from ..json_files import json_text
from ..manifest import refuse_damaged_model
from ..options import refuse_not_finite
from ..runs.folder import ARGUMENTS_FILE, recorded_spec
from ..runs.spec import DataSpec
from .funnel import add_debug, one_message
from .parser import HelpFormatter, add_reading

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")


@one_message
def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, predict, and write the table."""
    arguments = make_parser().parse_args(argv)
    table = run(**vars(arguments))
    if arguments.output is None:
        as_text(table).to_csv(sys.stdout, index=False)
    else:
        print(f"{len(table):,} rows: {arguments.output}", file=sys.stderr)  # noqa: T201


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Predict a class, with its probabilities, for every row of a table: one row each, in "
        "their order,\nwith the table's own columns. Labels are not needed.\n\n"
        "  %(prog)s --model runs/mine new.csv > predictions.csv\n"
        "  %(prog)s --model user/scan-vit folder_of_images --output predictions.parquet\n"
        "  %(prog)s --model runs/pairs new.csv --text_column premise hypothesis\n"
        "  %(prog)s --model runs/vectors new.csv --feature_columns x0 x1 x2\n\n"
        "The new columns are prediction and probability_<class>; a regression has its value as prediction,\n"
        "a model of several labels a row the list of those that are likelier than not (in a .csv as JSON).",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "dataset", help="A .csv, .tsv, .json, .jsonl or .parquet file, a folder of images, or a Hub dataset."
    )
    parser.add_argument("--model", required=True, help="A Hub id or a folder with a model and its processor.")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"File to write, by its suffix: {', '.join(SUFFIXES)}. Default: the terminal.",
    )
    parser.add_argument("--dataset_config", help="The dataset's configuration.")
    parser.add_argument("--split", help="The split. Default: the only one, or test.")
    parser.add_argument("--image_column", help="The column of images; not needed when there is only one.")
    parser.add_argument(
        "--text_column",
        nargs="+",
        metavar="NAME",
        help="The column of texts, or two for pairs. Default: as the model was trained, or the only one.",
    )
    parser.add_argument(
        "--feature_columns",
        nargs="+",
        metavar="NAME",
        help="For a model of vectors that does not know its columns: those of their numbers, in order, or "
        "one of lists.",
    )
    parser.add_argument("--audio_column", help="The column of sounds; not needed when there is only one.")
    parser.add_argument(
        "--max_seconds",
        type=float,
        help="Cut sounds after so many seconds, and fill shorter ones up. Default: as the model was trained.",
    )
    parser.add_argument("--max_length", type=int, help="Cut texts after this many tokens.")
    parser.add_argument("--prefix", default="", help="Before the names of the new columns.")
    parser.add_argument("--batch_size", type=int, default=64, help="Rows per forward pass.")
    parser.add_argument("--num_workers", type=int, default=0, help="Processes that decode and prepare rows.")
    parser.add_argument("--revision", default="main", help="Branch, tag or commit of the model on the Hub.")
    parser.add_argument(
        "--trust_remote_code",
        action="store_true",
        help="Run the code that the model's repository brings along.",
    )
    add_reading(parser)
    add_debug(parser)
    return parser


def run(
    dataset: str,
    model: str,
    output: Path | None = None,
    dataset_config: str | None = None,
    split: str | None = None,
    image_column: str | None = None,
    text_column: Sequence[str] | None = None,
    feature_columns: Sequence[str] | None = None,
    audio_column: str | None = None,
    max_seconds: float | None = None,
    max_length: int | None = None,
    prefix: str = "",
    batch_size: int = 64,
    num_workers: int = 0,
    revision: str = "main",
    trust_remote_code: bool = False,
    csv_separator: str | None = None,
    csv_encoding: str = "utf-8",
    allow_outside_files: bool = False,
) -> pd.DataFrame:
    """Read the rows, predict, and write the table to `output` if there is one; the arguments are the flags.

    What a run's folder notes of its texts (columns that the table has, and where they are cut) is the
    default. Raises `ValueError` as `predict_table` and `read_rows` do, and for an output that cannot be.
    """
    check_output(output, dataset)
    refuse_not_finite({"--max_seconds": max_seconds})
    if batch_size < 1:
        raise ValueError(f"--batch_size must be at least 1, not {batch_size}.")
    reading = Reading(
        csv_separator=csv_separator, csv_encoding=csv_encoding, allow_outside_files=allow_outside_files
    )
    refuse_made_in_memory(dataset, "hf-ood predict")
    refuse_unwritten(dataset)
    rows, own = read_rows(dataset, dataset_config, split, reading)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    if feature_columns:
        if features_file(model, **options):
            raise ValueError(
                f"{model} knows its columns, and how their numbers are standardised ({FEATURES_FILE}): leave "
                "--feature_columns out."
            )
        network, processor, columns = load_vector_model(model, **options), None, list(feature_columns)
    else:
        refuse_missing_processor(model)
        network, processor = load_classifier(model, **options)
        trained = recorded_data(model)
        noted = trained.text_column if trained else None
        if not text_column and noted and set(noted) <= set(rows.column_names):
            text_column = noted
        max_length = max_length or (trained.max_length if trained else None)
        columns = input_columns(rows, processor, image_column, text_column, audio_column)
        processor = with_length(processor, max_seconds)
    table = predict_table(
        network.to(PartialState().device),
        processor,
        rows,
        columns,
        own,
        batch_size=batch_size,
        num_workers=num_workers,
        max_length=max_length,
        prefix=prefix,
    )
    if output is not None:
        write_table(table, output)
    return table


def recorded_data(model: str) -> DataSpec | None:
    """What the run of this folder read; None where the model is no run's folder."""
    folder = Path(model)
    return recorded_spec(folder).data if (folder / ARGUMENTS_FILE).is_file() else None


def refuse_missing_processor(model: str) -> None:
    """Raise `ValueError` for a folder whose model takes vectors, which have no processor."""
    folder = Path(model)
    there = (
        FEATURES_FILE,
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer_config.json",
        "tokenizer.json",
    )
    if (folder / "config.json").is_file() and not any((folder / file).is_file() for file in there):
        refuse_damaged_model(folder)
        raise ValueError(
            f"{model} has no image processor or tokenizer. A model of vectors needs none: name the columns "
            "of their numbers (--feature_columns)."
        )


def check_output(output: Path | None, dataset: str) -> None:
    """Raise `ValueError` for a suffix that is no table's, a folder that is not there, or the input itself."""
    if output is None:
        return
    if output.suffix not in SUFFIXES:
        raise ValueError(f"--output {output} must end in one of {', '.join(SUFFIXES)}.")
    if not output.parent.is_dir():
        raise ValueError(f"--output {output}: there is no folder {output.parent}.")
    if Path(dataset).exists() and output.exists() and output.samefile(dataset):
        raise ValueError(f"--output {output} would overwrite the input: choose another file.")


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """The table with lists, such as those of predicted labels, as JSON: cells of a .csv are text."""
    lists = [name for name in table.columns if table[name].map(lambda value: isinstance(value, list)).any()]
    return table.assign(**{name: table[name].map(_json_of_list) for name in lists})


def _json_of_list(value: Any) -> Any:
    return json_text(value) if isinstance(value, list) else value


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write the table in one move, in the format that the suffix names."""
    partial = file.with_name(f".{file.name}.partial")
    if file.suffix == ".parquet":
        table.to_parquet(partial, index=False)
    elif file.suffix in (".json", ".jsonl"):
        table.to_json(partial, orient="records", lines=True, force_ascii=False)
    else:
        as_text(table).to_csv(partial, index=False, sep="\t" if file.suffix == ".tsv" else ",")
    os.replace(partial, file)
