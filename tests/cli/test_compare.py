"""`hf-ood compare` over real runs: terminal, Markdown, HTML, picture, tables."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from documents import run_block
from PIL import Image
from rich.console import Console

from hf_ood.__main__ import main
from hf_ood.cli.train import main as train
from hf_ood.reporting.comparison_pages import report_comparison
from hf_ood.reporting.comparison_table import conclusions, fails_together

FLAGS = (
    "--dataset_name linear_unit_tests --dataset_config example_2 --linear_unit_tests.samples 100 "
    "--model linear --linear.num_features 10 --per_device_train_batch_size 300 --max_steps 4 "
    "--eval_strategy no --save_strategy no --num_threads 1 --use_cpu true --disable_tqdm true "
    "--report_to none"
).split()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared") / "runs"
    for method in ("erm", "irm"):
        for seed in ("0", "1"):
            place = str(folder / f"{method}-{seed}")
            train([*FLAGS, "--method", method, "--seed", seed, "--output_dir", place])
    return folder


def hf_ood(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["hf-ood"])
    with pytest.raises(SystemExit) as end:
        main(["compare", *arguments])
    assert end.value.code == 0


def test_the_command_shows_and_writes_one_comparison(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs.parent)
    monkeypatch.setenv("COLUMNS", "120")
    hf_ood(monkeypatch, "runs")
    shown = capsys.readouterr().out
    assert "accuracy (%) in held-out environments of linear_unit_tests/example_2" in shown
    for expected in ("erm", "irm", "mean", "worst", "domain", "CPU", "± ", "2 seeds", "Selection: "):
        assert expected in shown
    folder = runs.parent / "comparisons" / "example_2-erm-irm"
    names = {"values", "intervals", "differences", "cost"}
    pages = {"comparison.html", "comparison.md", "comparison.png"}
    assert {path.name for path in folder.iterdir()} == pages | {f"{name}.csv" for name in names}
    found = pd.read_csv(folder / "values.csv")
    results = json.loads((runs / "irm-1" / "results.json").read_text())
    mean = found[(found["row"] == "irm") & (found["seed"] == 1) & (found["environment"] == "mean")]
    assert mean["value"].item() == pytest.approx(100 * results["mean_accuracy"], rel=1e-5)
    page, text = ((folder / f"comparison.{kind}").read_text() for kind in ("html", "md"))
    assert "data:image/png;base64," in page and "http" not in page
    assert "| erm |" in text and "irm-1" in text and "![" in text
    assert str(runs.parent) not in page + text + shown
    assert Image.open(folder / "comparison.png").width > 500
    # The command that it prints makes the same pages again.
    (command,) = (line.strip("`") for line in text.splitlines() if line.startswith("`hf-ood"))
    shutil.rmtree(folder)
    hf_ood(monkeypatch, *shlex.split(command)[2:])
    assert (folder / "comparison.md").read_text() == text


def test_the_documents_python_runs_as_printed(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs.parent)
    comparison = run_block("comparing.md", 0)["comparison"]
    assert comparison.first == "erm" and "seeds_needed" in capsys.readouterr().out


def test_one_seed_is_shown_and_said_to_decide_nothing(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hf_ood(monkeypatch, str(runs / "erm-0"), str(runs / "irm-0"), "--output_dir", str(tmp_path / "pages"))
    shown = capsys.readouterr().out
    assert "One seed decides nothing" in shown and "erm" in shown and "irm" in shown
    assert not {"better", "worse", "inconclusive", "makes no difference"} & set(shown.split())
    assert "`hf-ood" not in (tmp_path / "pages" / "comparison.md").read_text()  # its paths are elsewhere


def test_mistakes_are_told_without_traceback(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hf-ood"])
    for wrong, told in (
        ([str(runs / "nowhere")], "holds no run of hf-ood train"),
        ([str(runs), "--first", "rsc"], "Unknown row 'rsc'"),
        ([str(runs), "--margin", "0"], "0 is not above 0"),
    ):
        with pytest.raises(SystemExit):
            main(["compare", *wrong])
        assert told in capsys.readouterr().err


def edited(runs: Path, folder: Path, accuracies: dict[str, tuple[float, ...]]) -> Path:
    """The results of a run, over and over with other accuracies."""
    results = json.loads((runs / "erm-0" / "results.json").read_text())
    for method, seeds in accuracies.items():
        for seed, accuracy in enumerate(seeds):
            results |= {"method": method, "seed": seed}
            for entry in results["environments"].values():
                entry["accuracy"] = accuracy
            (folder / f"{method}-{seed}").mkdir(parents=True)
            (folder / f"{method}-{seed}" / "results.json").write_text(json.dumps(results))
    return folder


def test_sentences_say_what_is_decided_and_what_not(runs: Path, tmp_path: Path) -> None:
    accuracies = {
        "erm": (0.50, 0.60, 0.70),
        "coral": (0.55, 0.54, 0.76),
        "irm": (0.70, 0.81, 0.89),
        "sd": (0.502, 0.599, 0.70),
        "vrex": (0.55, 0.645, 0.74, 0.7),
    }
    folder = edited(runs, tmp_path / "[red]", accuracies)
    console = Console(file=io.StringIO(), width=60)
    comparison = report_comparison([folder], tmp_path / "pages", first="erm", console=console)
    told = conclusions(comparison)
    assert told[0].startswith("coral against erm is inconclusive: +1.67 ± ") and "would decide it" in told[0]
    assert told[1].startswith("irm is better than erm: +20.00 ± 2.48 points in the mean of 3 held-out")
    assert told[2].startswith("sd makes no difference to erm: ") and told[2].endswith("within ± 1.")
    assert any("vrex and erm has seed 3: differences leave it out" in sentence for sentence in told)
    assert isinstance(console.file, io.StringIO)
    assert "the single environments are in the pages" in console.file.getvalue()  # of a narrow terminal


def test_what_holds_only_by_itself_is_marked(runs: Path, tmp_path: Path) -> None:
    alone = {"erm": (0.5, 0.5, 0.5), "irm": (0.56, 0.54, 0.55)}
    among = dict.fromkeys(("sd", "vrex", "coral", "mmd", "rsc", "swa"), (0.52, 0.49, 0.5))
    weak = {"fishr": (0.53, 0.51, 0.515)}
    folder = edited(runs, tmp_path / "runs", {**alone, **weak, **among})
    comparison = report_comparison([folder], tmp_path / "pages", first="erm", console=Console(quiet=True))
    marked = {line["row"] for _, line in comparison.differences.iterrows() if fails_together(line)}
    assert marked <= {"irm", "fishr"} and marked
    assert "†" in (tmp_path / "pages" / "comparison.html").read_text()
    assert any(sentence.startswith("†") for sentence in conclusions(comparison))
