"""The recipes by the names of the field's data sets, on tiny data sets of their schemas, read from a Hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub.clients import TOKENS, Client
from tiny_models import save_image_model

pytestmark = pytest.mark.slow

PACS = "dog elephant giraffe guitar horse house person".split()
PUSH = """
import sys
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as Picture
name, domains, labels = sys.argv[1], sys.argv[2].split(","), sys.argv[3].split(",")
rows = [(domain, label) for domain in domains for label in range(len(labels)) for _ in range(3)]
Dataset.from_dict(
    {
        "image": [Picture.new("RGB", (24, 20), (n % 255, 9 * label, 0)) for n, (_, label) in enumerate(rows)],
        "domain": [domain for domain, _ in rows],
        "label": [label for _, label in rows],
    },
    Features({"image": Image(), "domain": Value("string"), "label": ClassLabel(names=labels)}),
).push_to_hub(name)
"""
TRAIN = """
import json, sys
from hf_ood.cli.train import main
results = main(sys.argv[1:])
print(json.dumps({name: [entry["split"], entry["count"]] for name, entry in results["environments"].items()}))
"""


@pytest.mark.parametrize(
    ("recipe", "name", "domains", "labels", "held_out"),
    [
        ("pacs", "flwrlabs/pacs", ["art_painting", "cartoon", "photo", "sketch"], PACS, "sketch"),
        pytest.param(
            "office_home",
            "flwrlabs/office-home",
            ["Art", "Clipart", "Product", "Real World"],
            ["Alarm_Clock", *(f"Thing_{number}" for number in range(2, 66))],
            "Real World",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_a_recipe_of_the_field(
    recipe: str,
    name: str,
    domains: list[str],
    labels: list[str],
    held_out: str,
    author: Client,
    tmp_path: Path,
) -> None:
    token = next(token for token, user in TOKENS.items() if user == "flwrlabs")
    pushed = author.attempt(PUSH, name, ",".join(domains), ",".join(labels), HF_TOKEN=token)
    assert pushed.returncode == 0, pushed.stderr
    few = "--max_steps 1 --eval_strategy no --save_strategy no --load_best_model_at_end false --use_cpu true"
    flags = f"{few} --per_device_train_batch_size 6 --num_threads 1 --disable_tqdm true".split()
    trained = author.attempt(
        TRAIN,
        *[
            "--config",
            recipe,
            "--test_environments",
            held_out,
            "--model",
            str(save_image_model(tmp_path / "model")),
        ],
        *[*flags, "--output_dir", str(tmp_path / "run")],
    )
    assert trained.returncode == 0, trained.stderr
    found = json.loads(trained.stdout.splitlines()[-1])
    rows = 3 * len(labels)
    assert found.pop(held_out) == ["test", rows]
    assert found == {domain: ["validation", round(0.2 * rows)] for domain in domains if domain != held_out}
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"- {name}" in card
