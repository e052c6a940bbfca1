"""The card of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from hf_ood.hub import build_model_card, write_model_card
from hf_ood.trainer.methods import METHODS, build_method


def make_results(method: str) -> dict[str, Any]:
    return {
        "method": method,
        "dataset": "colored_mnist",
        "config": "unseen_colors",
        "seed": 3,
        "selection": "best validation mean accuracy over evaluations",
        "environments": {
            "red_on_black": {"accuracy": 0.98, "loss": 0.05, "count": 2000, "split": "validation"},
            "random_colors": {"accuracy": 0.71234, "loss": 0.9, "count": 10000, "split": "test"},
        },
        "mean_accuracy": 0.71234,
        "worst_accuracy": 0.71234,
        "train_accuracy": 0.99,
        "gap": 0.27766,
        "history": [],
        "hyperparameters": {**build_method(method).hyperparameters(), "model": {"name": "lenet"}},
        "steps": 10,
        "seconds": 1.0,
        "samples_per_second": 100.0,
        "versions": {"torch": "2"},
    }


@pytest.mark.parametrize("method", [*METHODS, "irm+rsc"])
def test_every_method_has_a_card_with_its_results(method: str, tmp_path: Path) -> None:
    write_model_card(make_results(method), tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    values = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert values["accuracy on random_colors"] == 0.71234
    assert values["worst-environment accuracy"] == 0.71234
    assert card.data.pipeline_tag == "image-classification"
    for expected in ("71.23 %", "best validation mean accuracy", "random_colors | test", "seed 3"):
        assert expected in card.text
    for part, values_of_part in build_method(method).hyperparameters().items():
        for name in values_of_part:
            assert f"| {part} | {name} |" in card.text


def test_the_card_has_no_unrendered_template() -> None:
    assert "{{" not in build_model_card(make_results("irm")).content
