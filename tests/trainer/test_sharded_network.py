"""A network that `from_pretrained(..., distributed_config=...)` divides trains as the whole one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sharded_run import train
from transformers import ViTConfig, ViTForImageClassification, set_seed


@pytest.mark.nightly
def test_irm_and_rsc_on_a_divided_vit(tmp_path: Path) -> None:
    set_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=28
    )
    config.patch_size, config.hidden_dropout_prob, config.attention_probs_dropout_prob = 7, 0.0, 0.0
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    worker = str(Path(__file__).with_name("sharded_run.py"))
    launcher = "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc_per_node 2".split()
    shown = subprocess.run(
        [sys.executable, *launcher, worker, str(tmp_path), str(tmp_path / "vit")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert shown.returncode == 0, shown.stderr[-3000:]
    divided = torch.load(tmp_path / "divided.pt")
    whole = train(ViTForImageClassification.from_pretrained(tmp_path / "vit"), tmp_path / "whole", 24)
    assert divided.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(divided[name], value, rtol=1e-4, atol=1e-6, msg=name)
