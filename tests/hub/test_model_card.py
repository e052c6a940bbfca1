"""The card of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from hf_ood import LeNetConfig, LeNetForImageClassification, LeNetImageProcessor
from hf_ood.discovery import INFERENCES
from hf_ood.hub import build_model_card, write_model_card
from hf_ood.methods.last_layer import LAST_LAYERS
from hf_ood.methods.losses import LOSSES
from hf_ood.methods.registry import METHODS, build_method


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
    for part in build_method(method).hyperparameters():
        assert METHODS[part].equation and f"$${METHODS[part].equation}$$" in card.text
        assert METHODS[part].citation in card.text
    for part, values_of_part in build_method(method).hyperparameters().items():
        for name in values_of_part:
            assert f"| {part} | {name} |" in card.text


@pytest.mark.parametrize("name", LOSSES)
def test_the_card_names_the_loss_with_its_equation_and_paper(name: str) -> None:
    results = make_results("irm")
    assert "loss of a sample" not in build_model_card(results).text
    results["hyperparameters"]["loss"] = {"name": name}
    text = build_model_card(results).text
    assert f"**{name}**, the loss of a sample" in text
    assert f"$${LOSSES[name].equation}$$" in text and LOSSES[name].citation in text
    assert METHODS["irm"].citation in text


def test_citations_are_entries_with_balanced_braces() -> None:
    for method in (*METHODS.values(), *INFERENCES.values(), *LAST_LAYERS.values(), *LOSSES.values()):
        for entry in filter(None, method.citation.split("\n@")):
            assert re.match(r"@?\w+\{\w+,\n", entry) and entry.count("{") == entry.count("}")
            assert not re.search(r"""\{["'`^]""", entry), "an accent needs its backslash"


def test_the_card_has_no_unrendered_template() -> None:
    assert "{{" not in build_model_card(make_results("irm")).content.replace("{{\\", "")
    assert "{%" not in build_model_card(make_results("irm")).content


def test_the_loading_code_of_the_card_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LeNetForImageClassification(LeNetConfig(id2label={0: "0-4", 1: "5-9"})).save_pretrained(tmp_path)
    LeNetImageProcessor().save_pretrained(tmp_path)
    write_model_card(make_results("erm"), tmp_path)
    code = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    shown: list[Any] = []
    exec(code, {"print": shown.append})
    assert {answer["label"] for answer in shown[0]} == {"0-4", "5-9"}


def test_code_is_trusted_only_where_the_checkpoint_brings_some() -> None:
    assert "trust_remote_code" in build_model_card(make_results("erm")).text
    foreign = make_results("erm")
    foreign["hyperparameters"]["model"]["name"] = "google/vit-base-patch16-224"
    assert "trust_remote_code" not in build_model_card(foreign).text


def test_several_seeds_give_intervals() -> None:
    first, second = make_results("vrex"), {**make_results("vrex"), "seed": 4}
    for run in (first, second):  # the data may be drawn by the same seed
        run["hyperparameters"]["data"] = {"seed": run["seed"]}
    second["environments"] = {
        name: {**entry, "accuracy": entry["accuracy"] - 0.02} for name, entry in first["environments"].items()
    }
    card = build_model_card(first, [second])
    half_width = 12.7062 * 2 / 2  # t quantile of one degree of freedom times the standard error, 1 point
    assert f"97.00 ± {half_width:.2f} (n = 2)" in card.text
    assert "over seeds 3, 4" in card.text and "One run, one seed" not in card.text
    values = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert values["accuracy on red_on_black"] == 0.98  # of this checkpoint


def test_other_runs_must_be_seeds_of_this_one() -> None:
    results = make_results("erm")
    with pytest.raises(ValueError, match="method is erm and irm"):
        build_model_card(results, [{**make_results("irm"), "seed": 4}])
    with pytest.raises(ValueError, match="seed is there twice"):
        build_model_card(results, [results])


def test_failures_are_named_from_the_numbers() -> None:
    results = make_results("erm")
    assert "not to be relied on there: random_colors." in build_model_card(results).text
    results["environments"]["random_colors"]["accuracy"] = 0.9
    assert "No test environment lies more than 10 points below" in build_model_card(results).text


def test_the_shift_and_a_collapse_are_said() -> None:
    results = make_results("erm")
    assert "On the samples it was trained on the model is right for 99.00 %" in build_model_card(results).text
    test = {**results["environments"]["random_colors"], "collapsed_to": "5-9", "auroc": 0.75}
    within = {"accuracy": 0.95, "loss": 0.1, "count": 50, "split": "in_domain_test", "worst_group": 0.875}
    results["environments"] |= {"random_colors": test, "in_domain_test/red_on_black": within}
    gap = {"in_domain_accuracy": 0.95, "in_domain_split": "in_domain_test", "shift_gap": 0.23766}
    card = build_model_card({**results, **gap})
    assert "**All 10000 samples of random_colors were predicted as 5-9.**" in card.text
    assert "training environments 95.00 %: 23.77 points of it are lost to the shift" in card.text
    assert "On new samples from its training environments the model is right for 95.00 %" in card.text
    rows = [line for line in card.text.splitlines() if line.startswith("| in_domain_test/red_on_black")]
    assert rows == [
        "| in_domain_test/red_on_black | in_domain_test | 95.00 % |  | 87.50 % |  | 0.100 |  | 50 |"
    ]
    assert "| 0.750 |" in card.text
    splits = {result.metric_name: result.dataset_split for result in card.data.eval_results}
    assert splits["accuracy on in_domain_test/red_on_black"] == "test"


def test_what_the_hub_needs_to_know(tmp_path: Path) -> None:
    results = {**make_results("erm"), "command": "python trainers/train.py --method erm"}
    card = build_model_card(results)
    assert card.data.datasets == ["ylecun/mnist"]
    assert "```bash\npython trainers/train.py --method erm\n```" in card.text
    assert build_model_card({**results, "dataset": "user/cells"}).data.datasets == ["user/cells"]
    local = build_model_card({**results, "dataset": str(tmp_path)})
    assert local.data.datasets is None
    assert str(tmp_path.parent) not in local.content and tmp_path.name in local.text
    results["hyperparameters"]["data"] = {"text_column": "text"}
    texts = build_model_card(results).data
    assert (
        {result.task_type for result in texts.eval_results} == {texts.pipeline_tag} == {"text-classification"}
    )
