"""Steps of a network that FSDP2 divides over processes, in a loop without Trainer; gradients go to a file.

One process takes the whole batch with a whole network:

torchrun --nproc_per_node 2 tests/invariants/sharded_step.py FOLDER
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from one_step import DATA, OPTIONS, collate_double, make_divided, with_own_partners
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from hf_ood import RSC
from hf_ood.engine import ExactStep, MethodForward, Reduction, load_parts, save_parts
from hf_ood.methods.objectives import OBJECTIVES, Objective, Outputs

NETWORKS = ("vit", "bert")
MICRO_BATCHES = (1, 2)
# Without those that train a network of their own, which is not divided: the trainer refuses them.
OWN = ("dann", "cdann", "miro", "sagnet")
ADDITIVE = [name for name, cls in OBJECTIVES.items() if cls.additive and name not in OWN]
# Each sample is treated alone, so that it does not matter which process has it.
TRANSFORMED = ("erm", "irm")
# State of the objective, a penalty on weights, a feature transform: what a resumed run has to go on with.
RESUMED = ("irm", "group_dro")
STEPS = 4
MORE: dict[str, dict[str, Any]] = {"ib_irm": {"bottleneck_warmup_steps": 0}}  # acts at once


def processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def make_network(backbone: str) -> tuple[PreTrainedModel, list[dict[str, Any]]]:
    """A network of float64, divided if there are several processes, and this process's part of a batch."""
    model, data = make_divided(backbone, DATA["ragged"])
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(3))
    own = rows[int(os.environ.get("RANK", "0")) :: processes()]
    return model, [collate_double(data.__getitems__(part.tolist())) for part in own.split(4)]


def divide(model: PreTrainedModel) -> None:
    """Layer by layer, as FSDP2 is meant to be used; each layer's weights are freed after its forward pass."""
    mesh = init_device_mesh("cpu", (processes(),))
    body = model.base_model
    for layer in body.encoder.layer if hasattr(body, "encoder") else body.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


class Loop:
    """What a user writes who has no Trainer."""

    def __init__(self, name: str, backbone: str, transform: RSC | None = None):
        self.model, self.batches = make_network(backbone)
        self.objective: Objective = OBJECTIVES[name](**{**OPTIONS.get(name, {}), **MORE.get(name, {})})
        self.objective.start(STEPS)
        samples = {key: part[:2] for key, part in self.batches[0].items() if key != "environment"}
        self.network = MethodForward(self.model, transform, self.objective.needs_features, samples)
        if processes() > 1:
            divide(self.model)
        self.exact = ExactStep(self.objective, self.forward, 3, Reduction.over_processes())
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def forward(self, model: nn.Module, batch: Any) -> Outputs:
        inputs = dict(batch)
        environments = inputs.pop("environment")
        with self.network.catching():
            output = self.network(model, inputs)
        return Outputs(output.logits, inputs["labels"], environments, 3, self.network.features())

    def differentiate(self, step: int, number: int) -> float:
        """Leave the gradients of a step of `number` micro-batches with the network -> its loss."""
        self.model.train()
        batches = join(self.batches, number)
        self.exact.begin(self.model, batches, step, STEPS)
        total = 0.0
        for position, batch in enumerate(batches):
            if isinstance(self.model, FSDPModule):
                self.model.set_requires_gradient_sync(position == number - 1)
            loss = self.exact.share(batch)
            loss.backward()
            total += loss.item()
        self.exact.finish()
        return Reduction.over_processes().mean(torch.tensor(total, dtype=torch.float64)).item()

    def train(self, first: int, last: int) -> None:
        for step in range(first, last):
            self.differentiate(step, 2)
            self.optimizer.step()
            self.optimizer.zero_grad()

    def save(self, folder: Path) -> None:
        model, optimizer = get_state_dict(self.model, self.optimizer)
        dcp.save({"model": model, "optimizer": optimizer}, checkpoint_id=folder / "weights")
        if int(os.environ.get("RANK", "0")) == 0:
            save_parts({"objective": self.objective}, folder)
        if processes() > 1:
            dist.barrier()

    def load(self, folder: Path) -> None:
        model, optimizer = get_state_dict(self.model, self.optimizer)
        state = {"model": model, "optimizer": optimizer}
        dcp.load(state, checkpoint_id=folder / "weights")
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
        load_parts({"objective": self.objective}, folder)

    def gradients(self) -> dict[str, Tensor]:
        return {
            name: whole(parameter.grad)
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None
        }

    def weights(self) -> dict[str, Tensor]:
        return {name: whole(parameter.detach()) for name, parameter in self.model.named_parameters()}


def join(batches: Sequence[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """The same samples in `number` micro-batches."""
    size = len(batches) // number
    parts = [batches[start : start + size] for start in range(0, len(batches), size)]
    return [{key: concatenate([batch[key] for batch in part]) for key in part[0]} for part in parts]


def concatenate(tensors: list[Tensor]) -> Tensor:
    """One after the other; texts of several lengths are padded."""
    if tensors[0].dim() == 2:
        longest = max(tensor.shape[1] for tensor in tensors)
        tensors = [nn.functional.pad(tensor, (0, longest - tensor.shape[1])) for tensor in tensors]
    return torch.cat(tensors)


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.clone()


@with_own_partners
def main(folder: Path) -> None:
    if processes() > 1:
        dist.init_process_group("gloo")
    channel = {"mask": "channel", "restoration": "none"}
    found: dict[str, Any] = {}
    for backbone in NETWORKS:
        cases = [(name, False) for name in ADDITIVE] + [(name, True) for name in TRANSFORMED]
        for name, transformed in cases:
            for number in MICRO_BATCHES:
                loop = Loop(name, backbone, RSC(**channel) if transformed else None)
                loss = loop.differentiate(0, number)
                key = f"{name}{'+rsc' if transformed else ''} {backbone} {number}"
                found[key] = {"loss": loss, "gradients": loop.gradients()}
        for name in RESUMED:
            through = Loop(name, backbone, RSC(**channel))
            through.train(0, STEPS)
            before = Loop(name, backbone, RSC(**channel))
            before.train(0, STEPS // 2)
            kept = folder / f"{name}_{backbone}_{processes()}"
            before.save(kept)
            after = Loop(name, backbone, RSC(**channel))
            after.load(kept)
            after.train(STEPS // 2, STEPS)
            found[f"{name} {backbone} resumed"] = {"through": through.weights(), "resumed": after.weights()}
    if int(os.environ.get("RANK", "0")) == 0:
        torch.save(found, folder / f"{processes()}.pt")
    if processes() > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
