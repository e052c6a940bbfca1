"""The card of a run, written from its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

TEMPLATE = Path(__file__).parent / "templates" / "model_card.md"


def build_model_card(results: dict[str, Any]) -> ModelCard:
    """A card with YAML metadata (`model-index`: one result per environment, mean, worst) and readable
    text."""
    name = f"{results['hyperparameters']['model']['name']}-{results['config']}-{results['method']}".replace(
        "+", "-"
    )
    data = ModelCardData(
        model_name=name,
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["hf_ood", "out-of-distribution", "domain-generalization", *results["method"].split("+")],
        eval_results=_eval_results(results),
    )
    return ModelCard.from_template(data, template_path=str(TEMPLATE), name=name, **results)


def _eval_results(results: dict[str, Any]) -> list[EvalResult]:
    values = {
        f"accuracy on {name}": (entry["split"], entry["accuracy"])
        for name, entry in results["environments"].items()
    }
    values["mean accuracy over test environments"] = ("test", results["mean_accuracy"])
    values["worst-environment accuracy"] = ("test", results["worst_accuracy"])
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=results["dataset"],
            dataset_name=f"{results['dataset']} ({results['config']})",
            dataset_config=results["config"],
            dataset_split=split,
            metric_type="accuracy",
            metric_name=metric,
            metric_value=round(value, 6),
        )
        for metric, (split, value) in values.items()
    ]


def write_model_card(results: dict[str, Any], folder: Path) -> Path:
    """Write the run's `README.md`."""
    file = folder / "README.md"
    build_model_card(results).save(file)
    return file
