"""`trainers/train.py`: one run, from a dataset to a checkpoint with its results."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import nn
from transformers import PreTrainedModel, set_seed
from transformers.utils import logging

from ..data import EnvironmentDataset
from ..evaluation import environment_report, save_results, summarize
from ..evaluation.metrics import EnvironmentReport, mean_measure
from ..evaluation.results import RESULTS_FILE, history, load_results, versions
from ..files import all_or_nothing
from ..hub.model_card import write_model_card
from ..reporting.curves import CURVES_FILE, draw_curves
from ..reporting.reconstructions import RECONSTRUCTIONS_FILE, Reconstructs, draw_reconstructions
from ..reporting.tables import print_results
from ..trainer import OODConfig, OODTrainer
from ..trainer.checkpoints import last_whole_checkpoint
from ..trainer.linear_probe import Probe, on_features
from ..trainer.methods import Method, build_method
from .adapters import LORA, recorded_lora, without_adapters
from .arguments import Arguments, UsageError, parse_arguments
from .cores import cores_per_process
from .datasets import describe_data, load_splits, training_datasets
from .frozen import as_the_trained_part_takes, choose_trainable
from .interpolation import check_line, end_on_line, selection_on_line
from .models import backbone, build_model, check_image_size, describe_model, input_processor
from .output_folder import (
    claim_output_dir,
    comparable_arguments,
    default_output_dir,
    refuse_foreign_checkpoint,
    released_when_unused,
)
from .parser import make_parser
from .push import take_publication
from .reference import judge, recorded_inference, recorded_options, reference_folder, rehearse
from .stages import combine, load_weights, place_stages

logger = logging.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse the command line, train, and leave the run in its output folder. Returns the results."""
    arguments = parse_arguments(argv)
    try:
        return run(arguments)
    except (ValueError, OSError) as error:
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
        train_dataset=datasets["train"],
        eval_dataset={split: datasets[split] for split in ("validation", "test")},
    )
    return trainer, method


def resume_from(training: OODConfig) -> str | bool | None:
    """True: the latest whole checkpoint; a checkpoint's folder; None: start."""
    asked = training.resume_from_checkpoint
    return True if str(asked).lower() in ("true", "last") else asked or None


def collect_results(
    trainer: OODTrainer,
    arguments: Arguments,
    method: Method,
    datasets: dict[str, EnvironmentDataset],
    seconds: float,
    cpu_seconds: float,
    prepare: Callable[[EnvironmentDataset], EnvironmentDataset] = lambda dataset: dataset,
) -> dict[str, Any]:
    """Measure the final weights on every split and put everything that `results.json` holds together.

    `prepare`: makes further data what the trainer's network takes, as `datasets` are.
    """
    run, training = arguments.run, arguments.training
    plain = {**datasets, "train": datasets["train"].with_transform(None)}
    reports = {split: predict_report(trainer, dataset) for split, dataset in plain.items()}
    done = max(trainer.state.global_step - trainer._initial_global_step, 0)
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * training.world_size
    return {
        "method": method.name,
        "dataset": run.dataset_name,
        "config": run.dataset_config,
        "seed": training.seed,
        "selection": trainer.selection,
        **summarize(reports["train"], reports["validation"], reports["test"]),
        "also_test": {
            name: {"environments": report, **mean_measure(report)}
            for name in run.also_test or []
            for report in [predict_report(trainer, prepare(load_splits(arguments, name)["test"]))]
        },
        "history": history(trainer.state.log_history),
        "hyperparameters": {
            **method.hyperparameters(),
            "model": describe_model(arguments),
            **recorded_inference(arguments),
            **recorded_lora(arguments),
            "data": {**describe_data(arguments), **recorded_options(arguments)},
            "training": {
                "learning_rate": training.learning_rate,
                "batch_size": batch,
                "epochs": trainer.state.epoch,
                "optimizer": str(getattr(training.optim, "value", training.optim)),
                "lr_scheduler": str(getattr(training.lr_scheduler_type, "value", training.lr_scheduler_type)),
                "training_images": len(datasets["train"]),
                **({"trainable": " ".join(run.trainable)} if run.trainable else {}),
                **({"cache_features": True} if run.cache_features else {}),
                **(
                    {"interpolate_with_start": run.interpolate_with_start}
                    if run.interpolate_with_start
                    else {}
                ),
            },
        },
        "steps": trainer.state.global_step,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "samples_per_second": done * batch / seconds,
        "versions": versions(),
        "command": arguments.command,
    }


def predict_report(trainer: OODTrainer, dataset: EnvironmentDataset) -> EnvironmentReport:
    if len(dataset) == 0:
        return {}
    prediction = trainer.predict(dataset)
    labels, environments = prediction.label_ids  # type: ignore[misc]
    return environment_report(
        np.asarray(prediction.predictions), labels, environments, dataset.environment_names
    )


def write_run(
    model: PreTrainedModel, results: dict[str, Any], folder: Path, datasets: dict[str, EnvironmentDataset]
) -> None:
    """Everything a run leaves behind, or the files of before: results last, where they are, the run is
    whole.

    Processor, curves and card are for images and texts: a run on vectors has none of them.
    """
    with all_or_nothing(folder, last=RESULTS_FILE) as staged:
        model.save_pretrained(staged)
        size = image_size(datasets["train"])
        processor = datasets["train"].processor or (input_processor(model, *size) if size else None)
        if processor is not None:
            processor.save_pretrained(staged)
            draw_curves(results, staged / CURVES_FILE)
            write_model_card(results, staged)
        if isinstance(model, Reconstructs):
            shown = {split: datasets[split] for split in ("validation", "test")}
            draw_reconstructions(model, shown).savefig(staged / RECONSTRUCTIONS_FILE, dpi=120)
        save_results(results, staged)


def image_size(dataset: EnvironmentDataset) -> tuple[int, ...]:
    """Height and width of the images that the network takes; empty where it takes no images."""
    pixels = dataset.__getitems__([0]).get("pixel_values")
    return () if pixels is None else tuple(pixels.shape[2:])


__all__ = ["RESULTS_FILE", "main", "make_parser", "run"]
