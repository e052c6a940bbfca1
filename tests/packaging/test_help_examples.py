"""Every example that a `--help` page of the installed wheel prints is run as it is printed.

What a user would have (a table of scans, finished runs, models of the Hub) lies in the working folder under
the names that the examples use; flags that keep a run small are added at the end.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from installed import SHORT, SMALL, examples, install, run
from PIL import Image as Picture
from tiny_models import save_image_model, save_text_model

from hf_ood.__main__ import COMMANDS
from hf_ood.models import LinearConfig, LinearForImageClassification

pytestmark = pytest.mark.nightly
OF_FEW_ROWS = f"--per_device_train_batch_size 12 {SHORT}"
# What is added to an example, by its command; of the first that is found in it.
ADDED = {
    "--executor ray --address": "--list",  # read whole, and not carried out: there is no such cluster
    "reproduce --budget full": "--list",  # hours
    "hf-ood bench": "--list",  # minutes; tests/experiments/bench carries a small one out
    "--verify": "--list",  # minutes; tests/experiments/study verifies a small study
    "reproduce --study": "--dry_run",
    "sweep --": "--trials 1 --seeds 1 --dry_run",
    "train --config quickstart --method": f"--seeds 2 {SMALL}",
    " forecast ": "--yes",
    "train --dataset": OF_FEW_ROWS,
    " train ": SMALL,
    " shift ": "--max_samples 60 --permutations 40",
}
NOT_HERE = {
    "--calibrate": "two steps of training leave nothing to calibrate; tests/cli fits a temperature",
    "...": "is not whole",
    "--push_to_hub": "tests/hub publishes",
    "/path/to/folder": "the same with another folder is tried",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = install(tmp_path_factory.mktemp("examples"))
    write_scans(place)
    save_image_model(place / "google" / "vit-base-patch16-224", layers=2)
    write_texts(place)
    model = LinearForImageClassification(LinearConfig(num_features=3, id2label={0: "no", 1: "yes"}))
    model.save_pretrained(place / "runs" / "vectors")
    vit = "--model google/vit-base-patch16-224"
    scans = "--dataset scans.csv --environment_column hospital --test_environments C"
    run(place, f"hf-ood train {scans} {vit} --output_dir runs/mine {OF_FEW_ROWS}")
    shutil.copytree(place / "runs" / "mine", place / "user" / "scan-vit")
    run(place, f"hf-ood train --config quickstart --output_dir runs/my-run {SMALL}")
    run(
        place,
        f"hf-ood train --config quickstart --method erm irm --seeds 2 --output_dir runs/colours {SMALL}",
    )
    for method in ("erm", "irm"):
        shutil.copytree(place / "runs" / "colours" / f"{method}-seed0", place / "runs" / method)
        for seed in (0, 1):
            shutil.copytree(
                place / "runs/colours" / f"{method}-seed{seed}", place / f"runs/scans-{method}-{seed}"
            )
    for name, rate in (("a", 0.001), ("b", 0.003), ("c", 0.01)):  # of one start
        run(
            place,
            f"hf-ood train --config quickstart --learning_rate {rate} --output_dir runs/erm-{name} {SMALL}",
        )
        shutil.copytree(place / f"runs/erm-{name}", place / f"runs/sweeps/{name}")
    return place


def write_scans(place: Path) -> None:
    random = np.random.default_rng(0)
    (place / "folder_of_images").mkdir()
    rows = []
    for number in range(120):
        ill = int(random.integers(2))
        file = f"folder_of_images/{number}.png"
        Picture.fromarray((random.integers(0, 100, (16, 16, 3)) + 100 * ill).astype(np.uint8)).save(
            place / file
        )
        rows.append({"image": file, "label": ["healthy", "ill"][ill], "hospital": "ABC"[number % 3]})
    scans = pd.DataFrame(rows)
    scans.to_csv(place / "scans.csv", index=False)
    wards = scans.assign(hospital=[f"hospital_{number % 4 + 1}" for number in range(120)])
    wards.to_csv(place / "wards.csv", index=False)
    (place / "my.yaml").write_text(
        "dataset: wards.csv\nenvironment_column: hospital\n"
        "model: mlp\nmlp: {image_size: 16}\nmax_steps: 2\nuse_cpu: true\n"
    )
    features = Features(
        image=Image(),
        label=ClassLabel(names=["healthy", "ill"]),
        hospital=Value("string"),
        environment=Value("string"),
    )
    towns = scans.assign(
        image=[str(place / file) for file in scans["image"]],
        label=(scans["label"] == "ill").astype(int),
        environment=["paris" if number % 2 else "rome" for number in range(120)],
    )
    for split in ("train", "test"):
        file = place / "user" / "scans" / "data" / f"{split}.parquet"
        Dataset.from_dict(towns.to_dict("list"), features=features).to_parquet(file)
    new = scans[["image"]].head(8)
    new.assign(premise="good scan .", hypothesis="bad lung !", x0=0.1, x1=0.2, x2=0.3).to_csv(
        place / "new.csv", index=False
    )


def write_texts(place: Path) -> None:
    save_text_model(place / "bert")
    pairs = pd.DataFrame(
        {"premise": ["good scan .", "bad lung !"] * 30, "hypothesis": ["bad film", "good"] * 30}
    )
    pairs.assign(label=["no", "yes"] * 30, environment=["a", "a", "b", "b", "c", "c"] * 10).to_csv(
        place / "pairs.csv", index=False
    )
    columns = "--text_column premise hypothesis --test_environments c"
    run(
        place,
        f"hf-ood train --dataset pairs.csv {columns} --model bert --output_dir runs/pairs {OF_FEW_ROWS}",
    )


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "completion"])
def test_the_examples_of_a_page_run(place: Path, command: str) -> None:
    found = examples(run(place, f"hf-ood {command} --help"))
    for example in found:
        if any(word in example for word in NOT_HERE):
            continue
        example = example.split(" > ")[0]  # no shell is between
        added = next((flags for part, flags in ADDED.items() if part in example), "")
        run(place, f"{example} {added}")
    assert found or command in ("publish", "methods", "recipes")
