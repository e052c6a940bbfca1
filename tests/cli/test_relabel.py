"""What the model of the stage before decides: inferred environments, repeated errors, balanced groups."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from small_source import save_small_source

from hf_ood import OODTrainer
from hf_ood.cli.arguments import parse_arguments
from hf_ood.cli.train import main
from hf_ood.data import EnvironmentDataset
from hf_ood.errors import UsageError
from hf_ood.runs.data import load_splits
from hf_ood.runs.network import build_model
from hf_ood.runs.relabel import judge, recorded_options, rehearse
from hf_ood.runs.run import build_network, build_trainer
from hf_ood.runs.spec import RunSpec
from hf_ood.runs.stage_data import part_of, training_datasets

SMALL: dict[str, Any] = {
    "dataset_config": "label_noise_shortcut",
    "model": "mlp",
    "mlp": {"image_size": 14, "stride": 1, "hidden_size": 8},
    "per_device_train_batch_size": 40,
    "use_cpu": True,
    "disable_tqdm": True,
    "report_to": "none",
    "eval_strategy": "no",
    "save_strategy": "no",
    "max_steps": 5,
    "logging_steps": 1,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_small_source(tmp_path_factory.mktemp("source"))


def recipe(folder: Path, source: str, **changes: Any) -> str:
    content = {**SMALL, "colored_mnist": {"stride": 2, "source": source}, **changes}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return str(folder / "recipe.yaml")


def second_stage(folder: Path, source: str, whole: dict[str, Any], **changes: Any) -> RunSpec:
    stages = [{"name": "first"}, {"name": "second", **changes}]
    path = recipe(folder, source, stages=stages, **whole)
    flags = ["--config", path, "--output_dir", str(folder / "run")]
    return parse_arguments(flags).stages["second"]


def data_of(arguments: RunSpec) -> dict[str, EnvironmentDataset]:
    return training_datasets(arguments, load_splits(arguments, arguments.data.dataset_config))


def test_held_out_images_are_those_that_no_other_stage_sees(source: str, tmp_path: Path) -> None:
    whole = {"hold_out": 0.2}
    arguments = second_stage(tmp_path, source, whole, train_on="held_out")
    all_images = load_splits(arguments, arguments.data.dataset_config)["train"]
    parts = [part_of(all_images, part, 0.2, seed=3) for part in ("train", "held_out")]
    assert sum(map(len, parts)) == len(all_images) == 750
    pixels = [{row.numpy().tobytes() for row in part.columns["pixel_values"]} for part in parts]
    assert not pixels[0] & pixels[1]
    held, every = parts[1].group_counts(), all_images.group_counts()
    assert held == {group: round(0.2 * count) for group, count in every.items()}
    assert torch.equal(part_of(all_images, "held_out", 0.2, seed=3).labels, parts[1].labels)
    assert not torch.equal(part_of(all_images, "held_out", 0.2, seed=4).labels, parts[1].labels)
    assert len(data_of(arguments)["train"]) == len(parts[1])
    assert len(data_of(second_stage(tmp_path, source, whole))["train"]) == len(parts[0])
    assert recorded_options(arguments) == {"hold_out": 0.2, "train_on": "held_out"}


@pytest.mark.parametrize(
    ("whole", "second", "message"),
    [
        ({}, {"train_on": "held_out"}, "no images are held out; set --hold_out"),
        ({"hold_out": 0.2}, {"train_on": "heldout"}, "Did you mean 'held_out'?"),
        ({"hold_out": 1.0}, {}, "hold_out must lie in 0..1"),
        ({}, {"hold_out": 0.1}, "Stage 'second' cannot change hold_out"),
        ({}, {"infer_environments": "eil"}, "Did you mean 'eiil'?"),
        ({}, {"infer_environments": "eiil", "eiil": {"step": 3}}, "Did you mean 'eiil.steps'?"),
        ({}, {"infer_environments": "eiil", "eiil": {"steps": -3}}, "eiil.steps must be 0 or more"),
        ({}, {"upweight_errors": 0}, "upweight_errors must be at least 1, not 0"),
        ({"infer_environments": "eiil"}, {}, "--infer_environments eiil needs a trained model"),
        ({"upweight_errors": 5}, {}, "--upweight_errors needs a trained model"),
        ({"environment_proportions": "group"}, {}, "'equal', 'groups', 'classes' or 'natural'"),
        ({"per_device_train_batch_size": 740}, {"environment_proportions": "groups"}, "Group '5-9 in"),
    ],
)
def test_a_mistake_is_found_before_anything_is_trained(
    whole: dict[str, Any],
    second: dict[str, Any],
    message: str,
    source: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = recipe(tmp_path, source, stages=[{"name": "first"}, {"name": "second", **second}], **whole)
    with pytest.raises(UsageError):
        main(["--config", path, "--output_dir", str(tmp_path / "run")])
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("**/*.safetensors"))


def test_an_option_of_an_inference_that_is_not_used_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        parse_arguments(["--eiil.steps", "3"])
    assert "--eiil.steps has no effect" in capsys.readouterr().err


def test_errors_count_as_often_as_asked_and_are_those_of_the_reference_model(
    source: str, tmp_path: Path
) -> None:
    arguments = second_stage(tmp_path, source, {}, upweight_errors=7, max_train_samples=300)
    data = data_of(arguments)
    model = build_model(arguments, data["train"].label_names)
    judged, found = judge(arguments, data, model)
    prediction = OODTrainer(model, arguments.training, eval_dataset=data["train"]).predict(data["train"])
    wrong = torch.from_numpy(prediction.predictions.argmax(1) != prediction.label_ids)
    assert 0 < wrong.sum() < 300
    assert found == {"upweighted": {"factor": 7, "errors": int(wrong.sum()), "of": 300}}
    trainer, _ = build_trainer(arguments, judged, build_network(arguments, judged, None))
    drawn = Counter(trainer._get_train_sampler())
    trained = Counter("wrong" if wrong[row] else "right" for row in drawn.elements())
    # Equal parts of two environments: one of them goes round once, the other a little more or less.
    assert sum(trained.values()) == 300 + 6 * int(wrong.sum())
    assert trained["wrong"] / 7 / int(wrong.sum()) == pytest.approx(1, abs=0.15)
    assert len(judged["train"]) == 300


def test_a_stage_in_groups_trains_on_equal_parts_of_them(source: str, tmp_path: Path) -> None:
    arguments = second_stage(
        tmp_path,
        source,
        {"hold_out": 0.4},
        train_on="held_out",
        infer_environments="eiil",
        eiil={"steps": 0},
        environment_proportions="groups",
    )
    data = data_of(arguments)
    judged, _ = judge(arguments, data, build_model(arguments, data["train"].label_names))
    assert len(set(judged["train"].group_counts().values())) > 1
    trainer, _ = build_trainer(arguments, judged, build_network(arguments, judged, None))
    for batch in trainer.get_train_dataloader():
        pairs = Counter(zip(batch["labels"].tolist(), batch["environment"].tolist(), strict=True))
        assert sorted(pairs.values()) == [10, 10, 10, 10]


@pytest.mark.parametrize("inference", ["eiil", "kmeans", "random"])
def test_inferred_environments_replace_those_of_training_only(
    inference: str, source: str, tmp_path: Path
) -> None:
    options = {"eiil": {"steps": 0}} if inference == "eiil" else {}
    arguments = second_stage(tmp_path, source, {}, method="irm", infer_environments=inference, **options)
    data = data_of(arguments)
    model = None if inference == "random" else build_model(arguments, data["train"].label_names)
    judged, found = judge(arguments, data, model)
    counts = judged["train"].environment_counts()
    assert set(counts) == {"inferred_0", "inferred_1"}
    assert judged["test"].environment_counts() == data["test"].environment_counts()
    inferred = found["inferred"]
    assert inferred.pop("method") == inference
    for name, entry in inferred.items():
        assert entry["count"] == counts[name] == sum(entry["labels"].values())
        assert entry["count"] == sum(entry["environments"].values())
        assert ("reference_accuracy" in entry) == (inference != "random")
    trainer, _ = build_trainer(arguments, judged, build_network(arguments, judged, None))
    trainer.train()
    assert "accuracy_inferred_0" in trainer.state.log_history[-2]
    rehearsed = rehearse(arguments, data)["train"]
    assert rehearsed.environment_names == judged["train"].environment_names


def test_a_model_that_tells_no_samples_apart_is_named(source: str, tmp_path: Path) -> None:
    arguments = second_stage(tmp_path, source, {}, infer_environments="eiil", eiil={"steps": 0})
    data = data_of(arguments)
    model = build_model(arguments, data["train"].label_names)
    model.classifier.weight.data.zero_()
    with pytest.raises(ValueError, match="eiil put all 750 training samples into inferred_0"):
        judge(arguments, data, model)


def test_a_run_without_stages_takes_its_reference_from_a_folder(source: str, tmp_path: Path) -> None:
    path = recipe(tmp_path, source)
    main(["--config", path, "--output_dir", str(tmp_path / "reference")])
    flags = [
        "--infer_environments",
        "eiil",
        "--eiil.steps",
        "20",
        "--start_from",
        str(tmp_path / "reference"),
    ]
    results = main(["--config", path, "--output_dir", str(tmp_path / "run"), *flags])
    assert results["inferred"]["method"] == "eiil"
    assert results["hyperparameters"]["eiil"] == {"steps": 20, "learning_rate": 0.001}
    assert results["hyperparameters"]["data"]["infer_environments"] == "eiil"
    assert set(results["environments"]) == {"color_flip_0.2", "color_flip_0.1", "color_flip_0.9"}
