"""Parameters of the objective's own: they train with the network's but are no part of the network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from ..data import EnvironmentDataset
from ..objectives import Objective
from ..updates import Update
from .step import reduce_sums


class OwnParametersTrainer(Trainer):
    """`Trainer` that optimises the objective's parameters beside the network's.

    They lie outside of what Accelerate wraps, so this does for them what it does for the network: the same
    first weights and the mean of gradients over processes, clipping by the norm of all gradients together.
    """

    objective: Objective
    update: Update | None = None

    def build_objective(self, dataset: EnvironmentDataset, classifier: nn.Linear | None) -> None:
        """Let the objective make its networks; the seed decides their first weights, on every process.

        Raises `ValueError` for parameters under FSDP or DeepSpeed, which shard what they have wrapped, and
        beside an update, which takes the gradients of the network alone.
        """
        counts = torch.bincount(dataset.environments, minlength=len(dataset.environment_names))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.args.seed)
            self.objective.build(
                classifier.in_features if classifier else 0,
                classifier.out_features if classifier else len(dataset.label_names),
                (counts > 0).to(self.args.device),
            )
        if not self.objective.parameters():
            return
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                f"{self.objective.name} trains a network of its own, which FSDP and DeepSpeed do not shard: "
                "launch with plain data parallelism (torchrun), or use another method."
            )
        if self.update is not None:
            raise ValueError(
                f"{self.objective.name} trains a network of its own, which {self.update.name} would not "
                "move: use one of the two."
            )

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        optimizer = super().create_optimizer(*args, **kwargs)
        known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        own = [parameter for parameter in self.objective.parameters() if id(parameter) not in known]
        if own:
            rate = self.objective.learning_rate(self.args.learning_rate)
            optimizer.add_param_group({"params": own, "lr": rate, "weight_decay": 0.0})
        return optimizer

    def training_step(self, model: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(model, *args, **kwargs)
        if self.accelerator.sync_gradients:
            if self.accelerator.num_processes > 1:
                self._average_gradients()
            self._rest(model)
        return loss

    def _rest(self, model: nn.Module) -> None:
        """Take the gradients of the parameters whose turn it is not: an optimizer skips what has none."""
        players = self.objective.players(self.state.global_step)
        for moves, parameters in zip(players, (model.parameters(), self.objective.parameters()), strict=True):
            if not moves:
                for parameter in parameters:
                    parameter.grad = None

    def _average_gradients(self) -> None:
        own = self.objective.parameters()
        gradients = {str(number): p.grad for number, p in enumerate(own) if p.grad is not None}
        if gradients:
            means = reduce_sums(gradients, lambda tensor: self.accelerator.reduce(tensor, "mean"))
            for number, mean in means.items():
                own[int(number)].grad = mean

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        own = self.objective.parameters()
        if not own:
            return super()._clip_grad_norm(model)
        return self.accelerator.clip_grad_norm_([*model.parameters(), *own], self.args.max_grad_norm)
