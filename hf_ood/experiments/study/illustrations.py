"""Figures of the report that need no run: what the data look like, and how far they shift."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ...data import colored_mnist_tensors
from ...data.colored_mnist import CONFIGURATIONS
from ...json_files import read_object
from ...reporting.samples import draw_edge_structure, draw_edges, draw_samples
from ...reporting.shift import REPORT_FILE, draw_shifts
from ...reporting.summaries import Illustration

SHIFT_FOLDER = "shift"
FIGURES = {
    "fixed_colors": "Figure 1, data set 1",
    "random_colors": "Figure 3a, data set 2a",
    "random_transforms": "Figure 3b, data set 2b",
    "unseen_colors": "Figure 11, data set 3",
    "background_shortcut": "Figure 16, data set 4",
    "label_noise_shortcut": "Beyond the report, the IRM paper's data",
}


@lru_cache
def illustrations() -> list[Illustration]:
    """Samples of every data set by environment, edge maps (figure 14), and edges without colours."""
    pictures = []
    for name, description in CONFIGURATIONS.items():
        splits = colored_mnist_tensors(name)
        shown = {split: splits[split] for split in ("train", "test")}
        title = f"{FIGURES[name]}: {name}"
        pictures.append(Illustration(f"samples_{name}", title, draw_samples(shown), description))
    test = colored_mnist_tensors("unseen_colors")["test"]
    return [
        *pictures,
        Illustration("figure_14", "Figure 14: images and their edge maps", draw_edges(test)),
        Illustration(
            "edge_structure",
            "Beyond the report: the edge structure, without colours and contrast",
            draw_edge_structure(test),
            "Grey is 0, white 1, black -1; the magnitude is black at 0. Other colours give the same.",
        ),
    ]


def shift_illustration(results_dir: Path) -> list[Illustration]:
    """Every data set in the plane of the two shifts, if they have been measured."""
    file = results_dir / SHIFT_FOLDER / REPORT_FILE
    if not file.exists():
        return []
    report = read_object(file)
    note = (
        "How far the test split has moved away from the training split, after Ye et al. 2022: features that "
        "only one of them has, and shared features that go with other labels. Measured on reduced pixels by: "
        f"{report['command']}"
    )
    return [Illustration("shift", "Diversity and correlation shift", draw_shifts(report["shifts"]), note)]
