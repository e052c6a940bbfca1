"""Runs that are heads on the same features, carried out together: results alone, no folders."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import EnvironmentDataset
from ..data.fingerprint import fingerprint
from ..data.splits import IN_DOMAIN
from ..data.targets import CLASSIFICATION
from ..evaluation.results import summarize
from ..methods.losses.by_name import build_loss
from ..methods.registry import Method
from ..trainer.heads.choice import Measured, measure
from ..trainer.heads.fit import fit_alike
from ..trainer.heads.layers import find_layers
from ..trainer.heads.reasons import why_not
from ..trainer.heads.spec import Head, HeadSpec
from ..trainer.linear_probe import Probe, on_features
from .adapters import LORA
from .cores import cores_per_process
from .data import load_splits
from .feature_store import kept_features
from .last_layer import TRAINED
from .run import build_network
from .sections import LOSS
from .spec import RunSpec
from .stage_data import training_datasets
from .trainable import is_head_of_vectors, refuse_what_stays_as_it_is

EVALUATED = ("validation", IN_DOMAIN, "test")


@dataclass(frozen=True)
class HeadRun:
    """What a run has of its own beside other heads on the same features, rows and seed."""

    method: Method
    learning_rate: float
    weight_decay: float


def why_no_head(spec: RunSpec) -> str | None:
    """Why a run, whatever its method, is no head that can be trained together with others; None where it
    is."""
    data, network = spec.data, spec.network
    method = spec.method
    asked = {
        "it has no cache_features": not network.cache_features,
        "it has stages": bool(spec.stages),
        f"it is a {data.task}": data.task != CLASSIFICATION,
        "it measures other configurations too (also_test)": bool(data.also_test),
        "it augments images": data.augmentation != "none",
        "it trains on a part of the rows (train_on, hold_out)": data.train_on != "train" or data.hold_out > 0,
        "it names what is trainable": network.trainable is not None,
        "it trains adapters": LORA in spec.options,
        "its environments are inferred": method.infer_environments != "none",
        "it weighs errors up": method.upweight_errors != 1,
        "it fits its last layer": method.fit_last_layer != TRAINED,
        "it interpolates with its start": bool(method.interpolate_with_start),
    }
    return next((reason for reason, holds in asked.items() if holds), None) or why_not(spec.training)


@dataclass(frozen=True)
class FittedHeads:
    """`trained`: the heads, in their order but for those that were refused (`refused`: the error of each, or
    None). `network`: what they are heads of. `datasets`: the rows of each split, as vectors. `rows`: how many
    in all splits. `fingerprint`: of the rows as they were read."""

    trained: Sequence[Head]
    refused: Sequence[ValueError | None]
    network: nn.Module
    datasets: Mapping[str, EnvironmentDataset]
    rows: int
    fingerprint: str


def fit_heads_of(
    spec: RunSpec, heads: Sequence[HeadRun], features_folder: Path, most_rows: int | None = None
) -> FittedHeads:
    """Train the heads of `train_heads`, whose arguments and errors it has; nothing is measured."""
    datasets = training_datasets(spec, load_splits(spec))
    rows, own = sum(map(len, datasets.values())), fingerprint(datasets)
    if most_rows is not None:
        datasets = {split: _few(data, most_rows) for split, data in datasets.items()}
    model = build_network(spec, datasets, previous=None)
    network: nn.Module = model
    if not is_head_of_vectors(spec):
        datasets = {split: _features(spec, model, data, features_folder) for split, data in datasets.items()}
        network = Probe(model)
    refused = [_refusal(head.method, spec) for head in heads]
    kept = [head for head, error in zip(heads, refused, strict=True) if error is None]
    trained = fit_alike(
        datasets["train"],
        [HeadSpec(head.method, {}, None, None, head.learning_rate, head.weight_decay) for head in kept],
        spec.training,
        spec.training.seed,
        lambda: network,
        validation=datasets["validation"] if len(datasets["validation"]) else None,
        loss=build_loss(spec.options[LOSS]) if LOSS in spec.options else None,
        passes=sum(1 for split in EVALUATED if len(datasets.get(split, []))),
    ) if kept else []  # fmt: skip
    return FittedHeads(trained, refused, network, datasets, rows, own)


def train_heads(
    spec: RunSpec, heads: Sequence[HeadRun], features_folder: Path, most_rows: int | None = None
) -> list[dict[str, Any] | ValueError]:
    """Carry out runs that are `spec` but for what each of `heads` has of its own -> their results, as far as
    choosing and tables need them: what `results.json` holds, with accuracy, loss and count of each
    environment, without hyper-parameters, versions and history. `together` is how many they were, `rows` how
    many there are in all splits.

    `features_folder`: where the features of frozen networks are kept. `most_rows`: use about so many of each
    split, as many of every environment, to see how long it takes. The error of a head is its own; raises
    `ValueError` for what is wrong with all of them.
    """
    torch.set_num_threads(spec.num_threads or cores_per_process())
    start, cpu_start = time.perf_counter(), time.process_time()
    fitted = fit_heads_of(spec, heads, features_folder, most_rows)
    trained, datasets = fitted.trained, fitted.datasets
    measured = _measure(trained, fitted.network, datasets) if trained else {}
    seconds = (time.perf_counter() - start) / max(len(trained), 1)
    cpu_seconds = (time.process_time() - cpu_start) / max(len(trained), 1)
    results = iter(
        ValueError(head.error)
        if head.error
        else {
            "method": head.spec.build().name,
            "dataset": spec.data.dataset,
            "config": spec.data.configuration,
            "seed": spec.training.seed,
            "selection": head.selection,
            **_summary(number, measured, datasets),
            "history": [],
            "steps": head.steps,
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "together": len(trained),
            "rows": fitted.rows,
        }
        for number, head in enumerate(trained)
    )
    return [next(results) if error is None else error for error in fitted.refused]


def _few(dataset: EnvironmentDataset, most: int) -> EnvironmentDataset:
    """About `most` rows, as many of each environment as there are of the others."""
    present = dataset.environments.unique()
    share = max(most // max(len(present), 1), 1)
    rows = [(dataset.environments == each).nonzero().squeeze(1)[:share] for each in present]
    return dataset.select(torch.cat(rows)) if rows else dataset


def _refusal(method: Method, spec: RunSpec) -> ValueError | None:
    try:
        refuse_what_stays_as_it_is(method, spec)
    except ValueError as error:
        return error
    return None


def _features(spec: RunSpec, model: Any, dataset: EnvironmentDataset, folder: Path) -> EnvironmentDataset:
    model.to(spec.training.device)
    batch_size, workers = spec.training.per_device_eval_batch_size, spec.training.dataloader_num_workers
    if not len(dataset):
        return on_features(dataset, torch.empty(0, Probe(model).classifier.in_features))
    return on_features(dataset, kept_features(model, dataset, folder, batch_size, workers))


def _measure(
    heads: Sequence[Head], network: nn.Module, datasets: Mapping[str, EnvironmentDataset]
) -> dict[str, Measured]:
    weights: dict[str, Tensor] = {
        name: torch.stack([head.weights[name] for head in heads]) for name in heads[0].weights
    }
    layers = find_layers(network)
    return {split: measure(weights, layers, rows) for split, rows in datasets.items() if len(rows)}


def _summary(
    head: int, measured: Mapping[str, Measured], datasets: Mapping[str, EnvironmentDataset]
) -> dict[str, Any]:
    reports = {
        split: {
            datasets[split].environment_names[place]: {
                "accuracy": float(found.correct[head, place] / found.samples[place]),
                "loss": float(found.loss[head, place] / found.samples[place]),
                "count": int(found.samples[place]),
            }
            for place in found.present
        }
        for split, found in measured.items()
    }
    train = reports["train"]
    summary = summarize(train, reports.get("validation", {}), reports["test"], reports.get(IN_DOMAIN))
    summary.pop("summary")
    return {**summary, "trained_environments": list(train)}
