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
    with pytest.raises(ValueError, match="3 rows of probabilities, 100 predictions"):
        modules["environment_report"].compute(**inputs, probabilities=log_softmax(logits)[:3])


FOUR = {"predictions": [0, 1, 1, 0], "references": [0, 1, 0, 1]}
AABB = list("aabb")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"environments": [0, 0, 1, 1], "environment_names": ["x", "x"]}, "0 and 1 have one name, 'x'"),
        ({"environments": [-1, 0, 1, 1], "environment_names": ["x", "y"]}, "id -1 has no name: there are 2"),
        ({"environments": [0, 1, 2, 2], "environment_names": ["x", "y"]}, "id 2 has no name"),
        ({"environments": [0.5, 0, 1, 1], "environment_names": ["x", "y"]}, "id 0.5 has no name"),
        ({"environments": AABB, "environment_names": ["x", "y"]}, "leave environment_names out"),
        ({"environments": ["a", None, "b", "b"]}, r"environments\[1\] is None"),
        ({"environments": [0.5, float("nan"), 1, 1]}, r"environments\[1\] is nan"),
        ({"environments": ["1", 1, "b", "b"]}, "make all of them strings"),
        ({"environments": [[0], [0], [1], [1]]}, "a number or a string"),
        ({"environments": ["a", "b", "b"]}, "4 predictions, 4 references, 3 environments"),
        ({"environments": [], "predictions": [], "references": []}, "There is no sample"),
        ({"predictions": [0.4, 1.2, 1, 0]}, r"predictions\[0\] is 0.4"),
        ({"references": [0, -100, 0, 1]}, r"references\[1\] is -100"),
        ({"references": ["cat", "dog", "cat", "dog"]}, "number class names"),
        ({"probabilities": [[3.0, 2.0], [1.0, 2.0], [1.0, 2.0], [0.5, 0.1]]}, "softmax of logits"),
        ({"probabilities": [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.9, 0.9]]}, r"probabilities\[3\]"),
        ({"probabilities": [[float("nan"), 1.0]] + [[0.5, 0.5]] * 3}, r"probabilities\[0\] = \[nan"),
        ({"probabilities": [[1.0]] * 4}, "references.* is 1, but there are 1 classes"),
        ({"probabilities": [0.5] * 4}, "samples, classes"),
        ({"probabilities": [[1.0], [0.5, 0.5], [1.0], [1.0]]}, "rows of one length"),
    ],
)
def test_what_would_be_merged_or_lost_is_refused(modules, changed, message) -> None:
    for name in MODULES if not {"environment_names", "probabilities"} & set(changed) else MODULES[:1]:
        with pytest.raises(ValueError, match=message):
            modules[name].compute(**{**FOUR, "environments": AABB, **changed})
        assert modules[name].compute(**FOUR, environments=AABB), "as good as new"


@pytest.mark.parametrize(
    ("environments", "names"),
    [
        ([0.2, 0.7, 1.2, 1.9], ["0.2", "0.7", "1.2", "1.9"]),
        (["1", "01", "1.0", " 1"], [" 1", "01", "1", "1.0"]),
        ([3, 2**60, 2**60 + 1, -1], ["-1", "3", "1152921504606846976", "1152921504606846977"]),
    ],
)
def test_no_two_environments_become_one(modules, environments, names) -> None:
    found = modules["environment_report"].compute(**FOUR, environments=environments)
    assert list(found["environments"]) == names and found["count"] == 4
    worst = modules["worst_environment_accuracy"].compute(**FOUR, environments=environments)
    assert worst["worst_environment"] in environments


def test_logits_are_told_from_probabilities(modules) -> None:
    logits = np.array([[3.0, -2.0], [-1.0, 2.0], [1.0, 2.0], [0.5, 0.1]])
    probabilities = np.exp(log_softmax(logits))
    given = {**FOUR, "environments": AABB}
    expected = modules["environment_report"].compute(**given, probabilities=probabilities)
    for others in (logits, np.log(probabilities)):
        with pytest.warns(UserWarning, match="their softmax is taken"):
            found = modules["environment_report"].compute(**given, probabilities=others)
        assert found["mean"] == pytest.approx(expected["mean"])


def test_batches_of_other_kinds_stay_apart(modules) -> None:
    report = modules["environment_report"]
    report.add_batch(**FOUR, environments=[0, 0, 1, 1])
    report.add(prediction=0, reference=0, environments=0.5)
    assert list(report.compute()["environments"]) == ["0", "0.5", "1"]


def test_both_modules_read_their_inputs_alike() -> None:
    one, other = ((FOLDER / name / "environment_inputs.py").read_text() for name in MODULES)
    assert one == other


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
