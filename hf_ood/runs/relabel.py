"""What the model of the stage before decides about a stage's training samples."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast
from torch import Tensor
from transformers import PreTrainedModel

from ..data import EnvironmentDataset
from ..data.targets import CLASSIFICATION
from ..discovery import INFERENCES, EnvironmentInference, Reference, replace_environments
from ..errors import unknown_name
from .spec import RunSpec

Datasets = dict[str, EnvironmentDataset]


def build_inference(spec: RunSpec) -> EnvironmentInference | None:
    """What infers this stage's training environments. Raises `ValueError` for an unknown name."""
    name = spec.method.infer_environments
    if name == "none":
        return None
    if name not in INFERENCES:
        raise ValueError(unknown_name("inference of environments", name, ["none", *INFERENCES]))
    return INFERENCES[name](**spec.options.get(name, {}))


def reference_folder(spec: RunSpec, previous: Path | None) -> Path | None:
    """Where the reference model's weights are; None where none is needed. Raises `ValueError` if there are
    none."""
    inference = build_inference(spec)
    asking = [f"infer_environments {spec.method.infer_environments}"] * bool(
        inference and inference.needs_reference
    )
    asking += ["upweight_errors"] * (spec.method.upweight_errors > 1)
    if not asking:
        return None
    if previous is None and spec.network.start_from in ("previous", "scratch"):
        raise ValueError(
            f"--{asking[0]} needs a trained model: use it in a stage after another one, or give a "
            "checkpoint's folder as --start_from."
        )
    return previous or Path(spec.network.start_from)


def rehearse(spec: RunSpec, datasets: Datasets) -> Datasets:
    """The data as the stage will have them, in so many environments as it will infer: all that can be checked
    before there is a reference model."""
    inference, train = build_inference(spec), datasets["train"]
    _check_factor(spec.method.upweight_errors, train)
    if inference is None:
        return datasets
    return replace_environments(datasets, torch.arange(len(train)) % inference.number, inference.number)


def _check_factor(factor: int, train: EnvironmentDataset) -> None:
    if factor < 1:
        raise ValueError(f"upweight_errors must be at least 1, not {factor}.")
    if factor > 1 and train.task != CLASSIFICATION:
        raise ValueError(f"upweight_errors repeats misclassified samples, and a {train.task} has no classes.")


def judge(
    spec: RunSpec, datasets: Datasets, model: PreTrainedModel | None
) -> tuple[Datasets, dict[str, Any]]:
    """The training samples in inferred environments, and those that the reference model misclassifies
    repeated, as asked; and what was found, for the results.

    One process decides for all, so that they agree to the last sample. Raises `ValueError` when the inferred
    environments are fewer than asked for.
    """
    inference, factor, train = build_inference(spec), spec.method.upweight_errors, datasets["train"]
    _check_factor(factor, train)
    if inference is None and factor == 1:
        return datasets, {}
    state, decided = PartialState(), torch.zeros(2, len(train), dtype=torch.long)
    if state.is_main_process:
        decided = _decide(spec, train, inference, model)
    environments, wrong = broadcast(decided.to(state.device)).cpu()
    found: dict[str, Any] = {}
    if factor > 1:
        found |= {"upweighted": {"factor": factor, "errors": int(wrong.sum()), "of": len(train)}}
        datasets = {**datasets, "train": train.with_repeats(1 + (factor - 1) * wrong)}
    if inference is not None:
        known = model is not None and train.task == CLASSIFICATION
        found |= {"inferred": _describe(train, environments, inference, wrong if known else None)}
        datasets = replace_environments(datasets, environments, inference.number)
        counts = datasets["train"].environment_counts()
        if len(counts) < inference.number:
            raise ValueError(
                f"{inference.name} put all {len(train)} training samples into {', '.join(counts)}: the "
                "reference model does not tell them apart. Train the stage before for longer or on more "
                "data, or infer in another way (--infer_environments)."
            )
    return datasets, found


def _decide(
    spec: RunSpec,
    train: EnvironmentDataset,
    inference: EnvironmentInference | None,
    model: PreTrainedModel | None,
) -> Tensor:
    """Environments and errors, int64 [2, N]; zeros for what is not asked or not known."""
    if model is None:
        reference = Reference(torch.zeros(len(train), len(train.label_names)), train.labels)
    else:
        features = inference is not None and inference.needs_features
        batch_size = spec.training.per_device_eval_batch_size
        reference = Reference.of(model.to(PartialState().device), train, features, batch_size)
    none = torch.zeros(len(train), dtype=torch.long)
    environments = none if inference is None else inference.infer(reference, spec.training.seed)
    judges = model is not None and train.task == CLASSIFICATION
    return torch.stack([environments, reference.wrong.long() if judges else none])


def _describe(
    train: EnvironmentDataset, environments: Tensor, inference: EnvironmentInference, wrong: Tensor | None
) -> dict[str, Any]:
    """Of each inferred environment: samples by class and by the environment they are really in, and the
    reference model's accuracy; where there are no classes neither of the two."""
    found: dict[str, Any] = {"method": inference.name}
    for number in range(inference.number):
        rows = environments == number
        entry: dict[str, Any] = {
            "count": int(rows.sum()),
            "environments": _counts(train.environments[rows], train.environment_names),
        }
        if train.task == CLASSIFICATION:
            entry["labels"] = _counts(train.labels[rows], train.label_names)
        if wrong is not None and rows.any():
            entry["reference_accuracy"] = 1 - wrong[rows].double().mean().item()
        found[f"inferred_{number}"] = entry
    return found


def _counts(ids: Tensor, names: list[str]) -> dict[str, int]:
    counts = ids.bincount(minlength=len(names)).tolist()
    return {name: count for name, count in zip(names, counts, strict=True) if count}


def recorded_inference(spec: RunSpec) -> dict[str, dict[str, Any]]:
    """The hyper-parameters of what inferred the environments, by its name."""
    inference = build_inference(spec)
    return {} if inference is None else {inference.name: asdict(inference)}


def recorded_options(spec: RunSpec) -> dict[str, Any]:
    """How the training samples were chosen and weighted, where that is not the usual way."""
    proportions = spec.training.environment_proportions
    asked = {
        "hold_out": spec.data.hold_out or None,
        "train_on": spec.data.train_on if spec.data.train_on != "train" else None,
        "infer_environments": spec.method.infer_environments
        if spec.method.infer_environments != "none"
        else None,
        "upweight_errors": spec.method.upweight_errors if spec.method.upweight_errors > 1 else None,
        "environment_proportions": proportions if proportions != "equal" else None,
    }
    return {name: value for name, value in asked.items() if value is not None}
