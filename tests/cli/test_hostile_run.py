"""Data with hostile names, from training to comparison; and what of it could be published."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image
from tiny_models import save_image_model

from hf_ood.cli.compare import main as compare
from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.train import main as train
from hf_ood.hub.push import published_files
from hf_ood.names import visible

SOME = ["[red]", "[/bold]", "<script>alert(1)</script>", "a|b", "line\nbreak", "x/y", "..", "$x_1$", "_a*b*"]
SOME += ["% \\ {} {{x}}", "\u200b", "\u202egnorw", "مرحبا", "e\u0301", "n" * 300]
CLASSES = ["</td>|$\\frac$", "[link=x]_y"]


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of which the environments and classes are called so, and a model."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("COLUMNS", "400")
    save_image_model(tmp_path / "viewer")
    folder = tmp_path / "$my, _scans_"
    folder.mkdir()
    random = np.random.default_rng(0)
    lines = []
    for number in range(6 * len(SOME)):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        row = {"file_name": f"{number}.png", "label": CLASSES[number // len(SOME) % 2]}
        lines.append(json.dumps({**row, "environment": SOME[number % len(SOME)]}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


@pytest.mark.slow
def test_from_training_to_comparison(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method, rate in (("erm", "0.001"), ("irm", "0.002")):
        flags = ["--dataset_name", str(scans), "--test_environments", *SOME[:8], "--method", method]
        flags += ["--model_name_or_path", str(scans.parent / "viewer"), "--learning_rate", rate]
        flags += [
            "--max_steps",
            "2",
            "--eval_strategy",
            "steps",
            "--eval_steps",
            "1",
            "--save_strategy",
            "no",
        ]
        flags += ["--per_device_train_batch_size", str(2 * len(SOME[8:])), "--validation", "0.34"]
        flags += "--use_cpu true --num_threads 1 --disable_tqdm true --report_to none".split()
        results = train([*flags, "--output_dir", f"runs/{method}"])
        shown = capsys.readouterr().out
        assert all(visible(name) in shown for name in SOME)
        assert {name.removeprefix("test/") for name in results["environments"]} == {*SOME}
    run = Path("runs/erm")
    card = ModelCard.load(run / "README.md")
    assert f"accuracy on {SOME[0]}" in {result.metric_name for result in card.data.eval_results}
    prose = re.sub(r"^(```+)\w*\n.*?^\1$", "", card.text, flags=re.M | re.S)
    assert "<script>" not in prose and "<script>" in card.text, "in the command alone"
    assert json.loads((run / "config.json").read_text())["id2label"] == {
        str(number): name for number, name in enumerate(sorted(CLASSES))
    }
    for file in published_files(run):
        assert str(scans.parent).encode() not in file.read_bytes(), f"{file} tells a path of this machine"

    evaluated = evaluate(["--model", "runs/erm", "--dataset", str(scans), "--split", "train"])
    assert [*evaluated["environments"]] == sorted(SOME)
    assert all(visible(name) in capsys.readouterr().out for name in ["[red]"])
    (folder,) = Path("evaluations").iterdir()
    written = (folder / "results.json").read_text()
    assert str(scans.parent) not in written and json.loads(written)["dataset"] == "$my, _scans_"
    assert {file.name for file in folder.iterdir()} >= {"confusion.png", "reliability.png"}
    evaluate(["--model", "runs/erm", "--dataset", str(scans), "--split", "train"])  # again, into the same
    capsys.readouterr()

    compare(["runs/erm", "runs/irm", "--output_dir", "compared"])
    page, text = (Path("compared", f"comparison.{kind}").read_text() for kind in ("html", "md"))
    assert "<script>" not in page and "&lt;script&gt;" in page and "<script>" not in text
    assert r"a\|b" in text and str(scans.parent) not in page + text
