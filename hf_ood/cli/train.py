"""`trainers/train.py`: one run, from a dataset to a checkpoint with its results."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from datasets import load_dataset
from transformers import PreTrainedModel, set_seed
from transformers.utils import logging

from ..data import (
    AUGMENTATIONS,
    BatchAugmentation,
    EnvironmentDataset,
    as_environment_dataset,
    colored_mnist_tensors,
)
from ..data.configurations import unknown_name
from ..evaluation import environment_report, save_results, summarize
from ..evaluation.metrics import EnvironmentReport
from ..evaluation.results import RESULTS_FILE, history, versions
from ..hub.model_card import write_model_card
from ..models import MODELS, LeNetImageProcessor
from ..reporting.curves import CURVES_FILE, draw_curves
from ..reporting.tables import print_results
from ..trainer import OODTrainer
from ..trainer.methods import Method, build_method
from .arguments import Arguments, UsageError, parse_arguments

ARGUMENTS_FILE = "arguments.yaml"
logger = logging.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse the command line, train, and leave the run in its output folder. Returns the results."""
    arguments = parse_arguments(argv)
    try:
        return run(arguments)
    except (ValueError, FileNotFoundError, ConnectionError) as error:
        if isinstance(error, UsageError):
            raise
        logger.debug("Traceback of the error below", exc_info=True)
        raise UsageError(str(error)) from error


def run(arguments: Arguments) -> dict[str, Any]:
    """Train what the arguments say; write model, processor, results, curves and card to the output folder."""
    training = arguments.training
    training.output_dir = arguments.given["training"].get("output_dir") or default_output_dir(arguments)
    method = build_method(arguments.run.method, arguments.options)
    if training.process_index == 0:
        claim_output_dir(Path(training.output_dir), arguments.given, bool(training.resume_from_checkpoint))
    torch.set_num_threads(arguments.run.num_threads or cores_per_process())
    set_seed(training.seed)
    datasets = load_datasets(arguments)
    trainer = OODTrainer(
        build_model(arguments, datasets["train"]),
        training,
        objective=method.objective,
        feature_transform=method.feature_transform,
        train_dataset=datasets["train"],
        eval_dataset={split: datasets[split] for split in ("validation", "test")},
    )
    resume = training.resume_from_checkpoint
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=True if str(resume).lower() in ("true", "last") else resume)
    seconds = time.perf_counter() - start
    results = collect_results(trainer, arguments, method, datasets, seconds)
    if trainer.is_world_process_zero():
        write_run(trainer, results)
        print_results(results, training.output_dir)
    trainer.accelerator.wait_for_everyone()
    return results


def cores_per_process() -> int:
    """This machine's cores, shared out evenly among its processes."""
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def default_output_dir(arguments: Arguments) -> str:
    """`runs/<configuration>-<method>-seed<seed>-<hash of all that was given>`: other arguments, another
    folder."""
    run = arguments.run
    digest = hashlib.sha256(repr(sorted(_comparable(arguments.given).items())).encode()).hexdigest()[:6]
    return f"runs/{run.dataset_config}-{run.method.replace('+', '-')}-seed{arguments.training.seed}-{digest}"


def claim_output_dir(folder: Path, given: dict[str, Any], resume: bool) -> None:
    """Note the run's arguments in its folder; refuse a folder that belongs to a run with other arguments."""
    note = folder / ARGUMENTS_FILE
    ours = yaml.safe_load(yaml.safe_dump(_comparable(given)))
    if note.exists():
        theirs = yaml.safe_load(note.read_text())
        if theirs != ours:
            different = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
            raise ValueError(
                f"{folder} holds another run: {', '.join(different)} differ "
                f"({note}). Choose another --output_dir, or delete the folder."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"{folder} is not empty and holds no run of this program. Choose another --output_dir."
        )
    elif resume:
        raise ValueError(f"There is nothing to resume in {folder}: check --output_dir.")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(yaml.safe_dump(ours, sort_keys=True))


def _comparable(given: dict[str, Any]) -> dict[str, Any]:
    """All given arguments, flat, without those that do not change the run, and without secrets."""
    flat = {f"{section}.{key}": value for section, values in given.items() for key, value in values.items()}
    ignored = {
        "output_dir",
        "resume_from_checkpoint",
        "hub_token",
        "disable_tqdm",
        "push_to_hub",
        "num_threads",
    }
    return {key: value for key, value in flat.items() if key.rpartition(".")[2] not in ignored}


def load_datasets(arguments: Arguments) -> dict[str, EnvironmentDataset]:
    """Train (augmented, reduced as asked), validation and test in memory."""
    run = arguments.run
    if run.dataset_name == "colored_mnist":
        datasets = colored_mnist_tensors(run.dataset_config, **arguments.options.get("colored_mnist", {}))
    else:
        loaded = load_dataset(run.dataset_name, run.dataset_config)
        missing = {"train", "validation", "test"} - set(loaded)
        if missing:
            raise ValueError(f"{run.dataset_name} lacks the split(s) {', '.join(sorted(missing))}.")
        datasets = {split: as_environment_dataset(loaded[split]) for split in ("train", "validation", "test")}
    train = datasets["train"]
    if run.train_environments:
        train, datasets["validation"] = (
            keep_environments(datasets[split], run.train_environments) for split in ("train", "validation")
        )
    if run.max_train_samples is not None:
        train = first_of_each_environment(train, run.max_train_samples)
    if run.augmentation != "none":
        if run.augmentation not in AUGMENTATIONS:
            raise ValueError(unknown_name("augmentation", run.augmentation, ["none", *AUGMENTATIONS]))
        train = train.with_transform(
            BatchAugmentation(AUGMENTATIONS[run.augmentation](), arguments.training.seed)
        )
    return {**datasets, "train": train}


def keep_environments(dataset: EnvironmentDataset, names: Sequence[str]) -> EnvironmentDataset:
    present = list(dataset.environment_counts())
    for name in names:
        if name not in present:
            raise ValueError(unknown_name("training environment", name, present))
    ids = torch.tensor([dataset.environment_names.index(name) for name in names])
    return dataset.select(torch.isin(dataset.environments, ids).nonzero().squeeze(1))


def first_of_each_environment(dataset: EnvironmentDataset, total: int) -> EnvironmentDataset:
    counts = dataset.environment_counts()
    share = total // len(counts)
    for name, count in counts.items():
        if count < share:
            raise ValueError(
                f"max_train_samples={total} asks for {share} of environment {name!r}, which has {count}."
            )
    rows = [
        (dataset.environments == dataset.environment_names.index(name)).nonzero().squeeze(1)[:share]
        for name in counts
    ]
    return dataset.select(torch.cat(rows))


def build_model(arguments: Arguments, dataset: EnvironmentDataset) -> PreTrainedModel:
    name = arguments.run.model
    if name not in MODELS:
        raise ValueError(unknown_name("model", name, list(MODELS)))
    config_class, model_class = MODELS[name]
    id2label = dict(enumerate(dataset.label_names))
    config = config_class(
        **arguments.options.get(name, {}),
        id2label=id2label,
        label2id={label: position for position, label in id2label.items()},
    )
    return model_class(config)


def collect_results(
    trainer: OODTrainer,
    arguments: Arguments,
    method: Method,
    datasets: dict[str, EnvironmentDataset],
    seconds: float,
) -> dict[str, Any]:
    """Measure the final weights on every split and put everything that `results.json` holds together."""
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
        "selection": training.selection,
        **summarize(reports["train"], reports["validation"], reports["test"]),
        "history": history(trainer.state.log_history),
        "hyperparameters": {
            **method.hyperparameters(),
            "model": {"name": run.model, **arguments.options.get(run.model, {})},
            "data": {**arguments.options.get("colored_mnist", {}), "augmentation": run.augmentation},
            "training": {
                "learning_rate": training.learning_rate,
                "batch_size": batch,
                "epochs": trainer.state.epoch,
                "optimizer": str(getattr(training.optim, "value", training.optim)),
                "lr_scheduler": str(getattr(training.lr_scheduler_type, "value", training.lr_scheduler_type)),
                "training_images": len(datasets["train"]),
            },
        },
        "steps": trainer.state.global_step,
        "seconds": seconds,
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


def write_run(trainer: OODTrainer, results: dict[str, Any]) -> None:
    """Everything a run leaves behind; weights and code first, results last: where they are, the run is
    whole."""
    folder = Path(str(trainer.args.output_dir))
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.save_pretrained(folder)
    LeNetImageProcessor().save_pretrained(folder)
    draw_curves(results, folder / CURVES_FILE)
    write_model_card(results, folder)
    save_results(results, folder)


__all__ = ["RESULTS_FILE", "main", "run"]
