"""Several labels a row and regressions, end to end: from a table to card, evaluation, predictions,
comparison."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from huggingface_hub import ModelCard
from sklearn.metrics import r2_score
from tiny_models import save_text_model
from transformers import AutoModelForSequenceClassification

from hf_ood import RunSpec
from hf_ood.cli.compare import main as compare
from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.explain import main as explain
from hf_ood.cli.predict import main as predict
from hf_ood.cli.train import main as train
from hf_ood.errors import UsageError
from hf_ood.experiments.sweep.held_out import environments_of

LABELS = ["edema", "fracture", "nodule"]
READ = "--text_column text --environment_column hospital"
DATA = f"--dataset reports.csv {READ} --test_environments C --model reader --per_device_train_batch_size 12"
SMALL = "--use_cpu true --num_threads 1 --disable_tqdm true --num_train_epochs 2 --learning_rate 1e-2"
FLAGS = {"regression": "--task regression --label_column age"}
FLAGS["multi_label"] = f"--task multi_label --label_column {' '.join(LABELS)}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of reports, and a run of each task and method on it."""
    folder = tmp_path_factory.mktemp("tasks")
    save_text_model(folder / "reader")
    random = np.random.default_rng(0)
    rows = pandas.DataFrame({"text": random.choice(["good lung", "bad scan", "bad lung ."], 120)})
    rows["age"] = 2.0 * rows["text"].str.startswith("bad") + random.normal(0, 0.1, 120).round(2)
    rows["edema"] = rows["text"].str.contains("bad").astype(int)
    rows["fracture"] = rows["text"].str.contains("lung").astype(int)
    rows["nodule"] = random.integers(0, 2, 120)
    rows["hospital"] = random.choice(list("ABC"), 120)
    rows["found"] = [[name for name in LABELS if row[name]] for _, row in rows.iterrows()]
    rows.drop(columns="found").to_csv(folder / "reports.csv", index=False)
    rows.drop(columns=LABELS).to_json(folder / "lists.jsonl", orient="records", lines=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for task, flags in FLAGS.items():
            for method in ("erm", "irm"):
                train(shlex.split(f"{DATA} {SMALL} {flags} --method {method} --output_dir {task}/{method}"))
    return folder


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def results_of(folder: Path, run: str) -> dict[str, Any]:
    return json.loads((folder / run / "results.json").read_text())


@pytest.mark.parametrize(
    ("task", "chosen", "kind"),
    [
        ("regression", "mean squared error", "regression"),
        ("multi_label", "mean macro f1", "multi_label_classification"),
    ],
)
def test_a_run_says_its_own_measures(task: str, chosen: str, kind: str, folder: Path) -> None:
    results = results_of(folder, f"{task}/irm")
    assert results["selection"] == f"best validation {chosen} over evaluations"
    assert results["hyperparameters"]["data"]["task"] == task
    measures = {
        "regression": {"squared_error", "rmse", "mae", "r2"},
        "multi_label": {"label_accuracy", "exact_match", "macro_f1", "auroc", "loss", "predicted_share"},
    }[task]
    assert all(set(entry) == {*measures, "count", "split"} for entry in results["environments"].values())
    assert not {"mean_accuracy", "worst_accuracy", "train_accuracy", "gap"} & set(results)
    config = AutoModelForSequenceClassification.from_pretrained(folder / task / "irm").config
    assert config.problem_type == kind
    assert list(config.id2label.values()) == (["age"] if task == "regression" else LABELS)
    assert (folder / task / "irm" / "curves.png").exists()


@pytest.mark.parametrize(("task", "metric"), [("regression", "rmse"), ("multi_label", "f1")])
def test_a_card_says_them(task: str, metric: str, folder: Path) -> None:
    results, card = results_of(folder, f"{task}/irm"), ModelCard.load(folder / task / "irm" / "README.md")
    assert card.data.metrics[0] == metric
    entry = results["environments"]["C"]
    own = next(result for result in card.data.eval_results if result.metric_name.endswith(" on C"))
    measure = "rmse" if task == "regression" else "macro_f1"
    assert own.metric_type == metric and own.metric_value == round(entry[measure], 6)
    row = next(line for line in card.text.splitlines() if line.startswith("| C |"))
    forms = {
        "regression": {"rmse": ".4g", "mae": ".4g", "r2": ".3f"},
        "multi_label": {"macro_f1": ".2%", "auroc": ".3f", "label_accuracy": ".2%", "exact_match": ".2%"},
    }[task]
    shown = [format(entry[name], form) for name, form in forms.items()]
    assert [cell.strip() for cell in row.split("|")[3:-2]] == shown
    assert "cross-entropy in nats" not in card.text and "Training accuracy" not in card.text


@pytest.mark.parametrize("task", FLAGS)
def test_an_evaluation_has_the_runs_figures(
    task: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = results_of(folder, f"{task}/irm")
    measure = "rmse" if task == "regression" else "macro_f1"
    found = evaluate(shlex.split(f"--run {task}/irm --output_dir evaluated/{task}-run"))
    assert found[f"mean_{measure}"] == pytest.approx(trained[f"mean_{measure}"], rel=1e-5)
    given = evaluate(
        shlex.split(
            f"--model {task}/irm --dataset reports.csv {READ} {FLAGS[task]} --output_dir evaluated/{task}"
        )
    )
    for name, entry in found["environments"].items():
        assert given["environments"][name][measure] == entry[measure]
    assert {"regression": "RMSE", "multi_label": "macro-F1"}[task] in capsys.readouterr().out
    other = "multi_label" if task == "regression" else "regression"
    with pytest.raises(UsageError) as raised:
        evaluate(
            shlex.split(f"--model {task}/irm --dataset reports.csv {READ} --task {other} --label_column age")
        )
    assert f"the model is one of {task}" in raised.value.message


def test_lists_of_names_are_evaluated_by_the_models_names(folder: Path) -> None:
    command = (
        f"--model multi_label/irm --dataset lists.jsonl {READ} --label_column found --output_dir evaluated/l"
    )
    found = evaluate(shlex.split(command))
    assert found["label_mapping"] == "by name"
    trained = results_of(folder, "multi_label/irm")["environments"]["C"]
    assert found["environments"]["C"]["macro_f1"] == pytest.approx(trained["macro_f1"])


def test_values_are_predicted(folder: Path) -> None:
    predict(shlex.split("--model regression/irm reports.csv --output values.csv"))
    table = pandas.read_csv(folder / "values.csv")
    on_c = table[table["hospital"] == "C"]
    expected = results_of(folder, "regression/irm")["environments"]["C"]["r2"]
    assert r2_score(on_c["age"], on_c["prediction"]) == pytest.approx(expected, rel=1e-4)


def test_labels_are_predicted_as_lists(folder: Path) -> None:
    for suffix in ("csv", "parquet"):
        predict(shlex.split(f"--model multi_label/irm reports.csv --output labels.{suffix}"))
    table, whole = pandas.read_csv(folder / "labels.csv"), pandas.read_parquet(folder / "labels.parquet")
    probabilities = table[[f"probability_{name}" for name in LABELS]].to_numpy()
    expected = [[name for name, p in zip(LABELS, row, strict=True) if p > 0.5] for row in probabilities]
    assert [json.loads(cell) for cell in table["prediction"]] == expected
    assert [list(cell) for cell in whole["prediction"]] == expected
    right = (probabilities > 0.5) == table[LABELS].to_numpy()
    on_c = results_of(folder, "multi_label/irm")["environments"]["C"]
    assert right[table["hospital"] == "C"].mean() == pytest.approx(on_c["label_accuracy"])


@pytest.mark.parametrize(
    ("task", "unit"), [("regression", "rmse in held"), ("multi_label", "macro f1 (%) in held")]
)
def test_runs_are_compared_by_them(task: str, unit: str, capsys: pytest.CaptureFixture[str]) -> None:
    compare([task])
    assert unit in capsys.readouterr().out


def test_other_tasks_are_not_compared() -> None:
    with pytest.raises(UsageError):
        compare(["regression", "multi_label"])


def test_a_list_column_trains_as_columns_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = f"{DATA.replace('reports.csv', 'lists.jsonl')} {SMALL} --task multi_label --label_column found"
    results = train(shlex.split(f"{flags} --method irm --output_dir lists"))
    assert results["environments"] == results_of(folder, "multi_label/irm")["environments"]
    counts = [int(pandas.read_csv(folder / "reports.csv")[name].sum()) for name in LABELS]
    told = ", ".join(f"{name} {count}" for name, count in zip(LABELS, counts, strict=True))
    assert f"120 rows; labels {told}; environments A" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (f"{FLAGS['regression']} --method rsc", "and a regression has none: use another method"),
        (f"{FLAGS['multi_label']} --method cdann", "and a multi-label classification has none"),
        (f"{FLAGS['multi_label']} --environment_proportions groups", "'groups' balances the classes"),
        (f"{FLAGS['multi_label']} --class_weights balanced", "cross_entropy is not the loss of these data"),
        (f"{FLAGS['regression']} --class_weights balanced", "are about classes"),
        ("--task regression --label_column text", "which is no number"),
        ("--task multi_label --label_column edema age", "), which is neither 0 nor 1"),
        (f"--label_column {' '.join(LABELS)}", "predict all of them (task multi_label)"),
        ("--label_column age --task regresion", "invalid choice"),
        ("--dataset colored_mnist --task regression", "colored_mnist has its own labels: leave --task"),
    ],
)
def test_mistakes_are_named_before_training(flags: str, message: str, folder: Path) -> None:
    with pytest.raises(UsageError) as raised:
        train(shlex.split(f"{DATA} {SMALL} {flags} --output_dir refused"))
    assert message in raised.value.message and not (folder / "refused").exists()


def test_what_goes_by_classes_refuses_the_runs(folder: Path) -> None:
    (folder / "sweep.yaml").write_text(
        "dataset: reports.csv\ntext_column: text\ntask: regression\nlabel_column: age\n"
    )
    with pytest.raises(ValueError, match="A sweep chooses by accuracy, which a regression has not"):
        environments_of(folder / "sweep.yaml")
    with pytest.raises(UsageError):
        explain(["--run", "regression/irm"])


def test_old_recipes_name_one_label_column() -> None:
    assert RunSpec.from_settings({"label_column": "finding"}).data.label_column == ["finding"]
