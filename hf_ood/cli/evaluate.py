"""`trainers/evaluate.py`: any classifier on any dataset with environments."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from datasets import Dataset

from ..data import read_dataset
from ..data.accounting import counted, files_told
from ..data.built_in import (
    BUILT_IN,
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
from ..evaluation.prediction import input_batches, load_classifier, predict_logits
from ..evaluation.references import model_task, references_of
from ..evaluation.results import RESULTS_FILE, told, versions
from ..names import file_name
from ..options import refuse_not_finite
from ..reporting.evaluation_figures import draw_evaluation
from ..reporting.tables import print_evaluation
from ..runs.after_training import (
    change,
    check_after_training,
    needs_validation,
    save_calibrated,
    validation_of,
)
from ..runs.finished_run import FinishedRun, measured, notes
from ..runs.published_command import command_line
from .evaluation_arguments import EvaluationArguments, make_parser, with_defaults
from .funnel import one_message

SUBJECT = ("model", "revision", "dataset", "config", "split")  # what an evaluation is of
DIGEST = "subject"


@dataclass(frozen=True)
class Samples:
    """A dataset and what is asked of it: references (the model's class ids int64 [N], numbers float [N], or 0
    and 1 of its labels float [N, L]) and environments, int64 [N]."""

    dataset: Dataset
    references: np.ndarray
    environments: np.ndarray
    environment_names: list[str]


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
