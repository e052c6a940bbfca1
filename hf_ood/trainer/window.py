"""One optimizer step in the hands of an update: exact slopes of the objective, micro-batch by micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast
from torch import Tensor, nn

from ..objectives.functional import at_least_float32
from ..updates import Gradient, Slope
from .step import (
    OptimizerStep,
    RandomState,
    environment_counts,
    preserved_buffers,
    random_state,
    restore_random_state,
)

if TYPE_CHECKING:
    from .update_trainer import UpdateTrainer


class StepWindow:
    """The `Window` of a trainer's optimizer step.

    Gradients come from `torch.autograd.grad` on the network without its DDP wrapper and are added up over
    processes once for each slope, not in every backward pass. Samples that are looked at again (at other
    weights) see the same dropout and leave batch statistics, logs and the objective's state alone. Under
    float16, losses are scaled before they are differentiated and gradients scaled back; they are finite.
    """

    def __init__(self, trainer: UpdateTrainer, model: nn.Module, batches: list[dict[str, Any]]):
        self.trainer = trainer
        self.model = trainer.accelerator.unwrap_model(model)
        self.batches = [trainer._prepare_inputs(batch) for batch in batches]
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.parts: dict[str, Tensor] = {}  # of the objective, over all samples, for the log
        self._seen: dict[int | None, RandomState] = {}  # what was looked at -> the random state at its start
        model.train()
        if trainer.optimizer is not None and hasattr(trainer.optimizer, "train"):
            trainer.optimizer.train()  # schedule-free optimizers have two modes
        if trainer.accelerator.num_processes > 1:
            broadcast(list(self.model.buffers()))  # as DDP's forward pass does

    @cached_property
    def counts(self) -> Tensor:
        """Samples of each environment, over all micro-batches and processes -> float [E]."""
        environments = [batch["environment"] for batch in self.batches]
        counts = environment_counts(environments, len(self.trainer.environment_names))
        return self.trainer.accelerator.reduce(counts.to(self.trainer.args.device), "sum")

    @cached_property
    def environments(self) -> list[int]:
        return self.counts.nonzero().flatten().tolist()

    @property
    def learning_rate(self) -> float:
        return float(self.trainer._get_learning_rate())

    @cached_property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(
            self.trainer.args.seed * 1_000_003 + self.trainer.state.global_step
        )

    def slope(self, environment: int | None = None) -> Slope:
        loss, *gradient = self._within_range(lambda: self._slope(environment))
        return Slope(loss, gradient)

    def _slope(self, environment: int | None) -> list[Tensor]:
        totals = [at_least_float32(torch.zeros_like(parameter)) for parameter in self.parameters]
        value = torch.zeros((), device=self.trainer.args.device)
        for loss in self._losses(environment):
            parts = torch.autograd.grad(self._scale(loss), self.parameters, materialize_grads=True)
            for total, part in zip(totals, parts, strict=True):
                total += part
            value += loss.detach()
        return self._mean_over_processes([value, *self._unscaled(totals)])

    def curvature(self, environment: int, vector: Gradient) -> Gradient:
        return self._within_range(lambda: self._curvature(environment, vector))

    def _curvature(self, environment: int, vector: Gradient) -> Gradient:
        totals = [at_least_float32(torch.zeros_like(parameter)) for parameter in self.parameters]
        for loss in self._losses(environment):
            gradient = torch.autograd.grad(
                self._scale(loss), self.parameters, create_graph=True, materialize_grads=True
            )
            along = torch.stack([(part * v).sum() for part, v in zip(gradient, vector, strict=True)]).sum()
            parts = torch.autograd.grad(along, self.parameters, materialize_grads=True)
            for total, part in zip(totals, parts, strict=True):
                total += part
        return self._mean_over_processes(self._unscaled(totals))

    def _within_range(self, differentiate: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Again with a smaller loss scale while float16 overflows: an update moves weights along a gradient,
        or masks it, before the optimizer looks whether it is finite."""
        scaler = self.trainer.accelerator.scaler
        found = differentiate()
        while scaler is not None and scaler.get_scale() > 1 and not all(t.isfinite().all() for t in found):
            scaler.update(scaler.get_scale() * scaler.get_backoff_factor())
            found = differentiate()
        return found

    def optimizer_step(self, gradient: Gradient) -> None:
        self.leave(gradient)
        if self.trainer.args.max_grad_norm > 0:
            self.trainer.accelerator.clip_grad_norm_(self.parameters, self.trainer.args.max_grad_norm)
        assert self.trainer.optimizer is not None
        self.trainer.optimizer.step()
        self.trainer.optimizer.zero_grad()

    def leave(self, gradient: Gradient) -> None:
        """Put a gradient where the optimizer looks for it."""
        for parameter, part in zip(self.parameters, gradient, strict=True):
            # A copy: clipping and the optimizer's unscaling change it in place.
            parameter.grad = self._scale(part).to(parameter.dtype, copy=True)

    def _scale(self, tensor: Tensor) -> Tensor:
        """`tensor` times the loss scale of float16 training; the optimizer divides by it."""
        scaler = self.trainer.accelerator.scaler
        return tensor if scaler is None else scaler.scale(tensor)

    def _unscaled(self, gradient: Gradient) -> Gradient:
        if self.trainer.accelerator.scaler is None:
            return gradient
        scale = self._scale(torch.ones((), device=self.trainer.args.device))
        return [part / scale for part in gradient]

    def _losses(self, environment: int | None) -> Iterator[Tensor]:
        """This process's share of the loss of each micro-batch, with graph: as `compute_loss` gives it."""
        step = OptimizerStep(self.batches if environment is None else self._batches_of(environment))
        again = environment in self._seen
        if environment is not None:
            chosen = torch.arange(len(self.counts), device=self.counts.device) == environment
            step.counts = self.counts * chosen
        if not step.batches:  # its samples are on other processes: all there is here depends on the weights
            penalty = self.trainer.objective.parameter_penalty(
                self.parameters, self.trainer.state.global_step
            )
            if penalty is not None:
                yield penalty
            return
        if again:
            restore_random_state(self._seen[environment])
            step.repeated = True
        else:
            self._seen[environment] = random_state(step.batches[0])
        self.trainer._optimizer_step = step
        with preserved_buffers(self.model) if again else nullcontext():
            for batch in step.batches:
                with self.trainer.compute_loss_context_manager():
                    loss = self.trainer.compute_loss(self.model, batch)
                assert isinstance(loss, Tensor)
                yield loss
        if not again and environment is None:
            # Evaluated at known counts, a loss and its parts are this process's alone.
            own = self.trainer.accelerator.num_processes if step.counts is not None else 1
            self.parts = {name: part * own for name, part in step.parts.items()}

    def _batches_of(self, environment: int) -> list[dict[str, Any]]:
        """The micro-batches' samples of one environment; a micro-batch without any is left out."""
        found = []
        for batch in self.batches:
            rows = (batch["environment"] == environment).nonzero().flatten()
            if len(rows):
                found.append({name: values[rows] for name, values in batch.items()})
        return found

    def _mean_over_processes(self, tensors: list[Tensor]) -> list[Tensor]:
        if self.trainer.accelerator.num_processes == 1:
            return tensors
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        parts = self.trainer.accelerator.reduce(flat, "mean").split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
