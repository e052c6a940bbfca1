"""Published datasets: built and pushed by the script, read back by someone who does not have this package."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hub.clients import ROOT, TOKEN, Client
from hub.loopback import LoopbackHub
from hub.repositories import Repository
from hub.tiny import write_tiny_source

from hf_ood.data.colored_mnist import CONFIGURATIONS

pytestmark = pytest.mark.slow

BUILD = ROOT / "dataset_scripts" / "colored_mnist" / "build.py"
REPO = "alice/colored-mnist"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_source(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def flags(source: Path) -> list[str]:
    return ["--source", str(source), "--label_rule", "zero_vs_one"]


@pytest.fixture(scope="module")
def published(
    _hub: LoopbackHub, author: Client, flags: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Repository, Path]:
    folder = tmp_path_factory.mktemp("built")
    finished = author.script(BUILD, *flags, "--output_dir", folder, "--push_to_hub", REPO)
    assert finished.returncode == 0, finished.stderr
    assert f'load_dataset("{REPO}", "fixed_colors")' in finished.stdout
    return _hub.repository("dataset", REPO), folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_commit_holds_every_configuration(published: tuple[Repository, Path]) -> None:
    repository, folder = published
    assert len(repository.history()) == 2  # the Hub's own first one, and the push
    files = repository.files()
    files.pop(".gitattributes")
    assert files == contents(folder)
    expected = {
        f"{name}/{split}-00000-of-00001.parquet"
        for name in CONFIGURATIONS
        for split in ("train", "validation", "test")
    }
    assert set(files) == expected | {f"samples/{name}.png" for name in CONFIGURATIONS} | {"README.md"}


READ = """
import json
from datasets import load_dataset
from huggingface_hub import DatasetCard

try:
    import hf_ood
    raise SystemExit("hf_ood should not be here")
except ModuleNotFoundError:
    pass
repo = "alice/colored-mnist"
data = load_dataset(repo, "unseen_colors")
names = data["train"].features["environment"].names
green = data["train"].filter(lambda i: names[i] == "green_on_black", input_columns="environment")
stream = load_dataset(repo, "unseen_colors", split="test", streaming=True)
first = next(iter(stream))
streamed = sum(1 for row in stream.filter(lambda row: row["environment"] == names.index("random_colors")))
card = DatasetCard.load(repo)
card.validate()
other = load_dataset(repo, "background_shortcut", split="test")
pixels = data["test"][0]["image"].tobytes()
print(json.dumps({
    "rows": {split: len(part) for split, part in data.items()},
    "same_names": other.features["environment"].names == names,
    "same_features": data["test"].features == data["train"].features,
    "green": [len(green), sorted({tuple(color) for color in green["digit_color"]})],
    "default": load_dataset(repo, split="test")["environment"][0] == names.index("random_colors"),
    "stream": [streamed, list(first["image"].size), first["image"].tobytes() == pixels],
    "license": card.data.license,
    "configs": len(card.data.configs),
    "card": card.text,
}))
"""


def test_it_is_read_where_this_package_is_not(published: tuple[Repository, Path], stranger: Client) -> None:
    found = stranger.run(READ)
    assert found["rows"] == {"train": 540, "validation": 60, "test": 120}
    assert found["same_names"] and found["same_features"] and found["default"]
    assert found["green"] == [180, [[0, 255, 0]]]
    assert found["stream"] == [120, [28, 28], True]
    assert (found["license"], found["configs"]) == ("cc-by-sa-3.0", 6)
    code = re.search(r"```python\n(.*?)```", found["card"], re.S)
    assert code
    assert stranger.run(code[1] + "print(len(one))") == 180


def test_the_same_build_is_the_same_bytes_and_no_commit(
    hub: LoopbackHub, published: tuple[Repository, Path], author: Client, flags: list[str], tmp_path: Path
) -> None:
    repository, folder = published
    before = repository.history()
    finished = author.script(
        BUILD,
        *flags,
        "--output_dir",
        tmp_path / "again",
        "--push_to_hub",
        REPO,
        HF_DATASETS_CACHE=str(tmp_path / "cache"),
    )
    assert finished.returncode == 0, finished.stderr
    assert contents(tmp_path / "again") == contents(folder)
    assert repository.history() == before
    assert not [path for method, path, _ in hub.requests if "/commit/" in path or method == "PUT"]


def test_an_interrupted_push_changes_nothing_and_can_be_repeated(
    hub: LoopbackHub, published: tuple[Repository, Path], author: Client, flags: list[str], tmp_path: Path
) -> None:
    repository, _ = published
    before = repository.history()
    push = [*flags, "--seed", "1", "--output_dir", tmp_path, "--push_to_hub", REPO]
    hub.drop("POST", "/commit/")
    hub.fail("POST", "/preupload/", status=500)  # a passing trouble: the client tries again
    finished = author.script(BUILD, *push)
    assert finished.returncode == 2
    assert (
        f"to {REPO} did not get through" in finished.stderr
        and "run the same command again" in finished.stderr
    )
    assert "Traceback" not in finished.stderr and repository.history() == before
    built = contents(tmp_path)
    # Killed while a file is on its way.
    repository.lfs = {
        oid: content
        for oid, content in repository.lfs.items()
        if oid in {file.sha256 for file in repository.commits[before[0]].tree.values()}
    }
    hub.slow("PUT", "/lfs/", seconds=20, times=9)
    program = f"import runpy; runpy.run_path({str(BUILD)!r}, run_name='__main__')"
    hub.requests.clear()
    pid = author.start(program, *push)
    deadline = time.monotonic() + 60
    while hub.faults[-1].times == 9 and time.monotonic() < deadline:
        time.sleep(0.01)
    author.kill(pid)
    assert author.finish().returncode == -9
    assert repository.history() == before
    hub.faults.clear()
    finished = author.script(BUILD, *push)
    assert finished.returncode == 0, finished.stderr
    assert contents(tmp_path) == built
    assert repository.history()[1:] == before
    assert repository.files()["README.md"] == built["README.md"]


def test_a_revision_is_a_branch_of_its_own(
    published: tuple[Repository, Path], author: Client, stranger: Client, flags: list[str], tmp_path: Path
) -> None:
    repository, _ = published
    before = repository.history()
    push = [*flags, "--seed", "5", "--output_dir", tmp_path, "--push_to_hub", REPO, "--revision", "seed5"]
    partial = author.script(BUILD, *push, "--config", "unseen_colors")
    assert partial.returncode == 2
    assert "also holds the configuration(s) background_shortcut" in partial.stderr
    finished = author.script(BUILD, *push)
    assert finished.returncode == 0 and 'revision="seed5"' in finished.stdout
    assert repository.history() == before and repository.history("seed5")[1:] == before
    program = """
import json, datasets
load = lambda revision: datasets.load_dataset(
    "alice/colored-mnist", "unseen_colors", split="test", revision=revision
)
print(json.dumps(load("main")["digit_color"][:] != load("seed5")["digit_color"][:]))
"""
    assert stranger.run(program) is True


def test_private_is_private(
    hub: LoopbackHub,
    published: tuple[Repository, Path],
    author: Client,
    stranger: Client,
    flags: list[str],
    tmp_path: Path,
) -> None:
    push = [*flags, "--config", "fixed_colors", "--output_dir", tmp_path, "--private", "--push_to_hub"]
    finished = author.script(BUILD, *push, "alice/secret")
    assert finished.returncode == 0, finished.stderr
    assert hub.repository("dataset", "alice/secret").private
    load = "import datasets; datasets.load_dataset('alice/secret', split='test')"
    assert stranger.attempt(load, HF_TOKEN="").returncode == 1
    assert stranger.attempt(load).returncode == 0
    refused = author.script(BUILD, *push, REPO)  # public since its first push
    assert refused.returncode == 2 and "exists and is public" in refused.stderr
    for name, token, reason in (("bob/data", TOKEN, "403"), ("alice/other", "hf_wrong", "401")):
        refused = author.script(BUILD, *push, name, HF_TOKEN=token)
        assert refused.returncode == 2 and reason in refused.stderr and token not in refused.stderr


OWN = """
import datasets
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hf_ood.data import CardText, add_environments, publish_dataset

features = Features({"text": Value("string"), "site": Value("string"),
                     "label": ClassLabel(names=["bad", "good"])})
train = {"text": ["fine", "poor", "dull"], "label": [1, 0, 0], "site": ["a", "b", "a"]}
test = {"text": ["great"], "label": [1], "site": ["c"]}
reviews = DatasetDict(train=Dataset.from_dict(train, features), test=Dataset.from_dict(test, features))
publish_dataset(reviews, "alice/colored-mnist-too", CardText("Reviews", "mit"))
"""


def test_own_data_are_published_by_the_same_code(hub: LoopbackHub, author: Client, stranger: Client) -> None:
    refused = author.attempt(OWN)
    assert refused.returncode == 1 and "no column 'environment'" in refused.stderr
    assert ("dataset", "alice/colored-mnist-too") not in hub.repositories
    author.run(OWN.replace("(reviews,", "(add_environments(reviews, column='site'),"))
    program = """
import json, datasets
data = datasets.load_dataset("alice/colored-mnist-too")
names = data["test"].features["environment"].names
print(json.dumps([names, [names[i] for i in data["train"]["environment"]], data["test"]["text"][:]]))
"""
    assert stranger.run(program) == [["a", "b", "c"], ["a", "b", "a"], ["great"]]
    card = hub.repository("dataset", "alice/colored-mnist-too").files()["README.md"].decode()
    assert "task_categories:\n- text-classification" in card and "| train | a | 2 | 1 | 1 |" in card
