"""The flags of `hf-ood evaluate`, and what a run's folder says in their place."""

from __future__ import annotations

from argparse import ArgumentParser
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from transformers import HfArgumentParser

from ..data.built_in import BUILT_IN, DEFAULT_DATASET
from ..data.reading import Reading
from ..errors import UsageError
from ..evaluation.modules.environment_report.environment_measures import MIN_COUNT
from ..options import option
from ..runs.after_training import AfterTraining
from ..runs.finished_run import FinishedRun, read_run
from .funnel import add_debug
from .parser import HelpFormatter


@dataclass
class EvaluationArguments(AfterTraining, Reading):
    """What is evaluated on what."""

    model: str | None = option(None, "A Hub id or a folder with a classifier and its processor.")
    run: str | None = option(
        None,
        "Instead of --model: the folder of a finished run. Its dataset, columns and length of texts are the "
        "defaults of the flags below, and the environments that it was trained on, validated on and never "
        "saw are measured apart.",
    )
    dataset: str | None = option(
        None,
        f"{' or '.join(name for name, data in BUILT_IN.items() if data.dataset)} (built in), a Hub dataset, "
        f"a local folder, or files as in train.py. Default: the run's, or {DEFAULT_DATASET}.",
    )
    dataset_config: str | None = option(None, "The dataset's configuration.")
    split: str | None = option(None, "The split that is measured. Default: the only one, or test.")
    environment_column: list[str] | None = option(
        None,
        "The column that says where a sample is from; several make one environment of each combination. "
        "Default: environment.",
    )
    task: Literal["classification", "multi_label", "regression"] | None = option(
        None,
        "What the labels are: of one class, several (yes or no each), or a number. Default: what the model "
        "predicts.",
    )
    label_column: list[str] | None = option(
        None,
        "The column of the true classes or numbers; of several labels a sample, columns of 0 and 1 or one "
        "of lists. Default: label.",
    )
    image_column: str | None = option(None, "The column of images; not needed when there is only one.")
    audio_column: str | None = option(None, "The column of sounds; not needed when there is only one.")
    text_column: list[str] | None = option(
        None, "The column of texts, or two for sentence pairs; not needed when there is only one of strings."
    )
    max_length: int | None = option(None, "Cut texts after this many tokens. Default: what the model takes.")
    max_seconds: float | None = option(
        None, "Cut sounds after so many seconds, and fill shorter ones up. Default: as the model was trained."
    )
    output_dir: str | None = option(
        None, "Folder of results and plots. Default: evaluations/<model>-on-<dataset>-<config>-<split>."
    )
    batch_size: int = option(64, "Samples per forward pass.")
    num_workers: int = option(0, "Processes that decode and prepare samples.")
    min_count: int = option(MIN_COUNT, "Environments with fewer samples are marked as too small to trust.")
    revision: str = option("main", "Branch, tag or commit of the model on the Hub.")
    trust_remote_code: bool = option(False, "Run the code that the model's repository brings along.")


class _Parser(HfArgumentParser):
    @staticmethod
    def _parse_dataclass_field(parser: Any, field: Any) -> None:
        """What holds for a flag of a run says nothing to `argparse`."""
        own = copy(field)
        own.metadata = {name: value for name, value in field.metadata.items() if name != "flag"}
        HfArgumentParser._parse_dataclass_field(parser, own)

    def error(self, message: str) -> Any:
        raise UsageError(f"{message}\nSee --help.")


def make_parser() -> ArgumentParser:
    parser = _Parser(
        EvaluationArguments,  # type: ignore[arg-type]
        description="Evaluate a classifier in every environment of a dataset.\n\n"
        "  %(prog)s --model user/scan-vit --dataset user/scans --environment_column hospital\n"
        "  %(prog)s --model runs/mine --dataset scans.csv --environment_column hospital\n"
        "  %(prog)s --run runs/mine\n"
        "  %(prog)s --run runs/mine --calibrate true   a temperature fitted to its validation samples\n"
        "  %(prog)s --run runs/mine --adapt t3a        uses unlabelled samples of what is measured\n\n"
        "One split is measured: --split, the only one (a file's is train), or test.",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    add_debug(parser)
    return parser


def with_defaults(arguments: EvaluationArguments) -> tuple[EvaluationArguments, FinishedRun | None]:
    """The arguments with what a run's folder knows, and that run. Raises `ValueError` for neither model nor
    run, for both, and for a folder that holds no finished run."""
    if (arguments.model is None) == (arguments.run is None):
        raise ValueError("Name either --model, or the folder of a finished run as --run.")
    if arguments.run is None:
        return replace(arguments, dataset=arguments.dataset or DEFAULT_DATASET), None
    finished = read_run(Path(arguments.run))
    trained, given = finished.data, arguments
    same = arguments.dataset in (None, trained.dataset)
    configuration = arguments.dataset_config or (trained.configuration if same else None)
    return replace(
        given,
        model=arguments.run,
        dataset=given.dataset or trained.dataset,
        dataset_config=configuration,
        environment_column=given.environment_column or list(trained.environment_column),
        task=given.task or trained.task,
        label_column=given.label_column or list(trained.label_column),
        image_column=given.image_column or trained.image_column,
        text_column=given.text_column or trained.text_column,
        audio_column=given.audio_column or trained.audio_column,
        max_length=given.max_length or trained.max_length,
        **({name: getattr(trained, name) for name in vars(Reading())} if same else {}),
    ), finished
