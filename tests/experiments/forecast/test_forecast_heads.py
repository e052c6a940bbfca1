"""The re-runs of a frozen network are heads on features that are computed once, and say what re-runs say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from datasets import ClassLabel, Dataset, Features, Image

from hf_ood.cli.dossier import main as dossier
from hf_ood.cli.forecast import main
from hf_ood.cli.train import main as train
from hf_ood.experiments.executors import EXECUTORS
from hf_ood.experiments.forecast.heads import are_heads
from hf_ood.experiments.forecast.plan import make_plan

FLAGS = (
    "--test_environments d --model lenet --cache_features true --max_steps 20 --learning_rate 0.01 "
    "--per_device_train_batch_size 30 --eval_strategy no --save_strategy no --num_threads 1 --use_cpu true "
    "--disable_tqdm true --report_to none"
)


def write_images(folder: Path) -> None:
    """Four environments of 80 pictures of 28 x 28 each: brighter ones are the class `bright`."""
    random = np.random.default_rng(0)
    names = ["dark", "bright"]
    features = Features(
        image=Image(), label=ClassLabel(names=names), environment=ClassLabel(names=list("abcd"))
    )
    rows: dict[str, list] = {"image": [], "label": [], "environment": []}
    for environment in range(4):
        for label in random.integers(0, 2, 80):
            pixels = random.integers(0, 120, (28, 28, 3)) + 60 * label + 20 * environment
            rows["image"].append(PIL.Image.fromarray(pixels.astype(np.uint8)))
            rows["label"].append(label)
            rows["environment"].append(environment)
    Dataset.from_dict(rows, features=features).to_parquet(folder / "rows" / "train.parquet")


@pytest.mark.slow
def test_heads_say_what_re_runs_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, heads, folders = (tmp_path / name for name in ("run", "heads", "folders"))
    write_images(tmp_path)
    train(["--dataset", str(tmp_path / "rows"), *FLAGS.split(), "--output_dir", str(run)])
    plan = make_plan(run)
    runs = [plan.without(name) for name in plan.environments]
    assert are_heads(runs, heads)

    def trials(root: Path) -> list[dict]:
        out = tmp_path / f"of-{root.name}"
        flags = f"--run {run} --runs_dir {root} --output_dir {out} --executor in_process --yes"
        main(flags.split())
        return json.loads((out / "forecast.json").read_text())["trials"]

    ours = trials(heads)
    told = capsys.readouterr().out
    assert "3 heads on the features of a frozen network" in told and "[3/3] without c" in told
    assert [file.name for file in heads.iterdir() if file.is_dir()] == ["features"]
    assert not any(event.error for event in EXECUTORS["in_process"](runs, folders) if hasattr(event, "error"))
    theirs = trials(folders)
    assert "heads on the features" not in capsys.readouterr().out
    for one, other in zip(ours, theirs, strict=True):
        assert one["environment"] == other["environment"] and one["nearest"] == other["nearest"]
        assert one["truths"] == pytest.approx(other["truths"], abs=2e-3)
        for measure, found in one["estimates"].items():
            assert found == pytest.approx(other["estimates"][measure], abs=2e-3), measure
        for measure in ("accuracy", "ece", "confidence", "loss"):
            assert one["measures"][measure] == pytest.approx(other["measures"][measure], abs=2e-3)
        for name in ("folder", "method", "seed", "selection", "trained_environments", "data_fingerprint"):
            assert one["run"][name] == other["run"][name], name
    more = ["--forecast", str(tmp_path / "of-heads"), "--output_dir", str(tmp_path / "dossier")]
    (page,) = dossier(["--run", str(run), *more])
    assert "Each environment was left out in turn" in page.read_text()
