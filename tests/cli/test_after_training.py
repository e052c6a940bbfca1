"""`hf-ood evaluate --adapt`, and `--calibrate`, of a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification

from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.train import main as train
from hf_ood.evaluation.adaptation import LABEL
from hf_ood.manifest import is_whole


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with batch normalisation on images of three hospitals, the third of which is darker; every
    fifth label is wrong."""
    folder = tmp_path_factory.mktemp("adapted")
    random, rows = np.random.default_rng(0), []
    for number in range(120):
        hospital, bright = "ABC"[number % 3], number // 3 % 2
        pixels = random.integers(0, 100, (16, 16, 3)) + 100 * bright
        pixels = pixels // 2 if hospital == "C" else pixels
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        label = bright ^ int(number % 5 == 0)
        rows.append({"image": f"{number}.png", "label": ["dark", "bright"][label], "hospital": hospital})
    pd.DataFrame(rows).to_csv(folder / "scans.csv", index=False)
    train(
        f"--dataset {folder / 'scans.csv'} --environment_column hospital --test_environments C "
        "--model resnet --resnet.hidden_sizes 8 8 16 16 --resnet.embedding_size 8 "
        "--per_device_train_batch_size 16 "
        "--max_steps 12 --learning_rate 0.01 --eval_strategy no --save_strategy no --num_threads 1 "
        f"--use_cpu true --quiet true --report_to none --output_dir {folder / 'run'}".split()
    )
    return folder / "run"


def measured(run: Path, folder: Path, *flags: str) -> dict[str, Any]:
    found = evaluate(["--run", str(run), "--output_dir", str(folder), *flags])
    written = json.loads((folder / "results.json").read_text())
    for part in ("environments", "adapted", "unadapted", "calibration"):
        assert written.get(part) == json.loads(json.dumps(found.get(part)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["batch_norm", "t3a", "tent"])
def test_a_table_says_that_unlabelled_target_samples_were_used(
    kind: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = measured(run, tmp_path / "plain")
    found = measured(run, tmp_path / "adapted", "--adapt", kind, "--tent_max_fall", "1")
    assert f"adapted by {kind} ({LABEL})" in " ".join(capsys.readouterr().out.split())
    assert found["adapted"]["by"] == kind and found["adapted"]["note"] == LABEL
    unadapted = found["unadapted"]["environments"]
    for name, entry in plain["environments"].items():
        assert unadapted[name]["loss"] == pytest.approx(entry["loss"])
        assert found["environments"][name]["loss"] != pytest.approx(entry["loss"])
    other = measured(run, tmp_path / "other", "--adapt", kind, "--tent_max_fall", "1", "--batch_size", "17")
    if kind != "tent":  # whose steps are of batches
        losses = [results["environments"]["C"]["loss"] for results in (found, other)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_tent_that_fails_is_said_and_given_up(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learning rate with which it forgets everything."""
    plain = measured(run, tmp_path / "plain")
    found = measured(run, tmp_path / "adapted", "--adapt", "tent", "--tent_learning_rate", "3")
    watched = found["adapted"]["watched"]
    failed = [name for name, entry in watched.items() if not entry["kept"]]
    assert failed and "it failed, so the network as it was is measured" in capsys.readouterr().out
    for name in failed:
        assert watched[name]["after"] < watched[name]["before"] - 0.01
        assert found["environments"][name]["loss"] == pytest.approx(plain["environments"][name]["loss"])


def test_the_calibrated_network_gives_the_calibrated_figures(run: Path, tmp_path: Path) -> None:
    plain = measured(run, tmp_path / "plain")
    found = measured(run, tmp_path / "calibrated", "--calibrate", "true")
    calibration = found["calibration"]
    assert set(calibration["validation"]) == {"A", "B"} and set(calibration["environments"]) == {*"ABC"}
    counts = json.loads((run / "results.json").read_text())["environments"]
    totals = {
        when: sum(
            counts[name]["count"] * entry[when]["loss"] for name, entry in calibration["validation"].items()
        )
        for when in ("before", "after")
    }
    assert totals["after"] < totals["before"]
    model, original = (
        AutoModelForImageClassification.from_pretrained(place, trust_remote_code=True).eval()
        for place in (tmp_path / "calibrated" / "calibrated_model", run)
    )
    images = torch.rand(3, 3, 16, 16)
    expected = original(images).logits / calibration["temperature"]
    torch.testing.assert_close(model(images).logits, expected, rtol=1e-4, atol=1e-5)
    assert is_whole(tmp_path / "calibrated" / "calibrated_model")
    network, scans = tmp_path / "calibrated" / "calibrated_model", run.parent / "scans.csv"
    flags = f"--model {network} --dataset {scans} --environment_column hospital"
    again = evaluate([*flags.split(), "--output_dir", str(tmp_path / "again")])
    for name, entry in found["environments"].items():
        assert entry["accuracy"] == plain["environments"][name]["accuracy"]
        assert again["environments"][name]["loss"] == pytest.approx(entry["loss"], rel=1e-4)
        assert calibration["environments"][name]["after"]["ece"] == pytest.approx(entry["ece"])


def test_what_does_not_go_together_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(run, tmp_path / "plain")
    model = [
        "--model",
        str(run),
        "--dataset",
        str(run.parent / "scans.csv"),
        "--environment_column",
        "hospital",
    ]
    for flags, told in (
        (["--run", str(run), "--adapt", "t3a", "--calibrate", "true"], "leave one out"),
        ([*model, "--adapt", "tent"], "--adapt tent needs validation samples"),
        ([*model, "--calibrate", "true"], "--calibrate true needs validation samples"),
        (["--run", str(run), "--adapt", "t3a", "--t3a_supports", "-1"], "at least 0"),
        (
            ["--run", str(run), "--adapt", "t3a", "--output_dir", str(tmp_path / "plain")],
            "holds other results",
        ),
    ):
        with pytest.raises(SystemExit):
            evaluate(["--output_dir", str(tmp_path / "refused"), *flags])
        assert told in capsys.readouterr().err
