"""A stage that trains again on everything, for as many steps as validation chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from small_source import save_small_source

from hf_ood.cli.train import main
from hf_ood.errors import UsageError
from hf_ood.evaluation import load_results
from hf_ood.runs.after_training import validation_of

SETTINGS: dict[str, Any] = {
    "dataset_config": "unseen_colors",
    "model": "lenet",
    "per_device_train_batch_size": 40,
    "max_steps": 6,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "load_best_model_at_end": True,
    "learning_rate": 0.1,  # so that the best step is not the last
    "lr_scheduler_type": "constant",
    "num_threads": 1,
    "use_cpu": True,
    "disable_tqdm": True,
    "report_to": "none",
    "quiet": True,
}
AGAIN = {"name": "again", "start_from": "scratch", "train_on": "everything", "steps_of": "choose"}


def write(folder: Path, *stages: dict[str, Any], **changes: Any) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump({**SETTINGS, **changes, "stages": list(stages)}))
    return str(file)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_small_source(tmp_path_factory.mktemp("source"))


@pytest.mark.slow
@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_it_is_the_training_on_all_samples_for_the_chosen_steps(
    in_memory: str, source: str, tmp_path: Path
) -> None:
    shared = {"colored_mnist": {"source": source}, "in_memory": in_memory}
    recipe = write(tmp_path, {"name": "choose"}, AGAIN, **shared)
    results = main(["--config", recipe, "--output_dir", str(tmp_path / "run")])
    first, again = (load_results(tmp_path / "run" / name) for name in ("1-choose", "2-again"))

    best = max(
        (row for row in first["history"] if "validation_mean_accuracy" in row),
        key=lambda row: row["validation_mean_accuracy"],
    )
    assert first["chosen_step"] == best["step"] < 6
    assert again["steps"] == again["chosen_step"] == best["step"]
    sizes = [r["hyperparameters"]["training"]["training_images"] for r in (first, again)]
    validation = sum(e["count"] for e in first["environments"].values() if e["split"] == "validation")
    assert sizes[1] == sizes[0] + validation > sizes[0]
    assert {entry["split"] for entry in results["environments"].values()} == {"test"}
    assert again["selection"] == "last step"

    with pytest.raises(ValueError, match="had no validation samples: leave --calibrate"):
        validation_of(tmp_path / "run")

    alone = write(tmp_path / "alone", {"name": "only", "train_on": "everything"}, **shared)
    steps = ["--max_steps", str(best["step"]), "--load_best_model_at_end", "false", "--eval_strategy", "no"]
    main(["--config", alone, "--output_dir", str(tmp_path / "alone" / "run"), *steps])
    for name, weight in weights(tmp_path / "run").items():
        assert torch.equal(weights(tmp_path / "alone" / "run")[name], weight), name


def test_a_stage_starts_from_the_one_it_names(source: str, tmp_path: Path) -> None:
    stages = [{"name": "warm"}, {"name": "long"}, {"name": "again", "start_from": "warm", "max_steps": 1}]
    still = {"learning_rate": 0.0, "max_steps": 1, "eval_steps": 1, "save_steps": 1}
    stages[1]["learning_rate"] = 0.1
    recipe = write(tmp_path, *stages, **{**still, "colored_mnist": {"source": source}})
    main(["--config", recipe, "--output_dir", str(tmp_path / "run")])
    warm, long, again = (weights(tmp_path / "run" / name) for name in ("1-warm", "2-long", "3-again"))
    assert any(not torch.equal(long[name], weight) for name, weight in warm.items())
    for name, weight in warm.items():
        assert torch.equal(again[name], weight), name


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([{**AGAIN, "steps_of": "chose"}], "earlier stage in steps_of"),
        ([{**AGAIN, "max_steps": 3}], "takes the steps of choose: leave max_steps out of it"),
        ([{**AGAIN, "start_from": "chose"}], "start_from: chose holds no checkpoint"),
        (
            [{"name": "fit", "fit_last_layer": "l1_logistic"}, {**AGAIN, "steps_of": "fit"}],
            "fit fits its last layer, which takes no steps to go by",
        ),
    ],
)
def test_mistakes_are_named_before_anything_trains(
    stages: list[dict[str, Any]], said: str, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write(tmp_path, {"name": "choose"}, *stages, colored_mnist={"source": source})
    with pytest.raises((UsageError, ValueError, SystemExit)) as found:
        main(["--config", recipe, "--output_dir", str(tmp_path / "run")])
    assert said in str(found.value.__cause__ or found.value) + capsys.readouterr().err
    assert not (tmp_path / "run" / "1-choose" / "model.safetensors").exists()


def test_steps_of_needs_stages(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--colored_mnist.source", source, "--steps_of", "choose", "--output_dir", str(tmp_path / "run")]
    with pytest.raises(UsageError):
        main([*asked, "--max_steps", "1", "--use_cpu", "true"])
    assert "names an earlier stage of a recipe, and this run has no stages" in capsys.readouterr().err
