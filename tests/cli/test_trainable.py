"""Linear probing and LoRA by flags: the same files as any run, and what they leave reloads as it was."""

from __future__ import annotations

import builtins
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_models import save_image_model, save_text_model
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from hf_ood.cli.arguments import parse_arguments
from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.train import main
from hf_ood.errors import UsageError

TEXTS = (
    "--model_name_or_path reader --dataset_name reports.csv --text_column text --environment_column hospital "
    "--test_environments C"
)
IMAGES = (
    "--model_name_or_path viewer --dataset_name scans --environment_column hospital --test_environments C"
)
SMALL = "--use_cpu true --num_threads 1 --disable_tqdm true --report_to none --per_device_train_batch_size 12"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, a table of texts and a folder of images."""
    folder = tmp_path_factory.mktemp("sources")
    save_text_model(folder / "reader")
    save_image_model(folder / "viewer")
    rows = [
        f"{'good lung' if i % 2 else 'bad scan'} {'.' * (i % 3)},{'ill' if i % 2 else 'well'},{'ABC'[i % 3]}"
        for i in range(120)
    ]
    (folder / "reports.csv").write_text("\n".join(["text,label,hospital", *rows]))
    random = np.random.default_rng(0)
    (folder / "scans").mkdir()
    lines = []
    for i in range(72):
        pixels = random.integers(0, 128 + 64 * (i % 2), (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "scans" / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "label": i % 2, "hospital": "ABC"[i % 3]}))
    (folder / "scans" / "metadata.jsonl").write_text("\n".join(lines))
    return folder


TRAIN = Path("trainers/train.py").resolve()


@pytest.fixture(autouse=True)
def _there(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sources)


def train(flags: str, folder: Path) -> dict[str, Any]:
    return main([*shlex.split(f"{flags} {SMALL}"), "--output_dir", str(folder)])


@pytest.mark.parametrize("data", [TEXTS, IMAGES], ids=["bert", "vit"])
def test_a_head_on_cached_features_is_the_head_trained_in_place(data: str, tmp_path: Path) -> None:
    flags = f"{data} --method irm --irm.warmup_steps 2 --num_train_epochs 2 --learning_rate 0.01"
    fast = train(f"{flags} --cache_features true", tmp_path / "fast")
    slow = train(f"{flags} --trainable classifier.*", tmp_path / "slow")
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("fast", "slow"))
    assert ours.keys() == theirs.keys()
    for name, weights in ours.items():
        torch.testing.assert_close(weights, theirs[name], rtol=1e-4, atol=1e-5)
    start = load_file(Path(flags.split()[1]) / "model.safetensors")
    assert not torch.equal(ours["classifier.weight"], start["classifier.weight"])
    assert {file.name for file in (tmp_path / "fast").glob("*.*")} == {
        file.name for file in (tmp_path / "slow").glob("*.*")
    }
    assert fast["selection"] == slow["selection"] and fast["steps"] == slow["steps"]
    for name, entry in slow["environments"].items():
        same = fast["environments"][name]
        assert (same["count"], same["accuracy"]) == (entry["count"], entry["accuracy"])
        assert same["loss"] == pytest.approx(entry["loss"], rel=1e-4)
    assert fast["hyperparameters"]["training"]["cache_features"] is True


def test_rsc_and_mixup_act_on_cached_features(tmp_path: Path) -> None:
    flags = f"{IMAGES} --cache_features true --learning_rate 0.01 --method"
    heads = []
    for method in ("erm", "rsc", "mixup"):
        train(f"{flags} {method}", tmp_path / method)
        heads.append(load_file(tmp_path / method / "model.safetensors")["classifier.weight"])
    assert not torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--method mixstyle", "mixstyle mixes statistics of feature maps"),
        ("--method coral", "coral moves features"),
        ("--method mmd", "mmd moves features"),
        ("--augmentation random_color", "--augmentation random_color changes"),
        ("--trainable classifier.* vit.layernorm.*", "names vit.layernorm.weight"),
        ("--lora.rank 2", "keeps the features that adapters would change"),
    ],
)
def test_what_changes_features_is_not_cached(
    flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError):
        train(f"{IMAGES} --cache_features true {flags}", tmp_path / "run")
    assert message in capsys.readouterr().err


def test_probing_as_a_stage_resumes(tmp_path: Path) -> None:
    """As last-layer retraining (DFR): the body, then its head on what was held out, twice as long."""
    recipe = {
        "hold_out": 0.5,
        "per_device_train_batch_size": 8,
        "stages": [
            {"name": "body", "max_steps": 2, "eval_strategy": "no", "save_strategy": "no"},
            {"name": "head", "cache_features": True, "train_on": "held_out", "num_train_epochs": 4},
        ],
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    flags = f"--config {tmp_path}/recipe.yaml {TEXTS} {SMALL.replace('--per_device_train_batch_size 12', '')}"
    command = [*shlex.split(flags), "--output_dir", str(tmp_path / "run")]
    whole = main(command)
    head = tmp_path / "run" / "2-head"
    weights = load_file(head / "model.safetensors")
    body = load_file(tmp_path / "run" / "1-body" / "model.safetensors")
    changed = {name for name in weights if not torch.equal(weights[name], body[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    for file in ("results.json", "model.safetensors"):  # as if killed after its last checkpoint but one
        (head / file).unlink()
    latest = max(head.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    (latest / "trainer_state.json").unlink()
    again = main([*command, "--resume_from_checkpoint", "true"])
    assert again["environments"] == whole["environments"]
    resumed = load_file(head / "model.safetensors")
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)


def test_adapters_count_by_the_share_of_the_way_from_the_start(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    flags = f"{IMAGES} --lora.rank 2 --learning_rate 0.05 --max_steps 3 --eval_strategy no --save_strategy no"
    for share in ("0", "0.25", "1"):
        results = train(f"{flags} --interpolate_with_start {share}", tmp_path / share)
        assert f"then {share} of the way" in results["selection"]
    start, part, end = (load_file(tmp_path / share / "model.safetensors") for share in ("0", "0.25", "1"))
    own = load_file(Path(flags.split()[1]) / "model.safetensors")
    for name, value in part.items():
        torch.testing.assert_close(value, 0.75 * start[name] + 0.25 * end[name])
    query = next(name for name in own if name.endswith("query.weight") or name.endswith("q_proj.weight"))
    assert torch.equal(start[query], own[query]) and not torch.equal(end[query], own[query])


@pytest.mark.parametrize("data", [TEXTS, IMAGES], ids=["bert", "vit"])
def test_adapters_are_merged_into_an_ordinary_checkpoint(data: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    flags = f"{data} --method vrex --lora.rank 2 --lora.alpha 8 --num_train_epochs 2 --learning_rate 0.01"
    results = train(flags, tmp_path / "run")
    assert results["hyperparameters"]["lora"]["rank"] == 2
    names = flags.split()
    start, ours = (load_file(folder / "model.safetensors") for folder in (Path(names[1]), tmp_path / "run"))
    assert start.keys() == ours.keys()
    for name in ours:
        linear = start[name].dim() == 2 and "embeddings" not in name
        assert torch.equal(ours[name], start[name]) != (linear or name.startswith("classifier")), name
    text = "--text_column text" if data is TEXTS else ""
    command = f"--model {tmp_path}/run --dataset {names[3]} --split train {text}"
    evaluated = evaluate(
        shlex.split(f"{command} --environment_column hospital --output_dir {tmp_path}/evaluated")
    )
    on_c, reported = evaluated["environments"]["C"], results["environments"]["C"]
    assert on_c["count"] == reported["count"] and on_c["accuracy"] == reported["accuracy"]
    assert on_c["loss"] == pytest.approx(reported["loss"], rel=1e-5)
    auto = AutoModelForSequenceClassification if data is TEXTS else AutoModelForImageClassification
    assert auto.from_pretrained(tmp_path / "run").num_parameters() == sum(w.numel() for w in start.values())

    checkpoints = sorted((tmp_path / "run").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    (checkpoints[-1] / "trainer_state.json").unlink()
    again = train(f"{flags} --resume_from_checkpoint true", tmp_path / "run")
    assert again["environments"] == results["environments"]


@pytest.mark.parametrize("extra", ["--cache_features true", "--lora.rank 2"], ids=["cached", "lora"])
@pytest.mark.nightly
def test_two_processes_train_what_one_does(extra: str, tmp_path: Path) -> None:
    if "lora" in extra:
        pytest.importorskip("peft")
    flags = (
        f"{IMAGES} --method irm --irm.warmup_steps 2 {extra} --optim sgd --learning_rate 0.5 --max_steps 6 "
        "--eval_strategy no --save_strategy no"
    )
    launcher = f"{sys.executable} -m torch.distributed.run --standalone --local-addr 127.0.0.1"
    halves = SMALL.replace("size 12", "size 6") + f" --ddp_backend gloo --output_dir {tmp_path}/two"
    two = subprocess.Popen(
        shlex.split(f"{launcher} --nproc_per_node 2 {TRAIN} {flags} {halves}"),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    train(flags, tmp_path / "one")
    told = two.communicate(timeout=180)[0]
    assert two.returncode == 0, told
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    start = load_file(Path("viewer") / "model.safetensors")
    moved = max((ours[name] - start[name]).abs().max().item() for name in start)
    assert moved > 1e-3
    for name, weights in ours.items():
        torch.testing.assert_close(theirs[name], weights, rtol=0, atol=1e-3 * moved)


def test_lora_without_peft_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "peft":
            raise ModuleNotFoundError("No module named 'peft'", name="peft")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError):
        train(f"{IMAGES} --lora.rank 2", tmp_path / "run")
    assert r"pip install 'hf_ood[lora]'" in capsys.readouterr().err


def test_lora_is_a_section_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("lora: {rank: 4, target_modules: [query, value]}\n")
    options = parse_arguments(["--config", str(tmp_path / "recipe.yaml"), "--lora.rank", "2"]).options
    assert options["lora"] == {"rank": 2, "target_modules": ["query", "value"]}
