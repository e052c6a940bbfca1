"""Published checkpoints: pushed from a run's folder, loaded by someone who does not have this package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub.clients import ROOT, TOKEN, Client
from hub.loopback import LoopbackHub
from hub.tiny import write_tiny_source
from PIL import Image
from tiny_models import save_text_model
from transformers import AutoImageProcessor, PreTrainedModel, pipeline, set_seed

from hf_ood.cli.train import main
from hf_ood.evaluation.results import RESULTS_FILE
from hf_ood.files import all_or_nothing
from hf_ood.hub import write_model_card
from hf_ood.hub.push import published_files
from hf_ood.models import MODELS, image_processor

TRAIN, PUSH = ROOT / "trainers" / "train.py", ROOT / "trainers" / "push.py"
TINY = (
    "--max_steps 2 --per_device_train_batch_size 48 --num_threads 1 --use_cpu true --disable_tqdm true "
    "--save_strategy steps --save_steps 1 --eval_strategy no --colored_mnist.label_rule zero_vs_one"
).split()
LENETS: dict[str, dict[str, Any]] = {
    f"lenet-{name}": {name: True} for name in ("instance_norm", "edge_branch", "color_canonicalization")
} | {"lenet-all": {"instance_norm": True, "edge_branch": True, "color_canonicalization": True}}
LENETS["lenet-edge_structure"] = {"edge_structure": "tensor"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in MODELS},
    **{name: ("lenet", options) for name, options in LENETS.items()},
}
PIXELS = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with its checkpoints and optimizer states, in this process."""
    source = write_tiny_source(tmp_path_factory.mktemp("digits"))
    folder = tmp_path_factory.mktemp("runs") / "run"
    main([*TINY, "--colored_mnist.source", str(source), "--output_dir", str(folder)])
    assert list(folder.glob("checkpoint-*/training_args.bin")) and list(
        folder.glob("checkpoint-*/optimizer.pt")
    )
    return folder


def make(case: str) -> PreTrainedModel:
    name, options = CASES[case]
    config, model = MODELS[name]
    set_seed(0)
    return model(
        config(**options, id2label={0: "small", 1: "large"}, label2id={"small": 0, "large": 1})
    ).eval()


PUSH_ALL = """
import json, sys
from pathlib import Path
from hf_ood.hub import push
for folder in sorted(Path(sys.argv[1]).iterdir()):
    push(folder, f"alice/{folder.name}")
"""
LOAD_ALL = """
import json, sys
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

found = {}
image = Image.open(sys.argv[1])
for name in sys.argv[2:]:
    repo = f"alice/{name}"
    processor = AutoImageProcessor.from_pretrained(repo, trust_remote_code=True)
    model = AutoModelForImageClassification.from_pretrained(repo, trust_remote_code=True).eval()
    with torch.no_grad():
        logits = model(**processor(image, return_tensors="pt")).logits[0].tolist()
    scores = pipeline("image-classification", model=repo, trust_remote_code=True)(image)
    found[name] = [logits, {entry["label"]: entry["score"] for entry in scores}]
assert "hf_ood" not in sys.modules
print(json.dumps(found))
"""


@pytest.mark.nightly
def test_every_model_gives_the_same_logits_without_this_package(
    hub: LoopbackHub, author: Client, stranger: Client, run_folder: Path, tmp_path: Path
) -> None:
    results = json.loads((run_folder / RESULTS_FILE).read_text())
    for case in CASES:
        folder = tmp_path / "runs" / case
        make(case).save_pretrained(folder)
        image_processor(28, 28).save_pretrained(folder)
        write_model_card(results, folder)
        shutil.copy(run_folder / RESULTS_FILE, folder)
    author.run(PUSH_ALL, tmp_path / "runs")
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    found = stranger.run(LOAD_ALL, tmp_path / "image.png", *CASES)
    pixels = torch.from_numpy(PIXELS).permute(2, 0, 1)[None] / 255
    for case in CASES:
        with torch.no_grad():
            logits = make(case)(pixels).logits[0]
        torch.testing.assert_close(torch.tensor(found[case][0]), logits, rtol=1e-5, atol=1e-5)
        scores = dict(zip(("small", "large"), logits.softmax(0).tolist(), strict=True))
        assert found[case][1] == pytest.approx(scores, abs=1e-5)


@pytest.mark.slow
def test_what_is_published_and_what_never_is(hub: LoopbackHub, author: Client, run_folder: Path) -> None:
    before = {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    for _ in range(2):  # the second push changes nothing
        finished = author.script(PUSH, "--run", run_folder, "--repo_id", "alice/run")
        assert finished.returncode == 0, finished.stderr
    repository = hub.repository("model", "alice/run")
    assert len(repository.history()) == 2
    assert set(repository.files()) - {".gitattributes"} == {
        "README.md",
        "results.json",
        "curves.png",
        "model.safetensors",
        "config.json",
        "preprocessor_config.json",
        "configuration_lenet.py",
        "modeling_lenet.py",
        "color_canonicalization.py",
        "edge_structure.py",
        "image_processing_lenet.py",
    }
    assert repository.files()["model.safetensors"] == (run_folder / "model.safetensors").read_bytes()
    card = repository.files()["README.md"].decode()
    assert 'model="alice/run"' in card and 'model="."' not in card
    assert not any(TOKEN.encode() in body for body in hub.received)
    assert {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()} == before


def test_a_published_text_classifier_reads_texts(tmp_path: Path) -> None:
    folder = save_text_model(tmp_path / "run")
    for name in ("README.md", RESULTS_FILE):
        (folder / name).write_text("{}")
    (tmp_path / "published").mkdir()
    for file in published_files(folder):
        shutil.copy(file, tmp_path / "published")
    own, published = (
        pipeline("text-classification", model=str(tmp_path / name)) for name in ("run", "published")
    )
    assert published("good film") == own("good film")


@pytest.mark.slow
def test_a_push_that_fails_says_how_to_go_on(
    hub: LoopbackHub, author: Client, run_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    push = ["--run", folder, "--repo_id", "alice/fails", "--private", "--revision", "v2"]
    hub.drop("PUT", "/lfs/")  # and once more: the client tries again
    hub.drop("POST", "/commit/")
    finished = author.script(PUSH, *push)
    assert finished.returncode == 2 and "Traceback" not in finished.stderr
    command = f"hf-ood publish --run {folder} --repo_id alice/fails --private --revision v2"
    assert command in finished.stderr and TOKEN not in finished.stderr
    repository = hub.repository("model", "alice/fails")
    assert repository.private and len(repository.history("v2")) == 1
    assert all((folder / file.name).read_bytes() == file.read_bytes() for file in published_files(run_folder))
    hub.requests.clear()
    finished = author.script(PUSH, *command.split()[2:])
    assert finished.returncode == 0, finished.stderr
    assert len(repository.history("v2")) == 2 and len(repository.history()) == 1
    assert not [path for method, path, _ in hub.requests if method == "PUT"]  # uploaded once is enough


@pytest.mark.slow
def test_what_is_no_finished_run_is_not_published(
    hub: LoopbackHub, author: Client, run_folder: Path, tmp_path: Path
) -> None:
    program = "import sys; from hf_ood.hub import push; push(sys.argv[1], 'alice/never')"

    def refused(change: Any) -> str:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(run_folder, tmp_path / "run")
        change(tmp_path / "run")
        finished = author.attempt(program, tmp_path / "run")
        assert finished.returncode == 1 and ("model", "alice/never") not in hub.repositories
        return finished.stderr

    assert "it lacks results.json" in refused(lambda folder: (folder / RESULTS_FILE).unlink())
    weights = "model.safetensors"
    assert f"{weights} is missing" in refused(lambda folder: (folder / weights).unlink())
    assert "is damaged" in refused(lambda folder: os.truncate(folder / weights, 500))
    assert "names modeling_lenet.py" in refused(lambda folder: (folder / "modeling_lenet.py").unlink())
    leaked = refused(lambda folder: (folder / "README.md").write_text(f"my token {TOKEN}"))
    assert "README.md holds your access token" in leaked and TOKEN not in leaked.splitlines()[-1]


@pytest.mark.slow
def test_push_to_hub_of_train_means_the_finished_run(
    hub: LoopbackHub, author: Client, tmp_path: Path
) -> None:
    source = write_tiny_source(tmp_path / "digits")
    folder = tmp_path / "run"
    flags = [*TINY, "--colored_mnist.source", source, "--push_to_hub", "true"]
    mistakes = {
        "needs --hub_model_id": flags,
        "bob/model cannot be written to": [*flags, "--hub_model_id", "bob/model"],
    }
    for message, wrong in mistakes.items():
        finished = author.script(TRAIN, *wrong, "--output_dir", folder)
        assert finished.returncode == 2 and message in finished.stderr
        assert not folder.exists()  # found before any training
    flags += ["--output_dir", folder, "--hub_model_id", "alice/trained", "--hub_token", TOKEN]
    hub.fail("POST", "/commit/", status=500)
    finished = author.script(TRAIN, *flags, HF_TOKEN="")
    assert finished.returncode == 2
    command = f"hf-ood publish --run {folder} --repo_id alice/trained"
    assert command in finished.stderr and "selection: last step" in finished.stdout
    finished = author.script(PUSH, *command.split()[2:])
    assert finished.returncode == 0, finished.stderr
    repository = hub.repository("model", "alice/trained")
    assert json.loads(repository.files()["results.json"])["steps"] == 2
    assert len(repository.history()) == 2 and "training_args.bin" not in repository.files()
    assert not any(TOKEN.encode() in body for body in hub.received)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in written)  # not even in checkpoints


def test_the_processor_makes_images_of_the_size_that_was_trained_on(tmp_path: Path) -> None:
    source = write_tiny_source(tmp_path / "digits")
    small = "--colored_mnist.stride 2 --model mlp --mlp.image_size 14 --mlp.stride 1".split()
    main([*TINY, *small, "--colored_mnist.source", str(source), "--output_dir", str(tmp_path / "run")])
    processor = AutoImageProcessor.from_pretrained(tmp_path / "run")
    assert processor(Image.new("RGB", (40, 30)), return_tensors="pt")["pixel_values"].shape == (1, 3, 14, 14)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """600 kB, of which a run fills most."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("left", [20_000, 150_000, 290_000])
def test_a_full_disk_leaves_the_files_of_before(run_folder: Path, small_disk: Path, left: int) -> None:
    folder = small_disk / "run"
    folder.mkdir()
    for file in published_files(run_folder):
        shutil.copy(file, folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(max(free - left, 0)))
    with (
        pytest.raises(OSError, match="keeps the files that it had"),
        all_or_nothing(folder, RESULTS_FILE) as new,
    ):
        make("lenet-all").save_pretrained(new)
        (new / "curves.png").write_bytes(bytes(100_000))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
