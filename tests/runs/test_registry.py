"""Networks and data sets of a script of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from hf_ood import OODConfig, RunSpec, register, run
from hf_ood.cli.arguments import parse_arguments
from hf_ood.data import EnvironmentDataset
from hf_ood.models import MODELS
from hf_ood.runs.data import BUILT_IN


class OwnConfig(PreTrainedConfig):
    """
    Args:
        width (`int`, *optional*, defaults to 4): Width of the hidden layer.
    """

    model_type = "own_net"
    width: int = 4


class OwnNet(PreTrainedModel):
    config_class = OwnConfig
    base_model_prefix = "hidden"

    def __init__(self, config: OwnConfig):
        super().__init__(config)
        self.hidden = nn.Linear(12, config.width)
        self.classifier = nn.Linear(config.width, config.num_labels)
        self.post_init()

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> ImageClassifierOutput:
        logits = self.classifier(self.hidden(pixel_values.flatten(1)).relu())
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)


def own_sites(configuration: str, *, rows: int = 24, seed: int = 0) -> dict[str, EnvironmentDataset]:
    generator = torch.Generator().manual_seed(seed)

    def part(names: list[str]) -> EnvironmentDataset:
        pixels = torch.rand((rows, 3, 2, 2), generator=generator)
        labels = (pixels.mean((1, 2, 3)) > 0.5).long()
        return EnvironmentDataset(pixels, labels, torch.arange(rows) % len(names), ["dark", "light"], names)

    return {"train": part(["a", "b"]), "validation": part(["a", "b"]), "test": part(["c"])}


@pytest.fixture
def registered() -> Iterator[None]:
    register(OwnNet)
    register(own_sites)
    yield
    MODELS.pop("own_net")
    BUILT_IN.pop("own_sites")


@pytest.mark.usefixtures("registered")
def test_they_are_names_with_options_everywhere(tmp_path: Path) -> None:
    spec = parse_arguments(
        "--model own_net --own_net.width 6 --dataset own_sites --own_sites.rows 36".split()
    )
    assert spec.options == {"own_net": {"width": 6}, "own_sites": {"rows": 36}}
    small = {"max_steps": 2, "per_device_train_batch_size": 8, "num_threads": 1, "quiet": True}
    settings: dict[str, Any] = {
        **{"dataset": "own_sites", "model": "own_net", "method": "irm", "own_net": {"width": 6}},
        **{
            "use_cpu": True,
            "eval_strategy": "no",
            "save_strategy": "no",
            "output_dir": str(tmp_path / "run"),
        },
        **small,
    }
    results = run(RunSpec.from_settings(settings))
    assert set(results["environments"]) == {"a", "b", "c"} and results["dataset"] == "own_sites"
    loaded = AutoModelForImageClassification.from_pretrained(results.folder)
    assert isinstance(loaded, OwnNet) and loaded.config.width == 6
    assert loaded.config.id2label == {0: "dark", 1: "light"}


@pytest.mark.usefixtures("registered")
def test_a_name_is_given_once() -> None:
    for taken in (OwnNet, own_sites):
        with pytest.raises(ValueError, match="a word in lower case that none has, not 'own_"):
            register(taken)
    assert OODConfig().given() == {}
