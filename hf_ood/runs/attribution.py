"""Where the model of a finished run looks, in each test environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import AutoConfig, AutoModelForImageClassification

from ..data import collate
from ..data.align import with_classes_of
from ..data.processors import classifies_sounds
from ..data.targets import CLASSIFICATION
from ..evaluation.prediction import load_unchecked
from ..evaluation.results import RESULTS_FILE
from ..explain import attribute, default_layer, find_layer, summarize
from ..files import all_or_nothing
from ..json_files import json_text
from ..manifest import refuse_damaged_model
from ..models.classes import class_names
from ..reporting.attributions import ATTRIBUTIONS_FILE, draw_attributions
from .cores import cores_per_process
from .data import load_splits
from .folder import ARGUMENTS_FILE, REPORT_FILE, recorded_spec


def explain_run(
    folder: Path, samples: int = 500, layer: str | None = None, threads: int | None = None
) -> dict[str, Any]:
    """What `attribution.json` holds: the layer, and `attribution_report` of the test environments.

    Raises `ValueError` when the folder holds no finished run or `samples` is not positive, and what
    `hf_ood.explain` raises.
    """
    if samples < 1:
        raise ValueError(f"--samples must be at least 1, not {samples}.")
    for file in (ARGUMENTS_FILE, RESULTS_FILE):
        if not (folder / file).is_file():
            raise ValueError(f"{folder} holds no finished run: there is no {file} in it.")
    refuse_damaged_model(folder)
    torch.set_num_threads(threads or cores_per_process())
    spec = recorded_spec(folder)
    if spec.data.text_column:
        raise ValueError(f"Grad-CAM looks at images; the run of {folder} reads texts.")
    if spec.data.task != CLASSIFICATION:
        raise ValueError(
            f"Grad-CAM shows what speaks for a class; the run of {folder} is a {spec.data.task}."
        )
    if classifies_sounds(AutoConfig.from_pretrained(folder)):
        raise ValueError(f"Grad-CAM looks at images; the run of {folder} hears sounds.")
    if spec.data.feature_columns:
        raise ValueError(
            f"Grad-CAM looks at images; the run of {folder} reads features in columns "
            f"({', '.join(spec.data.feature_columns)})."
        )
    model = load_unchecked(AutoModelForImageClassification, str(folder)).to(PartialState().device)
    if layer:
        find_layer(model, layer)  # a mistake shows before the data are loaded
    dataset = with_classes_of(
        load_splits(spec)["test"], class_names(model.config), f"{spec.data.dataset} today", "the model"
    )
    if layer is None:
        few = collate(dataset.__getitems__(range(min(8, len(dataset)))))["pixel_values"]
        layer = default_layer(model, few.to(model.device))
    attributions = attribute(model, dataset, samples, layer=layer)
    report = {"layer": layer, "environments": summarize(dataset, attributions)}
    with all_or_nothing(folder, last=REPORT_FILE) as files:
        (files / REPORT_FILE).write_text(json_text(report, indent=2) + "\n", encoding="utf-8")
        draw_attributions(dataset, attributions).savefig(files / ATTRIBUTIONS_FILE, dpi=150)
    return report
