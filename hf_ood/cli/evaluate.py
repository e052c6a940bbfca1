"""`trainers/evaluate.py`: any classifier of images or texts on any dataset with environments."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from datasets import ClassLabel, Dataset, DatasetDict, Value
from transformers import HfArgumentParser
from transformers.utils import logging

from ..data import load_colored_mnist, read_dataset
from ..data.colored_mnist import DEFAULT_CONFIGURATION
from ..data.columns import find_image_column, require_columns
from ..data.configurations import unknown_name
from ..data.environment_column import numbered
from ..data.processors import takes_text
from ..evaluation import environment_report, load_results, save_results
from ..evaluation.labels import map_labels
from ..evaluation.metrics import mean_accuracy, worst_accuracy
from ..evaluation.modules.environment_report.environment_measures import (
    MIN_COUNT,
    summarize_environments,
)
from ..evaluation.prediction import load_classifier, predict_logits
from ..evaluation.results import RESULTS_FILE, versions
from ..options import option
from ..reporting.evaluation_figures import draw_evaluation
from ..reporting.tables import print_evaluation
from .command import command_line
from .parser import UsageError, _HelpFormatter

SUBJECT = ("model", "revision", "dataset", "config", "split")  # what an evaluation is of
logger = logging.get_logger(__name__)


@dataclass
class EvaluationArguments:
    """What is evaluated on what."""

    model: str = field(metadata={"help": "A Hub id or a folder with a classifier and its processor."})
    dataset: str = option(
        "colored_mnist",
        "colored_mnist (built in), a Hub dataset, a local folder, or files as in train.py.",
    )
    dataset_config: str | None = option(None, "The dataset's configuration.")
    split: str = option("test", "The split.")
    environment_column: list[str] = option(
        ["environment"],
        "The column that says where a sample is from; several make one environment of each combination.",
    )
    label_column: str = option("label", "The column of the true classes.")
    image_column: str | None = option(None, "The column of images; not needed when there is only one.")
    text_column: list[str] | None = option(
        None, "Classify texts: their column, or two columns for sentence pairs."
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
    """A dataset and what is asked of it: references (model's class ids) and environments, int64 [N]."""

    dataset: Dataset
    references: np.ndarray
    environments: np.ndarray
    environment_names: list[str]


class _Parser(HfArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(f"{message}\nSee --help.")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse the command line, evaluate, and leave results and plots in a folder. Returns the results."""
    flags = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    namespace, unknown = parser.parse_known_args(flags)
    if unknown:
        known = [action.option_strings[0] for action in parser._actions]
        raise UsageError(unknown_name("flag", unknown[0].partition("=")[0], known))
    try:
        return run(EvaluationArguments(**vars(namespace)), command_line("trainers/evaluate.py", flags))
    except (ValueError, OSError) as error:
        logger.debug("Traceback of the error below", exc_info=True)
        raise UsageError(str(error)) from error


def make_parser() -> ArgumentParser:
    return _Parser(
        EvaluationArguments,  # type: ignore[arg-type]
        description="Evaluate a classifier of images or texts in every environment of a dataset.\n\n"
        "  %(prog)s --model user/scan-vit --dataset user/scans --environment_column hospital\n"
        "  %(prog)s --model runs/mine --dataset scans.csv --split train --environment_column hospital\n\n"
        "A single file has one split, train.",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )


def run(arguments: EvaluationArguments, command: str) -> dict[str, Any]:
    """Predict, measure, and write `results.json` and the plots."""
    subject = {
        "model": arguments.model,
        "revision": arguments.revision,
        "dataset": arguments.dataset,
        "config": arguments.dataset_config,
        "split": arguments.split,
    }
    folder = Path(arguments.output_dir or default_output_dir(arguments))
    refuse_other_results(folder, subject)
    dataset = load_split(arguments)
    require_columns(dataset, *arguments.environment_column, arguments.label_column)
    environments, names = numbered(
        DatasetDict({arguments.split: dataset}), arguments.environment_column, "environment"
    )
    inputs = arguments.text_column or [find_image_column(dataset, arguments.image_column)]
    require_columns(dataset, *inputs)
    model, processor = load_classifier(
        arguments.model, revision=arguments.revision, trust_remote_code=arguments.trust_remote_code
    )
    if takes_text(processor) != bool(arguments.text_column):
        kind = "texts: name --text_column" if takes_text(processor) else "images: leave --text_column out"
        raise ValueError(f"{arguments.model} classifies {kind}.")
    id2label = {int(number): str(name) for number, name in (model.config.id2label or {}).items()}
    references, mapping = model_labels(dataset, arguments.label_column, id2label)
    samples = Samples(dataset, references, environments[arguments.split], names)
    start = time.perf_counter()
    logits = predict_logits(
        model.to(PartialState().device),
        processor,
        dataset,
        inputs,
        arguments.batch_size,
        arguments.num_workers,
    )
    seconds = time.perf_counter() - start
    report = environment_report(logits, references, samples.environments, samples.environment_names)
    results = {
        **subject,
        "label_mapping": mapping,
        "environments": {name: {**entry, "split": arguments.split} for name, entry in report.items()},
        "mean_accuracy": mean_accuracy(report),
        "worst_accuracy": worst_accuracy(report),
        "summary": summarize_environments(report, arguments.min_count),
        "seconds": seconds,
        "samples_per_second": len(dataset) / seconds,
        "versions": versions(),
        "command": command,
    }
    folder.mkdir(parents=True, exist_ok=True)
    draw_evaluation(
        logits, references, samples.environments, samples.environment_names, report, id2label, folder
    )
    save_results(results, folder)
    print_evaluation(results, folder)
    return results


def default_output_dir(arguments: EvaluationArguments) -> str:
    parts = [Path(arguments.dataset).name, arguments.dataset_config, arguments.split]
    model = Path(arguments.model).resolve().name if Path(arguments.model).exists() else arguments.model
    return f"evaluations/{model.replace('/', '--')}-on-{'-'.join(part for part in parts if part)}"


def refuse_other_results(folder: Path, subject: dict[str, Any]) -> None:
    """Raise `ValueError` when the folder holds the results of a training run, or of another evaluation."""
    if (folder / RESULTS_FILE).exists():
        there = load_results(folder)
        if {key: there.get(key) for key in SUBJECT} != subject:
            raise ValueError(f"{folder} holds other results ({RESULTS_FILE}). Choose another --output_dir.")


def load_split(arguments: EvaluationArguments) -> Dataset:
    """One split of the dataset. Raises `ValueError` naming the splits there are, or when it is empty."""
    if arguments.dataset == "colored_mnist":
        loaded = load_colored_mnist(arguments.dataset_config or DEFAULT_CONFIGURATION)
    else:
        loaded = read_dataset(arguments.dataset, arguments.dataset_config)
    if arguments.split not in loaded:
        raise ValueError(unknown_name("split", arguments.split, [str(split) for split in loaded]))
    dataset = loaded[arguments.split]
    if len(dataset) == 0:
        raise ValueError(f"Split {arguments.split} of {arguments.dataset} is empty.")
    return dataset


def model_labels(dataset: Dataset, column: str, id2label: dict[int, str]) -> tuple[np.ndarray, str]:
    """The true classes as the model's class ids, int64 [N], and how they were mapped (`map_labels`).

    Raises `ValueError` for a label that is no class.
    """
    feature = dataset.features[column]
    kinds = ("int", "uint", "bool", "float", "string", "large_string")
    if not isinstance(feature, ClassLabel) and not (
        isinstance(feature, Value) and feature.dtype.startswith(kinds)
    ):
        raise ValueError(f"Column {column!r} must hold one class a sample, not {feature}.")
    by_split, names = numbered(DatasetDict(all=dataset), [column], "label")
    ids, known = by_split["all"], {*id2label.values()}
    # Numbers are names where they name the model's classes: of a network trained on 1, 2, 3 class 0 is "1".
    named = isinstance(feature, ClassLabel) or "string" in feature.dtype or bool(known.intersection(names))
    mapping, how = map_labels(names if named else None, id2label)
    try:
        labels = ids if named else np.array(names).astype(np.int64)[ids]
    except ValueError as error:
        raise ValueError(f"Column {column!r} must hold one class a sample, not {names[0]}.") from error
    if labels.min() < 0 or labels.max() >= len(mapping):
        raise ValueError(
            f"Column {column!r} must hold classes 0 to {len(mapping) - 1}, "
            f"found {labels.min()} to {labels.max()}."
        )
    return mapping[labels], how
