"""`trainers/train.py`: one run, from a dataset to a checkpoint with its results."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn
from transformers import PreTrainedModel, set_seed
from transformers.utils import logging

from ..data import EnvironmentDataset
from ..data.splits import IN_DOMAIN
from ..evaluation.results import RESULTS_FILE, load_results
from ..losses import CrossEntropy
from ..reporting.tables import print_results
from ..trainer import CorruptCheckpointError, NonFiniteLossError, OODConfig, OODTrainer
from ..trainer.checkpoints import last_whole_checkpoint
from ..trainer.linear_probe import Probe, on_features
from ..trainer.methods import Method, build_method
from .adapters import LORA, without_adapters
from .arguments import Arguments, UsageError, parse_arguments
from .cores import cores_per_process
from .datasets import load_splits, training_datasets
from .frozen import as_the_trained_part_takes, choose_trainable
from .interpolation import check_line, end_on_line, selection_on_line
from .models import backbone, build_model, check_image_size
from .output_folder import (
    claim_output_dir,
    comparable_arguments,
    default_output_dir,
    refuse_foreign_checkpoint,
    released_when_unused,
)
from .parser import LOSS, make_parser
from .push import take_publication
from .reference import judge, reference_folder, rehearse
from .run_files import collect_results, image_size, predict_report, write_run
from .stages import combine, load_weights, place_stages

logger = logging.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse the command line, train, and leave the run in its output folder. Returns the results."""
    arguments = parse_arguments(argv)
    try:
        return run(arguments)
    except (ValueError, OSError, NonFiniteLossError, CorruptCheckpointError) as error:
        if isinstance(error, UsageError):
            raise
        logger.debug("Traceback of the error below", exc_info=True)
        raise UsageError(str(error)) from error


def run(arguments: Arguments) -> dict[str, Any]:
    """Train what the arguments say; write model, processor, results, curves and card to the output folder."""
    training = arguments.training
    folder = Path(arguments.given["training"].get("output_dir") or default_output_dir(arguments))
    resume = resume_from(training)
    if arguments.stages and isinstance(resume, str):
        raise ValueError("A run with stages is resumed with --resume_from_checkpoint true.")
    stages = place_stages(arguments, folder)
    publication = take_publication(training)
    if training.process_index == 0:
        comparable = comparable_arguments(arguments)
        if isinstance(resume, str):
            refuse_foreign_checkpoint(Path(resume), comparable)
        claim_output_dir(folder, comparable, resume is not None)
        for stage in arguments.stages.values() if resume is None else ():
            shutil.rmtree(stage.folder, ignore_errors=True)  # a later resume must not find an earlier run's
    with released_when_unused(folder) if training.process_index == 0 else nullcontext():
        results = _train_stages(arguments, stages, folder, resume)
    if publication is not None and training.process_index == 0:
        print(f"published:  {publication.push(folder)}")  # noqa: T201
    return results


def _train_stages(
    arguments: Arguments, stages: Sequence[Arguments], folder: Path, resume: str | bool | None
) -> dict[str, Any]:
    """All stages, or the run that has none, and what they leave together. Returns the results."""
    training = arguments.training
    torch.set_num_threads(arguments.run.num_threads or cores_per_process())
    datasets = load_splits(arguments, arguments.run.dataset_config)
    for stage in stages[1:]:  # a mistake in a later stage is found before the first one trains
        rehearsed = rehearse(stage, training_datasets(stage, datasets))
        build_trainer(stage, rehearsed, build_network(stage, rehearsed, previous=None))
    finished = []
    for number, stage in enumerate(stages):
        previous = stages[number - 1].folder if number else None
        if arguments.stages:
            finished.append(_go_on(stage, datasets, previous, resume is True))
        else:
            finished.append(train_stage(stage, datasets, previous, resume))
    results = finished[-1]
    if arguments.stages:
        results = combine(dict(zip(arguments.stages, finished, strict=True)))
        if training.process_index == 0:
            model = build_model(arguments, datasets["train"].label_names)
            load_weights(model, stages[-1].folder)
            write_run(model, results, folder, datasets)
    if training.process_index == 0:
        print_results(results, str(folder))
    PartialState().wait_for_everyone()
    return results


def _go_on(
    stage: Arguments, datasets: dict[str, EnvironmentDataset], previous: Path | None, resume: bool
) -> dict[str, Any]:
    """A stage of several: with `resume`, its results if it has finished, or the rest of its training."""
    if not resume:
        return train_stage(stage, datasets, previous, None)
    if (stage.folder / RESULTS_FILE).exists():
        return load_results(stage.folder)
    return train_stage(stage, datasets, previous, last_whole_checkpoint(stage.folder))


def train_stage(
    arguments: Arguments,
    datasets: dict[str, EnvironmentDataset],
    previous: Path | None,
    checkpoint: str | bool | None,
) -> dict[str, Any]:
    """Train one stage, or a run that has none, from `checkpoint` on; it leaves its own folder behind."""
    datasets = training_datasets(arguments, datasets)
    check_line(arguments.run, previous, has_validation=len(datasets["validation"]) > 0)
    judged, found = judge(arguments, datasets, reference_model(arguments, datasets, previous))
    model = build_network(arguments, datasets, previous)
    start, cpu_start = time.perf_counter(), time.process_time()
    measured, seen, trained = datasets, judged, model
    prepare = as_the_trained_part_takes(arguments, model)
    if arguments.run.cache_features:
        measured = {split: prepare(dataset) for split, dataset in datasets.items()}
        seen = {
            split: on_features(dataset, measured[split].columns["pixel_values"])
            for split, dataset in judged.items()
        }
        trained = Probe(model)
    trainer, method = build_trainer(arguments, seen, trained)
    shares = arguments.run.interpolate_with_start
    untrained = copy.deepcopy(trainer.model) if shares else None
    trainer.train(resume_from_checkpoint=checkpoint)
    if LORA in arguments.options:
        model.merge_adapter()  # measured as it will be saved
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    line: dict[str, Any] = {}
    if shares and untrained is not None:
        points = end_on_line(
            trainer.model, untrained, shares, lambda split: predict_report(trainer, measured[split])
        )
        line = {"interpolation": points, "selection": selection_on_line(trainer.selection, points)}
    results = collect_results(trainer, arguments, method, measured, seconds, cpu_seconds, prepare)
    results |= line | found
    if trainer.is_world_process_zero():
        write_run(without_adapters(model), results, arguments.folder, datasets)
    trainer.accelerator.wait_for_everyone()
    return results


def reference_model(
    arguments: Arguments, datasets: dict[str, EnvironmentDataset], previous: Path | None
) -> PreTrainedModel | None:
    """The model that judges a stage's training images; None where nothing asks for it."""
    folder = reference_folder(arguments, previous)
    if folder is None:
        return None
    model = build_model(arguments, datasets["train"].label_names)
    load_weights(model, folder)
    return model


def build_network(
    arguments: Arguments, datasets: dict[str, EnvironmentDataset], previous: Path | None
) -> Any:
    """The network of a stage with its starting weights, those of stage `previous` if it asks for them, and
    with what it does not train frozen."""
    run = arguments.run
    set_seed(arguments.training.seed)
    model = build_model(arguments, datasets["train"].label_names)
    if backbone(run) is None:
        check_image_size(model, run.model, image_size(datasets["train"]))
    source = {"scratch": None, "previous": previous}.get(run.start_from, Path(run.start_from))
    if source is not None:
        load_weights(model, source)
    return choose_trainable(model, arguments)


def build_trainer(
    arguments: Arguments, datasets: dict[str, EnvironmentDataset], model: nn.Module
) -> tuple[OODTrainer, Method]:
    """The trainer of a stage."""
    method = build_method(arguments.run.method, arguments.options)
    trainer = OODTrainer(
        model,
        arguments.training,
        **vars(method),
        loss=CrossEntropy(**arguments.options[LOSS]) if LOSS in arguments.options else None,
        train_dataset=datasets["train"],
        eval_dataset={
            split: datasets[split] for split in ("validation", IN_DOMAIN, "test") if split in datasets
        },
    )
    return trainer, method


def resume_from(training: OODConfig) -> str | bool | None:
    """True: the latest whole checkpoint; a checkpoint's folder; None: start."""
    asked = training.resume_from_checkpoint
    return True if str(asked).lower() in ("true", "last") else asked or None


__all__ = ["RESULTS_FILE", "main", "make_parser", "run"]
