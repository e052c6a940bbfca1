"""Finished runs on disk: where they are, what they were tested on, with which settings they trained."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.targets import CLASSIFICATION, MULTI_LABEL, REGRESSION
from ..yaml_files import read_mapping
from .metrics import task_of_report
from .results import RESULTS_FILE, load_results

ARGUMENTS_FILE = "arguments.yaml"
# Of what results record under `data`: what changes the training, not what is tested.
ONLY_TRAINING = (
    "augmentation", "validation", "max_length", "hold_out", "train_on", "infer_environments",
    "upweight_errors", "environment_proportions",
)  # fmt: skip
# Of the arguments that a run notes: what results record in other words, or what changes no result.
RECORDED = (
    "method", "dataset", "dataset_config", "model", "config_name", "from_scratch",
    "text_column", "image_column", "task", "label_column", "environment_column", "test_environments",
    "trainable", "cache_features", "interpolate_with_start", "learning_rate", "optim", "lr_scheduler_type",
    "l2_sp", "layer_decay",
    "per_device_train_batch_size", "gradient_accumulation_steps", "also_test", *ONLY_TRAINING,
    "audio_column", "max_seconds", "feature_columns", "impute",
    "in_memory", "use_cpu", "report_to", "run_name", "logging_steps", "logging_strategy",
    "per_device_eval_batch_size", "dataloader_num_workers", "trust_remote_code",
)  # fmt: skip
KINDS = {CLASSIFICATION: "classes", MULTI_LABEL: "several labels", REGRESSION: "squared error"}
SEEDS = ("seed", "data_seed")


@dataclass(frozen=True)
class FinishedRun:
    """A run's folder with its `results.json`.

    `data`: what it was tested on. `settings`: everything else that determines it but for the seed, flat
    (`irm.penalty_weight`, `learning_rate`); `method` of a run in stages names them all (`erm, then irm`).
    """

    folder: Path
    results: Mapping[str, Any]
    data: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def seed(self) -> int:
        return int(self.results["seed"])


def find_runs(places: Sequence[str | Path]) -> tuple[list[FinishedRun], list[Path]]:
    """The finished runs of some places, and the folders of runs that have not finished.

    A place is a run's folder, a folder with runs in it (at any depth; the stages of a run are none), or a
    pattern such as `runs/*irm*`. A run that is found twice counts once. Raises `ValueError` for a place
    without any run, and for a `results.json` that is damaged or no run's.
    """
    finished: dict[Path, FinishedRun] = {}
    unfinished: list[Path] = []
    for place in places:
        folders = [Path(place)] if Path(place).is_dir() else [Path(p) for p in sorted(glob.glob(str(place)))]
        found = [run for folder in folders for run in _run_folders(folder)]
        if not found:
            raise ValueError(
                f"{place} holds no run of hf-ood train: give a run's folder, a folder with runs in it, or a "
                "pattern in quotes such as 'runs/*irm*'."
            )
        for folder in found:
            if not (folder / RESULTS_FILE).exists():
                unfinished.append(folder)
            elif folder.resolve() not in finished:
                finished[folder.resolve()] = read_finished_run(folder)
    return list(finished.values()), list(dict.fromkeys(unfinished))


def _run_folders(folder: Path) -> Iterator[Path]:
    """This folder if it is a run's, or those of the runs in it, by name."""
    if (folder / RESULTS_FILE).exists() or (folder / ARGUMENTS_FILE).exists():
        yield folder
    elif folder.is_dir():
        for inner in sorted(folder.iterdir()):
            yield from _run_folders(inner)


def read_finished_run(folder: Path) -> FinishedRun:
    """Raises `ValueError` when `results.json` is damaged, or no result of a training."""
    results = load_results(folder)
    missing = [name for name in ("method", "seed", "environments", "hyperparameters") if name not in results]
    if missing:
        raise ValueError(
            f"{folder / RESULTS_FILE} is not the result of a training: it has no {', '.join(missing)}. "
            "hf-ood compare takes what hf-ood train left."
        )
    data = results["hyperparameters"].get("data", {})
    tested = {name: value for name, value in data.items() if name not in (*ONLY_TRAINING, *SEEDS)}
    environments = _tested_environments(results)
    if not environments:
        raise ValueError(f"{folder / RESULTS_FILE} has no test environment, so nothing can be compared.")
    return FinishedRun(
        folder,
        results,
        {
            "dataset": results.get("dataset"),
            "config": results.get("config"),
            **tested,
            "test environments": environments,
        },
        _settings(results, folder / ARGUMENTS_FILE),
    )


def _tested_environments(results: Mapping[str, Any]) -> str:
    """Names, sizes and measures of the test environments."""
    entries = {name: entry for name, entry in results["environments"].items() if entry["split"] == "test"}
    kinds = [KINDS[task_of_report(entries)]]
    rows = [f"{name} ({entry['count']} rows)" for name, entry in entries.items()]
    return ", ".join([*sorted(rows), *kinds]) if rows else ""


def _settings(results: Mapping[str, Any], note: Path) -> dict[str, Any]:
    """From the results, and from the arguments noted beside them what results do not record."""
    stages = [stage["method"] for stage in results.get("stages", [])]
    settings: dict[str, Any] = {"method": ", then ".join(stages) or results["method"]}
    for section, values in results["hyperparameters"].items():
        kept = values if isinstance(values, Mapping) else {section: values}
        prefix = "" if section in ("training", "data") else f"{section}."
        settings |= {f"{prefix}{name}": value for name, value in kept.items()}
    settings = {name: value for name, value in settings.items() if name.rpartition(".")[2] not in SEEDS}
    settings = {name: value for name, value in settings.items() if name not in _tested_settings(results)}
    if not note.exists():
        return settings
    for outcome in ("epochs", "training_images"):  # the note says what was asked
        settings.pop(outcome, None)
    noted, _ = read_mapping(note)
    for stage in noted.pop("stages", []):
        name = stage.pop("name")
        settings |= {f"{name}.{key}": value for key, value in stage.items() if key not in SEEDS}
    for name, value in noted.items():
        if name not in (*SEEDS, *RECORDED) and not isinstance(value, dict):  # results have the sections
            settings[name] = value
    return settings


def _tested_settings(results: Mapping[str, Any]) -> set[str]:
    """What says which data are tested, and so is the same in all runs that are compared."""
    return set(results["hyperparameters"].get("data", {})) - set(ONLY_TRAINING)
