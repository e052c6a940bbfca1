"""The second tab of the demonstration page: an emoji in its six styles, named by two heads of one encoder.

The encoder, which was trained on ImageNet, is too large for the page: its features of some emoji are computed
here, once, and the heads, a matrix each, answer in the browser.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Image

from hf_ood.data.emoji_styles import STYLES, load_emoji_styles
from hf_ood.evaluation import load_results
from hf_ood.evaluation.leaderboard import BASELINE, make_board
from hf_ood.evaluation.prediction import load_classifier
from hf_ood.evaluation.results import RESULTS_FILE
from hf_ood.evaluation.selection import TrainingValidation
from hf_ood.experiments.bench.kept import KEPT, find_kept, kept_budget, values_of
from hf_ood.experiments.forecast.outputs import outputs_of_rows
from hf_ood.models.penultimate import last_linear

BENCH, HELD_OUT = "emoji_styles", "fluent_high_contrast"
TRAIN = f"hf-ood train --config bench/{BENCH} --test_environments {HELD_OUT} --seed 0"
PER_CLASS = 2  # emoji of each class that the page has
TOLERANCE = 1e-3  # of logits: features times head against the whole network
TOLD, NUMBERS = "emoji.json", "emoji.bin"


@dataclass(frozen=True)
class Head:
    """A method with its hyper-parameters, and the bench's verdict on it."""

    method: str
    values: Mapping[str, Any]
    verdict: str = ""

    @property
    def command(self) -> str:
        own = "".join(f" --{name} {value}" for name, value in self.values.items())
        return f"{TRAIN} --method {self.method}{own} --output_dir runs/demo/emoji_{self.method}"


def heads() -> list[Head]:
    """ERM and the bench's best method after it, each with the hyper-parameters that held-out samples of the
    training styles chose."""
    (kept,) = find_kept(kept_budget(KEPT), KEPT, [BENCH])
    protocol = TrainingValidation.name
    board = make_board(kept.choices, protocol)
    assert board is not None, "the bench that came with the package is complete"
    method = next(name for name in board.rows if name != BASELINE)
    found = board.rows[method].difference
    assert found is not None
    verdict = f"{found.difference.mean:+.2f} ± {found.difference.half_width:.2f} points over ERM"
    choices = kept.choices.set_index(["method", "held_out", "seed", "protocol"])["values"]

    def values(name: str) -> dict[str, Any]:
        return values_of(choices.loc[(name, HELD_OUT, 0, protocol)])

    counted = f"{verdict} over {len(kept.choices['held_out'].unique())} styles and {found.difference.n} seeds"
    return [Head(BASELINE, values(BASELINE)), Head(method, values(method), counted)]


def build_emoji(
    output_dir: Path, runs_dir: Path, train: Callable[[str, Path], None], flags: Sequence[str] = ()
) -> list[str]:
    """Write `emoji.json` and `emoji.bin`; returns the commands. `train(command, folder)` carries one out,
    with `flags` beside its own.

    The numbers are float32, little-endian: features [emoji, styles, D], then weights [C, D] and biases [C] of
    each head. Raises `SystemExit` where features and a head do not give the network's logits.
    """
    own = heads()
    commands = [" ".join([head.command, *flags]) for head in own]
    folders = [runs_dir / f"emoji_{head.method}" for head in own]
    for command, folder in zip(commands, folders, strict=True):
        if not (folder / RESULTS_FILE).is_file():
            train(command, folder)
    chosen, rows = picked(load_emoji_styles()["test"])
    features: np.ndarray | None = None
    numbers: list[np.ndarray] = []
    for folder in folders:
        model, processor = load_classifier(str(folder))
        seen = outputs_of_rows(model, processor, rows, ["image"], None)
        features = seen.features if features is None else features
        layer = last_linear(model)
        weight, bias = (part.detach().numpy() for part in (layer.weight, layer.bias))
        if np.abs(features @ weight.T + bias - seen.logits).max() > TOLERANCE:
            raise SystemExit(f"{folder} is no head on the features of {folders[0]}: delete both.")
        numbers += [weight, bias]
    assert features is not None
    flat = np.concatenate([part.astype("<f4").reshape(-1) for part in (features, *numbers)])
    (output_dir / NUMBERS).write_bytes(flat.tobytes())
    labels = rows.features["label"].names
    told = {
        "styles": [{"name": name, "seen": name != HELD_OUT} for name in STYLES],
        "labels": labels,
        "size": features.shape[1],
        "emoji": chosen,
        "heads": [
            {
                "name": head.method,
                "title": head.method.upper(),
                "measured": measured(load_results(folder)),
                "verdict": head.verdict,
            }
            for head, folder in zip(own, folders, strict=True)
        ],
        "commands": commands,
    }
    (output_dir / TOLD).write_text(json.dumps(told), encoding="utf-8")
    return commands


def picked(test: Dataset) -> tuple[list[dict[str, Any]], Dataset]:
    """The first `PER_CLASS` test emoji of each class that all six styles have, and their rows, emoji by
    emoji, styles in their order. No emoji is chosen by what a head says of it."""
    places: dict[str, dict[str, int]] = {}
    styles, labels = test.features["environment"].names, test["label"]
    for place, (emoji, style) in enumerate(zip(test["emoji"], test["environment"], strict=True)):
        places.setdefault(emoji, {})[styles[style]] = place
    chosen: dict[int, list[str]] = {}
    for emoji, own in places.items():
        found = chosen.setdefault(labels[next(iter(own.values()))], [])
        if len(own) == len(STYLES) and len(found) < PER_CLASS:
            found.append(emoji)
    order = [emoji for label in sorted(chosen) for emoji in chosen[label]]
    rows = test.select([places[emoji][style] for emoji in order for style in STYLES])
    files = rows.cast_column("image", Image(decode=False))
    every = len(STYLES)
    told = [
        {
            "emoji": emoji,
            "name": rows["name"][every * n],
            "label": rows["label"][every * n],
            "pictures": [inline(files[every * n + k]["image"]["bytes"]) for k in range(every)],
        }
        for n, emoji in enumerate(order)
    ]
    return told, rows


def inline(picture: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(picture).decode()}"


def measured(results: Mapping[str, Any]) -> str:
    """What a run says of emoji that it never saw, in the style that it never saw and in the others."""
    entry = results["environments"][HELD_OUT]
    return (
        f"Names {100 * entry['accuracy']:.1f} % of {entry['count']} new emoji in the style it never saw, "
        f"{100 * results['in_domain_accuracy']:.1f} % of new emoji in the five others."
    )
