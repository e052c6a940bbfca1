"""The card of a run, written from its results."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..data.built_in import BUILT_IN
from ..data.splits import IN_DOMAIN
from ..data.tables import table_format
from ..data.targets import CLASSIFICATION
from ..discovery import INFERENCES
from ..evaluation.results import told
from ..methods.last_layer import LAST_LAYERS
from ..methods.losses import LOSSES
from ..methods.losses.by_name import NAME
from ..methods.registry import METHODS
from ..models import MODELS
from ..names import markdown, markdown_block, markdown_code
from ..reporting.many_environments import summary_note, summary_rows
from ..reporting.tables import EVALUATED, soup_rows
from .card_measures import card_kind, cells, headings, intervals, limits
from .card_measures import told as measure_told

TEMPLATE = Path(__file__).parent / "templates" / "model_card.md"
DESCRIBED: dict[str, Any] = {**METHODS, **INFERENCES, **LAST_LAYERS}
CARD_MEASURES = {**EVALUATED, CLASSIFICATION: ("accuracy", "macro_f1", "loss", "ece")}
# what a run reads, if not images
KINDS = {"text_column": "text", "feature_columns": "tabular", "audio_column": "audio"}
Results = Mapping[str, Any]


def build_model_card(results: Results, others: Sequence[Results] = ()) -> ModelCard:
    """A card with YAML metadata (`model-index`: one result per environment, mean, worst) and readable text.

    Many environments are summarised in both, by `summary_rows`.
    `others`: results of the same run with other seeds; the text then shows mean and 95 % interval.
    The loading code is for the run's folder. Raises `ValueError` when another run differs in more than its
    seed.
    """
    results, others = told(results), [told(other) for other in others]
    for other in others:
        for key, value in _what_is_run(results).items():
            if (found := _what_is_run(other)[key]) != value:
                raise ValueError(f"The runs are not seeds of one: {key} is {value} and {found}.")
    seeds = [run["seed"] for run in (results, *others)]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"A seed is there twice: {seeds}.")
    described = results["hyperparameters"]["model"]
    network = described["name"]
    inputs = next(
        (kind for flag, kind in KINDS.items() if flag in results["hyperparameters"].get("data", {})), "image"
    )
    task = f"{inputs}-classification"
    kind = "-soup" if "soup" in results else ""
    name = f"{network}-{results['config']}-{results['method']}{kind}".replace("+", "-").replace(", ", "-")
    data = ModelCardData(
        model_name=name,
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag=task,
        tags=[
            "hf_ood",
            "out-of-distribution",
            "domain-generalization",
            *re.split(r"\+|, ", results["method"]),
        ],
        datasets=hub_datasets(results["dataset"]),
        metrics=card_kind(results).metrics,
        eval_results=_eval_results(results, task),
    )
    methods = [DESCRIBED[part] for part in results["hyperparameters"] if part in DESCRIBED]
    loss = LOSSES.get(results["hyperparameters"].get("loss", {}).get(NAME))
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        **{
            **results,
            "cell": markdown,
            "code": markdown_code,
            "block": markdown_block,
            "name": name,
            "task": task,
            "remote_code": (network in MODELS and "source" not in described)
            or bool({"input_stem", "pooling"} & {*described}),
            "data": f"{dataset_name(results['dataset'])}/{results['config']}",
            "methods": methods,
            "loss": loss,
            "cited": [part.citation for part in [*methods, *([loss] if loss else [])] if part.citation],
            "summary_of": _summary,
            "seeds": seeds,
            "kind": card_kind(results),
            "headings": headings(results),
            "cells": partial(cells, results),
            "told": partial(measure_told, results),
            "intervals": intervals([results, *others]) if others else {},
            "rows": summary_rows(results["environments"], CARD_MEASURES[card_kind(results).task]),
            "summary_note": summary_note(results["environments"]),
            "averaged": soup_rows(results["soup"]) if "soup" in results else [],
            **limits(results),
        },
    )


def write_model_card(results: Results, folder: Path) -> Path:
    """Write the run's `README.md`."""
    file = folder / "README.md"
    build_model_card(results).save(file)
    return file


def _what_is_run(results: Results) -> dict[str, Any]:
    """All that determines a run but its seeds."""
    parts = {
        part: {name: value for name, value in values.items() if name != "seed"}
        for part, values in results["hyperparameters"].items()
    }
    return {**{key: results[key] for key in ("method", "dataset", "config")}, **parts}


def dataset_name(dataset: str) -> str:
    """A local folder or files by their last name, anything else as it is."""
    return Path(dataset).name if is_local(dataset) else dataset


def is_local(dataset: str) -> bool:
    return Path(dataset).is_dir() or table_format(dataset) is not None


def hub_datasets(dataset: str) -> list[str] | None:
    """The Hub data sets behind a run's: what a built-in one is made of; local data have none."""
    if dataset in BUILT_IN:
        return list(BUILT_IN[dataset].made_of) or None
    if re.fullmatch(r"[\w.-]+/[\w.-]+", dataset) and not is_local(dataset):
        return [dataset]
    return None


def _summary(method: type) -> str:
    """The first paragraph of a method's docstring, on one line."""
    return " ".join((inspect.getdoc(method) or "").split("\n\n")[0].split())


def _eval_results(results: Results, task: str) -> list[EvalResult]:
    kind = card_kind(results)
    values = {
        f"{kind.phrase} on {name}": (entry["split"], entry.get(kind.measure))
        for name, entry in summary_rows(results["environments"], CARD_MEASURES[kind.task]).items()
        if "count" in entry  # an environment, no quantile
    }
    values[f"mean {kind.phrase} over test environments"] = ("test", results[f"mean_{kind.measure}"])
    values[f"worst-environment {kind.phrase}"] = ("test", results[f"worst_{kind.measure}"])
    dataset = dataset_name(results["dataset"])
    return [
        EvalResult(
            task_type=task,
            dataset_type=dataset,
            dataset_name=f"{dataset} ({results['config']})",
            dataset_config=results["config"],
            dataset_split="test" if split == IN_DOMAIN else split,
            metric_type=kind.metrics[0],
            metric_name=metric,
            metric_value=round(value, 6),
        )
        for metric, (split, value) in values.items()
        if value is not None and math.isfinite(value)
    ]
