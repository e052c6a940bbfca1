"""The `evaluate` modules: loaded from their folders, without this package, and equal to it."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest

from hf_ood.evaluation import environment_report, summarize_environments, worst_accuracy
from hf_ood.evaluation import modules as package
from hf_ood.evaluation.metrics import log_softmax

FOLDER = Path(package.__path__[0])
MODULES = ("environment_report", "worst_environment_accuracy")
NAMES = ["summer", "autumn", "winter"]


@pytest.fixture(scope="module")
def modules() -> dict[str, evaluate.EvaluationModule]:
    return {name: evaluate.load(str(FOLDER / name)) for name in MODULES}


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(100, 3))


@pytest.fixture(scope="module")
def inputs(logits: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {
        "predictions": logits.argmax(1),
        "references": rng.integers(0, 3, 100),
        "environments": rng.choice([0, 2], 100),  # autumn is absent
    }


@pytest.fixture(scope="module")
def expected(logits: np.ndarray, inputs: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    report = environment_report(logits, inputs["references"], inputs["environments"], NAMES)
    for entry in report.values():
        for name in ("predicted_share", "worst_group_label", "auroc"):  # for results.json alone
            del entry[name]
    return report


def test_report_equals_the_library(modules, logits, inputs, expected) -> None:
    found = modules["environment_report"].compute(
        **inputs, probabilities=np.exp(log_softmax(logits)), environment_names=NAMES
    )
    assert list(found["environments"]) == ["summer", "winter"]
    for name, entry in found.pop("environments").items():
        assert entry == pytest.approx(expected[name])
    summary = summarize_environments(expected)
    assert found["small_environments"] == summary["small_environments"]
    for part in ("mean", "worst", "gap"):
        assert found[part] == pytest.approx(summary[part])


def test_batches_with_probabilities_add_up(logits, inputs, expected) -> None:
    report = evaluate.load(str(FOLDER / "environment_report"), "probabilities")
    probabilities = np.exp(log_softmax(logits))
    for rows in (slice(0, 33), slice(33, 100)):
        batch = {name: column[rows] for name, column in inputs.items()}
        report.add_batch(**batch, probabilities=probabilities[rows])
    found = report.compute(environment_names=NAMES)
    assert found["environments"]["winter"] == pytest.approx(expected["winter"])


def test_without_probabilities_there_is_no_loss(modules, inputs) -> None:
    found = modules["environment_report"].compute(**inputs, min_count=60)
    assert set(found["environments"]["0"]) == {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "worst_group",
        "count",
    }
    assert found["small_environments"] == [
        str(key) for key in (0, 2) if (inputs["environments"] == key).sum() < 60
    ]


def test_worst_equals_the_library_for_ids_and_names(modules, inputs, expected) -> None:
    found = modules["worst_environment_accuracy"].compute(**inputs)
    assert found["worst_environment_accuracy"] == pytest.approx(worst_accuracy(expected))
    named = inputs | {"environments": [NAMES[key] for key in inputs["environments"]]}
    by_name = modules["worst_environment_accuracy"].compute(**named)
    assert by_name["worst_environment_accuracy"] == found["worst_environment_accuracy"]
    assert by_name["worst_environment"] == NAMES[found["worst_environment"]]


def test_they_combine(modules, logits, inputs, expected) -> None:
    found = evaluate.combine(list(modules.values())).compute(
        **inputs, probabilities=np.exp(log_softmax(logits))
    )
    assert found["worst"]["accuracy"] == found["worst_environment_accuracy"] == worst_accuracy(expected)


def test_wrong_inputs_are_named(modules, logits, inputs) -> None:
    labels = {key: inputs[key] for key in ("predictions", "references")}
    with pytest.raises(ValueError, match="environments"):
        modules["worst_environment_accuracy"].compute(**labels)
    with pytest.raises(ValueError, match="3 rows of probabilities for 100"):
        modules["environment_report"].compute(**inputs, probabilities=log_softmax(logits)[:3])


@pytest.mark.parametrize("name", MODULES)
def test_the_readme_runs_where_this_package_is_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FOLDER / name, tmp_path / name)
    for file in (tmp_path / name).glob("*.py"):  # other contents: imported anew, not from sys.modules
        file.write_text(file.read_text() + f"# {tmp_path}\n")
    monkeypatch.setitem(sys.modules, "hf_ood", None)
    code = (FOLDER / name / "README.md").read_text().split("```python\n")[1].split("```")[0]
    code = code.replace(f'"{name}"', repr(str(tmp_path / name)))
    variables: dict[str, Any] = {}
    exec(re.sub(r"^\w+\.compute", r"found = \g<0>", code, flags=re.M), variables)
    if name == "environment_report":
        assert variables["found"]["worst"]["accuracy"] == 0.5
    else:
        assert variables["found"] == {"worst_environment_accuracy": 0.5, "worst_environment": "winter"}
