"""From nothing to a published checkpoint by the commands of docs/publishing.md, and back by its code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hub.clients import ROOT, Client
from hub.loopback import LoopbackHub
from hub.tiny import write_tiny_source
from PIL import Image

pytestmark = pytest.mark.slow

EXTRA = {  # what makes the page's commands take seconds
    "build.py": "--label_rule zero_vs_one --source {digits} --output_dir {built}",
    "train.py": "--max_steps 40 --per_device_train_batch_size 60 --irm.penalty_weight 1 --use_cpu true "
    "--num_threads 1 --disable_tqdm true",
    "push.py": "",
}


def blocks(heading: str, language: str) -> list[str]:
    """The code below a heading of the page, with the user that the loopback Hub knows."""
    section = (ROOT / "docs" / "publishing.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", section, re.S)
    assert found, heading
    return [code.replace("user/", "alice/readme-") for code in found]


@pytest.fixture(scope="module")
def published(_hub: LoopbackHub, author: Client, tmp_path_factory: pytest.TempPathFactory) -> LoopbackHub:
    folders = {"digits": tmp_path_factory.mktemp("digits"), "built": tmp_path_factory.mktemp("built")}
    write_tiny_source(folders["digits"])
    code = "".join(blocks("Publish your own", "bash")).replace("\\\n", " ")
    commands = [shlex.split(line, comments=True) for line in code.splitlines() if line[:1] not in ("", "#")]
    assert [Path(command[1]).name for command in commands] == ["build.py", "train.py", "push.py"]
    for _, script, *flags in commands:
        extra = EXTRA[Path(script).name].format(**folders).split()
        finished = author.script(ROOT / script, *flags, *extra)
        assert finished.returncode == 0, finished.stderr
        assert "ublished: " in finished.stdout
    return _hub


def test_the_datasets_are_loaded(published: LoopbackHub, stranger: Client) -> None:
    (code,) = blocks("Load the datasets", "python")
    check = """
assert set(dataset) == {"train", "validation", "test"}
assert set(green["environment"]) == {names.index("green_on_black")} and len(green) == 180
"""
    finished = stranger.attempt(code + check)
    assert finished.returncode == 0, finished.stderr
    assert re.fullmatch(r"([01] reversed \(28, 28\)\n){3}", finished.stdout)


def test_the_checkpoint_is_loaded(published: LoopbackHub, stranger: Client) -> None:
    (code,) = blocks("Load a checkpoint", "python")
    finished = stranger.attempt(code)
    assert finished.returncode == 0, finished.stderr
    assert "'score'" in finished.stdout and "tensor(" in finished.stdout


STRANGER = """
import json
import torch
from datasets import load_dataset
from huggingface_hub import ModelCard, hf_hub_download
from transformers import AutoImageProcessor, AutoModelForImageClassification

data, repo = "alice/readme-colored-mnist", "alice/readme-lenet-unseen-colors"
processor = AutoImageProcessor.from_pretrained(repo, trust_remote_code=True)
model = AutoModelForImageClassification.from_pretrained(repo, trust_remote_code=True).eval()
measured = {}
for split in ("validation", "test"):
    rows = load_dataset(data, "unseen_colors", split=split)
    names = rows.features["environment"].names
    with torch.no_grad():
        guesses = model(**processor(list(rows["image"]), return_tensors="pt")).logits.argmax(1).tolist()
    right = {}
    for guess, label, environment in zip(guesses, rows["label"], rows["environment"]):
        right.setdefault(names[environment], []).append(guess == label)
    measured |= {name: sum(values) / len(values) for name, values in right.items()}
card = ModelCard.load(repo)
results = json.load(open(hf_hub_download(repo, "results.json")))
print(json.dumps([
    measured,
    {name: entry["accuracy"] for name, entry in results["environments"].items()},
    {result.metric_name: result.metric_value for result in card.data.eval_results},
    results["mean_accuracy"],
]))
"""


def test_what_a_stranger_measures_is_what_the_card_says(published: LoopbackHub, stranger: Client) -> None:
    measured, results, card, mean = stranger.run(STRANGER)
    assert measured == pytest.approx(results)
    assert set(measured) == {"red_on_black", "green_on_black", "white_on_black", "random_colors"}
    for name, accuracy in measured.items():
        written = [value for metric, value in card.items() if name in metric and "accuracy" in metric.lower()]
        assert pytest.approx(accuracy, abs=1e-6) in written
    assert mean == pytest.approx(measured["random_colors"])
    assert measured["white_on_black"] > 0.9  # it has learned something


def test_own_images_are_published(hub: LoopbackHub, author: Client, tmp_path: Path) -> None:
    for number in range(4):
        folder = author.folder / "scans" / ("ill" if number % 2 else "well")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 50 * number).save(folder / f"{number}.png")
    rows = "".join(f"{number}.png,{'north' if number < 2 else 'south'}\n" for number in range(4))
    (author.folder / "sites.csv").write_text("file_name,hospital\n" + rows)
    (code,) = blocks("Publish your own", "python")
    author.run(code)
    repository = hub.repository("dataset", "alice/readme-scans")
    assert repository.private and "| train | south | 2 | 1 | 1 |" in repository.files()["README.md"].decode()
