"""A run, from a dataset to a checkpoint with its results."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn
from transformers import PreTrainedModel, set_seed

from ..data import EnvironmentDataset, collate
from ..data.splits import IN_DOMAIN
from ..evaluation.results import load_results
from ..manifest import refuse_damaged_model
from ..methods.losses.by_name import build_loss
from ..methods.registry import Method, build_method
from ..models import without_stem
from ..reporting.tables import print_results
from ..trainer import OODConfig, OODTrainer
from ..trainer.linear_probe import Probe, on_features
from .adapters import LORA, without_adapters
from .classifier import build_classifier
from .cores import cores_per_process
from .data import load_splits
from .folder import (
    checkpoint_to_go_on_from,
    claim_data,
    claimed,
    default_output_dir,
    is_finished,
    refuse_foreign_checkpoint,
    set_results_aside,
)
from .interpolation_with_start import check_line, interpolate_and_choose, selection_on_line
from .last_layer import build_fit, check_fit, fit_last_layer
from .network import backbone, check_image_size, check_sound, check_start
from .origin import note_origin, read_origin, recorded
from .output import choose_output, say_less
from .publication import take_publication
from .published_command import run_command
from .relabel import judge, reference_folder, rehearse
from .results import Results, collect_results, image_size, predict_report, write_run
from .sections import LOSS
from .settings import check_options, comparable_settings
from .spec import RunSpec
from .stage_data import training_datasets
from .stages import combine, load_weights, place_stages, stage_before, take_steps_of
from .starting_weights import STARTING_WEIGHTS, fingerprint_of_weights
from .trainable import choose_trainable, inputs_of_the_trained_part, is_head_of_vectors

START_ANEW = ("false", "none", "no")  # as --resume_from_checkpoint


def run(spec: RunSpec) -> Results:
    """Train what the spec says; model, processor, results, curves and card are left in its output folder.

    Without an `output_dir` it goes to `runs/<configuration>-<method>-seed<seed>-<hash of the settings>`. With
    `resume_from_checkpoint` an interrupted run goes on. Raises `ValueError` for what does not go together,
    before anything is trained.

    Example:
        results = run(RunSpec(method=MethodSpec("irm"), training=OODConfig("runs/mine", max_steps=300)))
        results["worst_accuracy"]
    """
    spec = copy.deepcopy(spec)
    for each in (spec, *spec.stages.values()):
        check_options(each)
    check_start(spec)
    for each in (spec, *spec.stages.values()):
        each.command = spec.command or run_command(spec)
    training = spec.training
    comparable = comparable_settings(spec)
    for each in (spec, *spec.stages.values()):
        choose_output(each.training, spec.quiet)
    folder = Path(training.given().get("output_dir") or default_output_dir(spec))
    resume = resume_from(training)
    if spec.stages and isinstance(resume, str):
        raise ValueError("A run with stages is resumed with --resume_from_checkpoint true.")
    stages = place_stages(spec, folder)
    for number, stage in enumerate(stages):
        check_fit(stage, is_first=number == 0)
    publication = take_publication(training)
    is_main = training.process_index == 0
    if is_main and isinstance(resume, str):
        refuse_foreign_checkpoint(Path(resume), spec, comparable)
    with claimed(folder, spec, comparable, resume is not None) if is_main else nullcontext():
        results = _train_stages(spec, stages, folder, resume)
    if publication is not None and is_main:
        print(f"published:  {publication.push(folder)}")  # noqa: T201
    return Results(results, folder)


def _train_stages(
    spec: RunSpec, stages: Sequence[RunSpec], folder: Path, resume: str | bool | None
) -> dict[str, Any]:
    """All stages, or the run that has none, and what they leave together. Returns the results."""
    training = spec.training
    torch.set_num_threads(spec.num_threads or cores_per_process())
    if name := backbone(spec.network):
        refuse_damaged_model(name)
    datasets = load_splits(spec)
    if training.process_index == 0:
        claim_data(folder, datasets, resume is not None)
        note_origin(folder, spec, resume is not None)
        if resume is None:  # a later resume must not find an earlier run's
            set_results_aside(folder)
            for stage in spec.stages.values():
                shutil.rmtree(stage.folder, ignore_errors=True)
    PartialState().wait_for_everyone()
    # A node may be without the folder.
    origin = read_origin(folder) or {"command": spec.command, "resumed_on": []}
    for each in (spec, *stages):
        each.command = origin["command"]
    if resume is True and all(map(is_finished, [folder, *(stage.folder for stage in spec.stages.values())])):
        return _finished_before(spec, folder)
    for stage in stages[1:]:  # a mistake in a later stage is found before the first one trains
        rehearsed = rehearse(stage, training_datasets(stage, datasets))
        build_trainer(stage, rehearsed, build_network(stage, rehearsed, previous=None))
    finished: list[dict[str, Any]] = []
    for number, stage in enumerate(stages):
        before = stage_before(stages, number)
        previous = before.folder if before else None
        if spec.stages:
            take_steps_of(stage, dict(zip(spec.stages, finished, strict=False)))
            finished.append(_go_on(stage, datasets, previous, resume is True, origin))
        else:
            checkpoint = checkpoint_to_go_on_from(folder, resume)
            finished.append(train_stage(stage, datasets, previous, checkpoint, origin))
    results = finished[-1]
    if spec.stages:
        results = combine(dict(zip(spec.stages, finished, strict=True)))
        if training.process_index == 0:
            model = build_classifier(spec, datasets["train"])
            load_weights(model, stages[-1].folder)
            write_run(model, results, folder, datasets)
    if training.process_index == 0 and not spec.quiet:
        print_results(results, str(folder))
    PartialState().wait_for_everyone()
    return results


def _finished_before(spec: RunSpec, folder: Path) -> dict[str, Any]:
    """The results of a run that is resumed and was at its end."""
    results = load_results(folder)
    if spec.training.process_index == 0 and not spec.quiet:
        print(f"{folder} is finished: nothing is left to train.")  # noqa: T201
        print_results(results, str(folder))
    PartialState().wait_for_everyone()
    return results


def _go_on(
    stage: RunSpec,
    datasets: dict[str, EnvironmentDataset],
    previous: Path | None,
    resume: bool,
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """A stage of several: with `resume`, its results if it has finished, or the rest of its training."""
    if resume and is_finished(stage.folder):
        return load_results(stage.folder)
    checkpoint = checkpoint_to_go_on_from(stage.folder, resume or None)
    return train_stage(stage, datasets, previous, checkpoint, origin)


def train_stage(
    spec: RunSpec,
    datasets: dict[str, EnvironmentDataset],
    previous: Path | None,
    checkpoint: str | bool | None,
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Train one stage, or a run that has none, from `checkpoint` on; it leaves its own folder
    behind. `origin`: of the whole run."""
    datasets = training_datasets(spec, datasets)
    check_line(spec, previous, has_validation=len(datasets["validation"]) > 0)
    judged, found = judge(spec, datasets, reference_model(spec, datasets, previous))
    model = starting_network(spec, datasets, previous)
    started_from = {STARTING_WEIGHTS: fingerprint_of_weights(model)}
    model = choose_trainable(model, spec)
    start, cpu_start = time.perf_counter(), time.process_time()
    measured, seen, trained = datasets, judged, model
    prepare = inputs_of_the_trained_part(spec, model)
    if spec.network.cache_features and not is_head_of_vectors(spec):
        measured = {split: prepare(dataset) for split, dataset in datasets.items()}
        seen = {
            split: on_features(dataset, measured[split].columns["inputs"])
            for split, dataset in judged.items()
        }
        trained = Probe(model)
    trainer, method = build_trainer(spec, seen, trained)
    say_less(trainer, spec.quiet)
    shares = spec.method.interpolate_with_start
    untrained = copy.deepcopy(trainer.model) if shares else None
    line: dict[str, Any] = {}
    if (fit := build_fit(spec)) is not None:
        line = fit_last_layer(fit, trainer.model, seen["train"], spec)
    else:
        trainer.train(resume_from_checkpoint=checkpoint)
    if LORA in spec.options:
        model.merge_adapter()  # measured as it will be saved
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    if shares and untrained is not None:
        points = interpolate_and_choose(
            trainer.model, untrained, shares, lambda split: predict_report(trainer, measured[split])
        )
        line = {"interpolation": points, "selection": selection_on_line(trainer.selection, points)}
    results = collect_results(trainer, spec, method, measured, seconds, cpu_seconds, prepare)
    results |= started_from | line | found | recorded(origin)
    if trainer.is_world_process_zero():
        write_run(without_adapters(model), results, spec.folder, datasets)
    trainer.accelerator.wait_for_everyone()
    return results


def reference_model(
    spec: RunSpec, datasets: dict[str, EnvironmentDataset], previous: Path | None
) -> PreTrainedModel | None:
    """The model that judges a stage's training images; None where nothing asks for it."""
    folder = reference_folder(spec, previous)
    if folder is None:
        return None
    model = build_classifier(spec, datasets["train"])
    load_weights(model, folder)
    return model


def build_network(spec: RunSpec, datasets: dict[str, EnvironmentDataset], previous: Path | None) -> Any:
    """The network of a stage with its starting weights, and with what it does not train frozen."""
    return choose_trainable(starting_network(spec, datasets, previous), spec)


def starting_network(
    spec: RunSpec, datasets: dict[str, EnvironmentDataset], previous: Path | None
) -> PreTrainedModel:
    """The network of a stage with its starting weights, those of stage `previous` if it asks for them."""
    set_seed(spec.training.seed)
    model = build_classifier(spec, datasets["train"])
    if backbone(spec.network) is None:
        check_image_size(without_stem(model), spec.network.model, image_size(datasets["train"]))
    if spec.data.max_seconds is not None:
        check_sound(model, collate(datasets["train"].__getitems__([0])), spec.data.max_seconds)
    start = spec.network.start_from
    source = None if start == "scratch" else previous if start in ("previous", *spec.before) else Path(start)
    if source is not None:
        load_weights(model, source, spec.training.accept_missing_keys)
    return model


def build_trainer(
    spec: RunSpec, datasets: dict[str, EnvironmentDataset], model: nn.Module
) -> tuple[OODTrainer, Method]:
    """The trainer of a stage."""
    method = build_method(spec.method.name, spec.options)
    trainer = OODTrainer(
        model,
        spec.training,
        **vars(method),
        loss=build_loss(spec.options[LOSS]) if LOSS in spec.options else None,
        train_dataset=datasets["train"],
        eval_dataset={
            split: datasets[split] for split in ("validation", IN_DOMAIN, "test") if split in datasets
        },
    )
    return trainer, method


def resume_from(training: OODConfig) -> str | bool | None:
    """True: the latest whole checkpoint; a checkpoint's folder; None: start."""
    asked = training.resume_from_checkpoint
    if str(asked).lower() in START_ANEW:
        return None
    return True if str(asked).lower() in ("true", "last") else asked or None
