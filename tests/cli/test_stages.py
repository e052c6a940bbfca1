"""Stages: what a recipe may say, and a run of two, whole, killed and resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import make_args, make_dataset, make_model
from safetensors.torch import load_file

from hf_ood import OODTrainer, SmallResNetConfig, SmallResNetForImageClassification
from hf_ood.cli.arguments import parse_arguments
from hf_ood.cli.train import main
from hf_ood.errors import UsageError
from hf_ood.runs.folder import recorded_spec
from hf_ood.runs.stages import combine, freeze_all_but, load_weights

ROOT = Path(__file__).parents[2]
RECIPE: dict[str, Any] = {
    "model": "disentangled_vae",
    "disentangled_vae": {"decoder_size": 16, "content_size": 4},
    "dataset_config": "fixed_colors",
    "max_train_samples": 1152,
    "num_train_epochs": 2,
    "eval_strategy": "no",
    "save_strategy": "steps",
    "save_steps": 2,
    "save_total_limit": 9,
    "num_threads": 1,
    "use_cpu": True,
    "disable_tqdm": True,
    "report_to": "none",
    "stages": [
        {"name": "pretrain"},
        {
            "name": "finetune",
            "method": "irm",
            "irm": {"warmup_steps": 0},
            "learning_rate": 1e-4,
            "weight_decay": 0.5,
            "trainable": ["encoder.*", "classifier.*"],
            "max_steps": 9,
        },
    ],
}


def write(folder: Path, **changes: Any) -> str:
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return str(file)


def test_a_stage_overrides_the_recipe_and_flags_override_both(tmp_path: Path) -> None:
    arguments = parse_arguments(["--config", write(tmp_path), "--learning_rate", "0.5", "--irm.l2", "0.25"])
    pretrain, finetune = arguments.stages.values()
    assert list(arguments.stages) == ["pretrain", "finetune"]
    assert (pretrain.method.name, finetune.method.name) == ("erm", "irm")
    assert (pretrain.training.max_steps, finetune.training.max_steps) == (-1, 9)
    assert pretrain.training.learning_rate == finetune.training.learning_rate == 0.5
    assert finetune.options["irm"] == {"warmup_steps": 0, "l2": 0.25} and "irm" not in pretrain.options
    assert finetune.network.trainable == ["encoder.*", "classifier.*"] and pretrain.network.trainable is None
    assert parse_arguments(["--method", "irm"]).stages == {}


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"name": "a"}, {"name": "a"}], "Two stages are called 'a'"),
        (
            [{"name": "a", "learning_rat": 1}],
            "stage 'a': Unknown key 'learning_rat'. Did you mean 'learning_rate'?",
        ),
        ([{"name": "a", "method": "irm", "irm": {"penalty": 1}}], "Did you mean 'irm.penalty_weight'?"),
        ([{"name": "a", "method": "irn"}], "Did you mean 'irm'?"),
        ([{"name": "a", "imr": {"l2": 1}}], "Did you mean 'irm'?"),
        ([{"name": "a", "model": "mlp"}], "Stage 'a' cannot change model"),
        ([{"name": "a", "output_dir": "x"}], "Stage 'a' cannot change output_dir"),
        ([{"method": "irm"}], "Stage 1 needs a name"),
        ([{"name": "a/b"}], "Stage 1 needs a name"),
        ({"a": {}}, "stages must be a list"),
        ([], "stages must be a list"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(
    stages: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError):
        parse_arguments(["--config", write(tmp_path, stages=stages)])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"trainable": ["clasifier.*"]}, "Unknown parameter pattern 'clasifier.*'"),
        ({"start_from": "nowhere"}, "nowhere holds no checkpoint"),
        ({"method": "irm", "train_environments": ["red_on_black"]}, "needs at least 2"),
        ({"max_train_samples": 10}, "do not fill one batch"),
    ],
)
def test_a_mistake_in_the_last_stage_is_found_before_the_first_trains(
    second: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write(tmp_path, stages=[{"name": "first"}, {"name": "second", **second}])
    with pytest.raises(UsageError):
        main(["--config", recipe, "--output_dir", str(tmp_path / "run")])
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("**/*.safetensors"))


def test_frozen_parameters_stay_whatever_the_weight_decay(tmp_path: Path) -> None:
    model = make_model()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    freeze_all_but(model, ["head.5.*", "conv1.bias"])
    OODTrainer(model, make_args(tmp_path, weight_decay=0.5), train_dataset=make_dataset()).train()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {"head.5.weight", "head.5.bias", "conv1.bias"}
    with pytest.raises(ValueError, match=r"'head.9.\*'.*conv1.weight, .*\.\.\."):
        freeze_all_but(model, ["head.9.*"])
    freeze_all_but(model, None)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_frozen_batch_normalisation_stays_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = SmallResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16])
    model = SmallResNetForImageClassification(config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    freeze_all_but(model, ["classifier.*"])
    trainer = OODTrainer(model, make_args(tmp_path, max_steps=2), train_dataset=make_dataset())
    trainer.train()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"classifier.weight", "classifier.bias"}


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    make_model(conv_channels=(3, 8)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds another network's weights"):
        load_weights(make_model(), tmp_path)


def test_the_history_of_stages_runs_on() -> None:
    def results(accuracy: float, steps: int) -> dict[str, Any]:
        figures = dict.fromkeys(("mean_accuracy", "worst_accuracy", "train_accuracy", "gap"), accuracy)
        history = [{"step": steps, "epoch": 2.0, "test_mean_accuracy": accuracy}]
        described = {"method": "erm", "environments": {}, "selection": "last step"}
        return {
            **figures,
            **described,
            "steps": steps,
            "seconds": 1.5,
            "cpu_seconds": 3.0,
            "history": history,
            "hyperparameters": {"training": {"epochs": 2.0}},
        }

    both = combine({"a": results(0.5, 10), "b": results(0.7, 4)})
    assert [(r["step"], r["epoch"], r["stage"]) for r in both["history"]] == [(10, 2.0, "a"), (14, 4.0, "b")]
    assert [both[name] for name in ("mean_accuracy", "steps", "seconds", "cpu_seconds")] == [
        0.7,
        14,
        3.0,
        6.0,
    ]
    assert [(row["name"], row["gap"], row["steps"]) for row in both["stages"]] == [
        ("a", 0.5, 10),
        ("b", 0.7, 4),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("stages")
    return folder / "run", main(["--config", write(folder), "--output_dir", str(folder / "run")])


@pytest.mark.slow
def test_a_run_in_stages_leaves_everything_behind(whole: tuple[Path, dict[str, Any]]) -> None:
    folder, results = whole
    files = {
        "model.safetensors",
        "config.json",
        "README.md",
        "curves.png",
        "results.json",
        "reconstructions.png",
    }
    for place in (folder, folder / "1-pretrain", folder / "2-finetune"):
        assert files <= {path.name for path in place.iterdir()}
    saved = json.loads((folder / "results.json").read_text())
    assert results | {"command": saved["command"]} == saved  # which names no folder of this machine
    pretrain, finetune = results["stages"]
    assert set(pretrain) == {
        *("name", "method", "environments", "mean_accuracy", "worst_accuracy"),
        *("train_accuracy", "gap", "shift_gap", "steps", "seconds", "selection", "trained_environments"),
    }
    assert (pretrain["method"], finetune["method"], results["method"]) == ("erm", "irm", "irm")
    assert (pretrain["steps"], finetune["steps"], results["steps"]) == (12, 9, 21)
    assert results["environments"] == finetune["environments"]
    assert results["hyperparameters"]["training"]["trainable"] == "encoder.* classifier.*"
    assert "stages" not in json.loads((folder / "1-pretrain" / "results.json").read_text())
    assert "| pretrain | erm |" in (folder / "README.md").read_text()


def test_the_arguments_of_a_run_in_stages_are_those_of_the_whole(whole: tuple[Path, dict[str, Any]]) -> None:
    recorded = recorded_spec(whole[0])
    assert (recorded.network.model, recorded.data.dataset_config) == ("disentangled_vae", "fixed_colors")


def test_a_stage_starts_where_the_one_before_ended_and_moves_only_its_own(
    whole: tuple[Path, dict[str, Any]],
) -> None:
    folder, _ = whole
    places = (folder / "1-pretrain", folder / "2-finetune", folder)
    before, after, final = (load_file(place / "model.safetensors") for place in places)
    for name, weight in before.items():
        assert torch.equal(weight, after[name]) == name.startswith("decoder."), name
        assert torch.equal(final[name], after[name])
        assert (after[name] - weight).abs().max() < 0.01  # nine small steps, not another start


@pytest.mark.nightly
def test_a_killed_run_resumes_in_its_stage_to_the_same_weights(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    flags = ["--config", write(tmp_path), "--output_dir", str(run)]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "trainers" / "train.py"), *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    deadline = time.monotonic() + 120
    while not (run / "2-finetune" / "checkpoint-4").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "results.json").exists()
    finished = (run / "1-pretrain" / "model.safetensors").stat().st_mtime_ns
    results = main([*flags, "--resume_from_checkpoint", "true"])
    assert (run / "1-pretrain" / "model.safetensors").stat().st_mtime_ns == finished
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (run, whole[0]))
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name
    for entry, expected in zip(results["stages"], whole[1]["stages"], strict=True):
        assert entry["environments"] == expected["environments"]


@pytest.mark.slow
def test_a_stage_can_start_from_scratch_or_from_a_folder(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    one_step = {"max_steps": 1, "learning_rate": 1e-9, "save_strategy": "no"}
    stages = [
        {"name": "folder", "start_from": str(whole[0]), **one_step},
        {"name": "scratch", "start_from": "scratch", **one_step},
    ]
    main(["--config", write(tmp_path, stages=stages), "--output_dir", str(tmp_path / "run")])
    given, folder, scratch = (
        load_file(place / "model.safetensors")
        for place in (whole[0], tmp_path / "run" / "1-folder", tmp_path / "run" / "2-scratch")
    )
    for name, weight in given.items():
        torch.testing.assert_close(folder[name], weight, rtol=0, atol=1e-7)
        assert not torch.allclose(scratch[name], weight, atol=1e-4), name


def test_another_stage_is_another_run(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = [RECIPE["stages"][0], {**RECIPE["stages"][1], "learning_rate": 2e-4}]
    with pytest.raises(UsageError):
        main(["--config", write(tmp_path, stages=changed), "--output_dir", str(whole[0])])
    assert "holds another run: stages.finetune.learning_rate differ" in capsys.readouterr().err
    with pytest.raises(UsageError):
        main(["--config", write(tmp_path), "--output_dir", str(whole[0]), "--resume_from_checkpoint", "x"])
    assert "resumed with --resume_from_checkpoint true" in capsys.readouterr().err
