"""`trainers/evaluate.py`: any classifier on any dataset with environments."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from accelerate import PartialState
from datasets import Dataset
from transformers import HfArgumentParser

from ..data import read_dataset
from ..data.accounting import counted, files_told
from ..data.built_in import (
    BUILT_IN,
    DEFAULT_DATASET,
    has_built_in_rows,
    refuse_made_in_memory,
    refuse_unwritten,
)
from ..data.columns import require_columns
from ..data.folders import ENVIRONMENT, LABEL
from ..data.ids import ids_of
from ..data.measured_rows import choose_split, input_columns
from ..data.processors import takes_text
from ..data.reading import Named, Reading, column_of
from ..data.sounds import with_length
from ..data.targets import CLASSIFICATION
from ..errors import UsageError, unknown_name
from ..evaluation import environment_report, load_results, save_results
from ..evaluation.modules.environment_report.environment_measures import (
    MIN_COUNT,
)
from ..evaluation.prediction import input_batches, load_classifier, predict_logits
from ..evaluation.references import model_task, references_of
from ..evaluation.results import RESULTS_FILE, told, versions
from ..names import file_name
from ..options import option, refuse_not_finite
from ..reporting.evaluation_figures import draw_evaluation
from ..reporting.tables import print_evaluation
from ..runs.after_training import (
    AfterTraining,
    change,
    check_after_training,
    needs_validation,
    save_calibrated,
    validation_of,
)
from ..runs.finished_run import FinishedRun, measured, notes, read_run
from ..runs.published_command import command_line
from .funnel import add_debug, one_message
from .parser import HelpFormatter

SUBJECT = ("model", "revision", "dataset", "config", "split")  # what an evaluation is of
DIGEST = "subject"


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


@dataclass(frozen=True)
class Samples:
    """A dataset and what is asked of it: references (the model's class ids int64 [N], numbers float [N], or 0
    and 1 of its labels float [N, L]) and environments, int64 [N]."""

    dataset: Dataset
    references: np.ndarray
    environments: np.ndarray
    environment_names: list[str]


class _Parser(HfArgumentParser):
    @staticmethod
    def _parse_dataclass_field(parser: Any, field: Any) -> None:
        """What holds for a flag of a run says nothing to `argparse`."""
        own = copy(field)
        own.metadata = {name: value for name, value in field.metadata.items() if name != "flag"}
        HfArgumentParser._parse_dataclass_field(parser, own)

    def error(self, message: str) -> Any:
        raise UsageError(f"{message}\nSee --help.")


@one_message
def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse the command line, evaluate, and leave results and plots in a folder. Returns the results."""
    flags = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    namespace, unknown = parser.parse_known_args(flags)
    if unknown:
        known = [action.option_strings[0] for action in parser._actions]
        raise UsageError(unknown_name("flag", unknown[0].partition("=")[0], known))
    return run(EvaluationArguments(**vars(namespace)), command_line("trainers/evaluate.py", flags))


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


def run(arguments: EvaluationArguments, command: str) -> dict[str, Any]:
    """Predict, measure, and write `results.json` and the plots."""
    refuse_not_finite(vars(arguments))
    arguments, finished = with_defaults(arguments)
    environment_column = [
        column_of(column, ENVIRONMENT) for column in arguments.environment_column or [ENVIRONMENT]
    ]
    label_columns = [column_of(column, LABEL) for column in arguments.label_column or [LABEL]]
    dataset, split, splits = load_split(arguments, finished)
    subject = {
        "model": arguments.model,
        "revision": arguments.revision,
        "dataset": arguments.dataset,
        "config": arguments.dataset_config,
        "split": split,
    }
    folder = Path(arguments.output_dir or default_output_dir(arguments, split))
    refuse_other_results(folder, subject, arguments)
    require_columns(dataset, *environment_column, *label_columns)
    environments, names = ids_of(dataset, environment_column, "environment")
    named = [arguments.image_column, arguments.audio_column]
    inputs = arguments.text_column or [column for column in named if column]
    require_columns(dataset, *inputs)
    told = [*files_told(dataset.info.description), f"{len(dataset):,} rows"]
    print(f"{split}: {'; '.join([*told, 'environments ' + counted(environments, names)])}")  # noqa: T201
    for other in splits:
        if other != split:
            print(f"{other}: not measured (--split {other})")  # noqa: T201
    model, processor = load_classifier(
        str(arguments.model), revision=arguments.revision, trust_remote_code=arguments.trust_remote_code
    )
    task = model_task(model.config, arguments.task)
    check_after_training(arguments, arguments.run is not None, task)
    others = dataset.remove_columns(list({*environment_column, *label_columns}))
    inputs = input_columns(
        others if takes_text(processor) and not inputs else dataset,
        processor,
        arguments.image_column,
        arguments.text_column,
        arguments.audio_column,
    )
    processor = with_length(processor, arguments.max_seconds)
    id2label = {int(number): str(name) for number, name in (model.config.id2label or {}).items()}
    references, mapping = references_of(dataset, label_columns, id2label, task)
    samples = Samples(dataset, references, environments, names)
    classes = [id2label.get(number, str(number)) for number in range(len(id2label))]
    start = time.perf_counter()
    logits = predict_logits(
        model.to(PartialState().device),
        processor,
        dataset,
        inputs,
        arguments.batch_size,
        arguments.num_workers,
        arguments.max_length,
    )
    seconds = time.perf_counter() - start
    report = environment_report(logits, references, samples.environments, samples.environment_names, classes)
    changed: dict[str, Any] = {}
    if arguments.adapt is not None or arguments.calibrate:

        def batches_at(rows: np.ndarray) -> Any:
            chosen, options = dataset.select(rows), (arguments.batch_size, arguments.num_workers)
            return input_batches(processor, chosen, inputs, *options, arguments.max_length)

        measured_on = (references, samples.environments, samples.environment_names, classes)
        watched = validation_of(Path(arguments.model or "")) if needs_validation(arguments) else None
        model, logits, report, changed = change(
            arguments, model, logits, report, measured_on, batches_at, watched, arguments.batch_size
        )
    results = {
        **subject,
        DIGEST: digest_of(subject),
        "label_mapping": mapping,
        **changed,
        **measured(report, split, finished, arguments.min_count),
        "notes": notes(
            split,
            splits,
            arguments.split,
            finished if same_data(arguments, finished) else None,
            finished,
            list(report),
        ),
        "seconds": seconds,
        "samples_per_second": len(dataset) / seconds,
        "versions": versions(),
        "command": command,
    }
    folder.mkdir(parents=True, exist_ok=True)
    if task == CLASSIFICATION:  # the pictures are of classes
        draw_evaluation(
            logits, references, samples.environments, samples.environment_names, report, id2label, folder
        )
    if arguments.calibrate:
        save_calibrated(model, processor, folder, changed["calibration"]["temperature"])
    save_results(results, folder)
    print_evaluation(results, folder)
    return results


def same_data(arguments: EvaluationArguments, finished: FinishedRun | None) -> bool:
    return finished is not None and arguments.dataset == finished.data.dataset


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


def default_output_dir(arguments: EvaluationArguments, split: str) -> str:
    model = str(arguments.model)
    changed = "calibrated" if arguments.calibrate else arguments.adapt
    parts = [Path(str(arguments.dataset)).name, arguments.dataset_config, split, changed]
    model = Path(model).resolve().name if os.path.exists(model) else model
    whole = f"{model.replace('/', '--')}-on-{'-'.join(part for part in parts if part)}"
    return f"evaluations/{file_name(whole)}"


def digest_of(subject: dict[str, Any]) -> str:
    """Tells subjects apart whose paths, which results leave out, are all that differs."""
    return hashlib.sha256(json.dumps([subject[key] for key in SUBJECT]).encode()).hexdigest()[:16]


def refuse_other_results(folder: Path, subject: dict[str, Any], arguments: EvaluationArguments) -> None:
    """Raise `ValueError` when the folder holds the results of a training run, or of another evaluation."""
    if (folder / RESULTS_FILE).exists():
        there, ours = load_results(folder), told(subject)
        same = {key: there.get(key) for key in SUBJECT} == {key: ours[key] for key in SUBJECT}
        adapted = there.get("adapted", {}).get("by"), "calibration" in there
        same = same and adapted == (arguments.adapt, arguments.calibrate)
        if not same or there.get(DIGEST, digest_of(subject)) != digest_of(subject):
            raise ValueError(f"{folder} holds other results ({RESULTS_FILE}). Choose another --output_dir.")


def load_split(
    arguments: EvaluationArguments, finished: FinishedRun | None = None
) -> tuple[Dataset, str, list[str]]:
    """One split of the dataset, its name, and those of all; a built-in dataset as the run drew it.

    Raises `ValueError` naming the splits there are, or when it is empty.
    """
    name = str(arguments.dataset)
    built_in = BUILT_IN.get(name)
    if has_built_in_rows(name) or (built_in and built_in.tensors and built_in.dataset):
        assert built_in is not None and built_in.dataset is not None
        options = finished.options if finished is not None and same_data(arguments, finished) else {}
        loaded = built_in.dataset(arguments.dataset_config or built_in.default, **options)
    else:
        refuse_made_in_memory(name, "hf-ood evaluate")
        refuse_unwritten(name)
        columns = arguments.environment_column or [ENVIRONMENT]
        # The run's environments tell its domain folders from its class folders.
        trained_on = finished.trained if finished is not None and same_data(arguments, finished) else ()
        loaded = read_dataset(
            name,
            arguments.dataset_config,
            Reading(**{name: getattr(arguments, name) for name in vars(Reading())}),
            Named(columns[0], (arguments.label_column or [LABEL])[0], sorted(trained_on)),
        )
    splits = [str(split) for split in loaded]
    split = choose_split(splits, arguments.split)
    dataset = loaded[split]
    if len(dataset) == 0:
        raise ValueError(f"Split {split} of {arguments.dataset} is empty.")
    return dataset, split, splits
