"""What `hf-ood evaluate` changes in a finished network: adapted to unlabelled inputs, or calibrated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..data import EnvironmentDataset
from ..data.targets import CLASSIFICATION, REGRESSION
from ..evaluation import environment_report
from ..evaluation.adaptation import LABEL, adapt_batch_norm, adapt_tent, predict_t3a
from ..evaluation.calibration import fit_temperature
from ..evaluation.metrics import EnvironmentReport, headline, over
from ..files import all_or_nothing
from ..manifest import MANIFEST_FILE, write_manifest
from ..models import batch_norms, measure_batch_norms, with_temperature
from ..models.run_over_dataset import batches_of, run_over
from ..options import option
from ..trainer.saved_size import size_of_state
from .data import load_splits
from .folder import recorded_spec
from .stage_data import training_datasets

Batches = Iterable[Mapping[str, Tensor]]
CALIBRATED = "calibrated_model"  # the folder beside the results


@dataclass
class AfterTraining:
    """How the network is changed before it is measured."""

    adapt: Literal["batch_norm", "t3a", "tent"] | None = option(
        None,
        f"Adapt the network to the inputs of each environment apart ({LABEL}, which every table then says). "
        "batch_norm: its statistics, as sums over all samples; t3a: class centroids in place of the last "
        "layer; tent: normalisations trained to be sure, watched on --run's validation samples.",
    )
    t3a_supports: int = option(
        100, "Samples of each class that make its centroid, the surest first (paper: 1 to 100); 0: all."
    )
    tent_learning_rate: float = option(1e-3, "Of one pass of Adam (paper: 1e-3 on CIFAR).")
    tent_max_fall: float = option(
        0.01,
        "By how much the adapted network may be less accurate on --run's validation samples; where it falls "
        "further, that is said, and the network as it was is measured.",
    )
    calibrate: bool = option(
        False,
        "Divide the logits by the temperature that fits --run's validation samples best (Guo et al. 2017). "
        f"The folder {CALIBRATED} beside the results has the network with the temperature in its last layer.",
    )


def check_after_training(asked: AfterTraining, has_run: bool, task: str) -> None:
    """Raise `ValueError` for what does not go together, or not with the task."""
    if asked.adapt is not None and asked.calibrate:
        raise ValueError("--calibrate is of the network as it is, and --adapt changes it: leave one out.")
    for flag in [f"--adapt {asked.adapt}"] * (asked.adapt == "tent") + ["--calibrate true"] * asked.calibrate:
        if not has_run:
            raise ValueError(f"{flag} needs validation samples: name the folder of a finished run as --run.")
    if asked.adapt in ("t3a", "tent") and task != CLASSIFICATION:
        raise ValueError(f"--adapt {asked.adapt} is for one class a sample: leave it out.")
    if asked.calibrate and task == REGRESSION:
        raise ValueError("--calibrate is about probabilities, which a regression has none of: leave it out.")
    if asked.t3a_supports < 0 or not asked.tent_learning_rate > 0 or not 0 <= asked.tent_max_fall <= 1:
        raise ValueError(
            "--t3a_supports is at least 0, --tent_learning_rate above 0, --tent_max_fall between 0 and 1."
        )


def needs_validation(asked: AfterTraining) -> bool:
    return asked.calibrate or asked.adapt == "tent"


def change(
    asked: AfterTraining,
    model: PreTrainedModel,
    logits: np.ndarray,
    report: EnvironmentReport,
    measured_on: tuple[np.ndarray, np.ndarray, Sequence[str], Sequence[str]],
    batches_at: Callable[[np.ndarray], Batches],
    watched: EnvironmentDataset | None,
    batch_size: int,
) -> tuple[PreTrainedModel, np.ndarray, EnvironmentReport, dict[str, Any]]:
    """The network as it is measured, its logits and their report, and what results say of the change.

    `logits`, `report`: of the network as it is; `measured_on`: references, environments, names of
    environments and of classes; `watched`: the validation samples of the run.
    """
    _, environments, names, _ = measured_on
    if asked.calibrate:
        assert watched is not None
        model, temperature, fitted = calibrated(model, watched, batch_size)
        logits = (logits / temperature).astype(logits.dtype)
        after = environment_report(logits, *measured_on)
        told = {
            "temperature": temperature,
            "fitted_to": "the run's validation samples",
            "validation": fitted,
            "environments": before_and_after(report, after),
        }
        return model, logits, after, {"calibration": told}
    logits, told = adapted_logits(asked, model, batches_at, environments, names, logits, watched, batch_size)
    without = {**told_of(report), "environments": report}
    return model, logits, environment_report(logits, *measured_on), {"adapted": told, "unadapted": without}


def validation_of(run: Path) -> EnvironmentDataset:
    """A finished run's validation samples. Raises `ValueError` where it had none."""
    spec = recorded_spec(run).last
    found = training_datasets(spec, load_splits(spec))["validation"]
    if not len(found):
        raise ValueError(f"{run} had no validation samples: leave --calibrate and --adapt tent out.")
    return found


def report_on(model: PreTrainedModel, samples: EnvironmentDataset, batch_size: int) -> EnvironmentReport:
    """The measures of each environment of some samples."""
    return environment_report(
        logits_on(model, samples, batch_size),
        samples.labels.numpy(),
        samples.environments.numpy(),
        samples.environment_names,
        samples.label_names,
    )


def logits_on(model: PreTrainedModel, samples: EnvironmentDataset, batch_size: int) -> np.ndarray:
    """Float32 [N, C]."""
    outputs = run_over(model, batches_of(samples, batch_size))
    return np.concatenate([output.logits.float().cpu().numpy() for output, _ in outputs])


def adapted_logits(
    asked: AfterTraining,
    model: PreTrainedModel,
    batches_at: Callable[[np.ndarray], Batches],
    environments: np.ndarray,
    names: Sequence[str],
    unadapted: np.ndarray,
    watched: EnvironmentDataset | None,
    batch_size: int,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Logits [N, C] of the network adapted to each environment by itself, and what is to be said of it.

    `batches_at`: rows -> the network's inputs; they come in random order, as a target's might. `environments`
    int [N]; `unadapted`: the network's own logits [N, C], which stay where TENT fails. `watched`: the
    validation samples on which it must not.
    """
    logits, told, random = unadapted.copy(), dict[str, Any](), np.random.default_rng(0)
    for number in np.unique(environments):
        rows = random.permutation(np.flatnonzero(environments == number))
        if asked.adapt == "t3a":
            logits[rows] = predict_t3a(model, batches_at(rows), asked.t3a_supports)
            continue
        adapted = (
            adapt_batch_norm(model, batches_at(rows))
            if asked.adapt == "batch_norm"
            else adapt_tent(model, batches_at(rows), asked.tent_learning_rate)
        )
        if watched is not None:
            before, after = accuracies_on(watched, model, adapted, batch_size)
            failed = after < before - asked.tent_max_fall
            told[names[number]] = {"before": before, "after": after, "kept": not failed}
            if failed:
                continue
        outputs = run_over(adapted, batches_at(rows))
        logits[rows] = np.concatenate([output.logits.float().cpu().numpy() for output, _ in outputs])
    return logits, {"by": asked.adapt, "note": LABEL, **({"watched": told} if told else {})}


def accuracies_on(
    watched: EnvironmentDataset, model: PreTrainedModel, adapted: PreTrainedModel, batch_size: int
) -> tuple[float, float]:
    """Mean accuracies over the environments of the validation samples: of the network, and of the adapted one
    with statistics of batch normalisation from these samples, as it has them from the target's. Changes the
    adapted one's statistics only while it is measured."""
    kept = {name: value.clone() for name, value in adapted.named_buffers()}
    before = over(report_on(model, watched, batch_size), "accuracy")["mean"]
    if batch_norms(adapted):
        measure_batch_norms(adapted, batches_of(watched, batch_size))
    after = over(report_on(adapted, watched, batch_size), "accuracy")["mean"]
    with torch.no_grad():
        for name, value in adapted.named_buffers():
            value.copy_(kept[name])
    assert before is not None and after is not None
    return before, after


def calibrated(
    model: PreTrainedModel, samples: EnvironmentDataset, batch_size: int
) -> tuple[PreTrainedModel, float, dict[str, Any]]:
    """The network with the temperature that fits the samples best in its last layer, that temperature, and
    loss and calibration error of each environment of the samples before and after."""
    logits = logits_on(model, samples, batch_size)
    temperature = fit_temperature(logits, samples.labels.numpy())
    first = next(iter(batches_of(samples, min(batch_size, 8))))
    found = with_temperature(model, temperature, first)
    reports = [report_on(network, samples, batch_size) for network in (model, found)]
    return found, temperature, before_and_after(*reports)


def before_and_after(before: EnvironmentReport, after: EnvironmentReport) -> dict[str, Any]:
    """Of each environment, what a temperature changes."""
    return {
        name: {
            when: {key: report[name][key] for key in ("loss", "ece") if key in report[name]}
            for when, report in (("before", before), ("after", after))
        }
        for name in before
    }


def save_calibrated(model: PreTrainedModel, processor: Any, folder: Path, temperature: float) -> Path:
    """The network and its processor as `from_pretrained` reads them, in a folder of its own."""
    place = folder / CALIBRATED
    place.mkdir(parents=True, exist_ok=True)
    with all_or_nothing(place, last=MANIFEST_FILE, needed=size_of_state(model, None)) as staged:
        model.save_pretrained(staged)
        processor.save_pretrained(staged)
        write_manifest(staged, {"temperature": temperature})
    return place


def told_of(report: EnvironmentReport) -> dict[str, Any]:
    """Mean and worst of the measure that stands for a report."""
    return {f"{of}_{headline(report)}": value for of, value in over(report, headline(report)).items()}
