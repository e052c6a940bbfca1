"""Updates under the loss scale of float16 training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args
from methods.updates.tiny_step import COUNTS, Keep, Tiny, make_data, make_tiny, same, start, train, weights_of

from hf_ood import OODTrainer
from hf_ood.methods.registry import build_method
from hf_ood.methods.updates import UPDATES


@pytest.mark.parametrize("name", UPDATES)
def test_a_loss_scale_changes_nothing_else(name: str, tmp_path: Path) -> None:
    """As float16 training has one, on a GPU: a float32 network must not notice."""
    plain, _ = train(tmp_path, name)
    method = vars(build_method(name))
    scaled = OODTrainer(make_tiny(), plain.args, **method, train_dataset=make_data())
    scaled.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled.train()
    assert same(weights_of(scaled), weights_of(plain))
    assert not same(weights_of(scaled), start())


class Half(Tiny):
    """The network in float32, its layers in float16, as a GPU would run it."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", torch.float16):
            return super().forward(*args, **kwargs)


@pytest.mark.parametrize("name", UPDATES)
def test_what_float16_cannot_hold_is_differentiated_again(name: str, tmp_path: Path) -> None:
    """A loss scale at which gradients overflow gives the step that one gives at which none does."""
    args = train(tmp_path, name)[0].args
    found = {}
    for scale in (2.0**4, 2.0**24):
        model, keep = make_tiny(Half).float(), Keep()
        trainer = OODTrainer(
            model, args, **vars(build_method(name)), train_dataset=make_data(), callbacks=[keep]
        )
        scaler = trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        keep.trainer = trainer
        trainer.train()
        assert (scaler.get_scale() < scale) == (scale == 2.0**24)
        assert keep.counted == list(COUNTS)
        assert all(math.isfinite(value) for value in trainer.state.log_history[0].values())
        found[scale] = torch.cat([weight.flatten() for weight in weights_of(trainer).values()])
    start_at = torch.cat([weight.flatten() for weight in start().values()]).float()
    ways = [weights - start_at for weights in found.values()]
    assert ways[0].norm() > 0
    assert torch.nn.functional.cosine_similarity(*ways, dim=0) > 0.99


def test_float16_is_refused_where_it_would_do_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"fp16 does nothing on a CPU.*Use --bf16"):
        OODTrainer(make_tiny(), make_args(tmp_path, fp16=True), train_dataset=make_data())
