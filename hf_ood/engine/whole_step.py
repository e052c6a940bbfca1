"""One optimizer step in the hands of an update: exact slopes of the objective, micro-batch by micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from accelerate.utils import broadcast
from torch import Tensor, nn

from ..methods.objectives.functional import at_least_float32, environment_sums
from ..methods.updates import Gradient, Slope
from .exact_step import ExactStep
from .replay import RandomState, preserved_buffers, random_state, restore_random_state


@dataclass(frozen=True)
class StepSettings:
    """What a step needs to know beside its samples: its number (from 0), how many there are, the optimizer,
    its learning rate, the largest gradient norm (0: any), float16's loss scaler, and the run's seed."""

    step: int
    total_steps: int
    optimizer: Any
    learning_rate: float
    max_grad_norm: float = 0.0
    scaler: Any = None
    seed: int = 0


class WholeStep:
    """The `Window` of an optimizer step.

    Gradients come from `torch.autograd.grad` on the network without its DDP wrapper and are added up over
    processes once for each slope, not in every backward pass. Samples that are looked at again (at other
    weights) see the same dropout and leave batch statistics, logs and the objective's state alone. Under
    float16, losses are scaled before they are differentiated and gradients scaled back; they are finite.
    """

    def __init__(
        self, exact: ExactStep, model: nn.Module, batches: Sequence[dict[str, Any]], settings: StepSettings
    ):
        self.exact, self.model, self.batches, self.settings = exact, model, batches, settings
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.device = self.parameters[0].device
        self.parts: dict[str, Tensor] = {}  # of the objective, over all samples, for the log
        self._seen: dict[int | None, RandomState] = {}  # what was looked at -> the random state at its start
        if exact.reduction.processes > 1:
            broadcast(list(model.buffers()))  # as DDP's forward pass does

    @cached_property
    def counts(self) -> Tensor:
        """Samples of each environment, over all micro-batches and processes -> float [E]."""
        ids = torch.cat([batch["environment"] for batch in self.batches])
        ones = torch.ones(len(ids), device=ids.device)
        counts = environment_sums(ones, ids, self.exact.num_environments)
        return self.exact.reduction.add(counts.to(self.device))

    @cached_property
    def environments(self) -> list[int]:
        return self.counts.nonzero().flatten().tolist()

    @property
    def learning_rate(self) -> float:
        return self.settings.learning_rate

    @cached_property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.settings.step)

    def slope(self, environment: int | None = None) -> Slope:
        loss, *gradient = self._within_range(lambda: self._slope(environment))
        return Slope(loss, gradient)

    def _slope(self, environment: int | None) -> list[Tensor]:
        totals = [at_least_float32(torch.zeros_like(parameter)) for parameter in self.parameters]
        value = torch.zeros((), device=self.device)
        for loss in self._losses(environment):
            parts = torch.autograd.grad(self._scale(loss), self.parameters, materialize_grads=True)
            for total, part in zip(totals, parts, strict=True):
                total += part
            value += loss.detach()
        return self.exact.reduction.mean_of([value, *self._unscaled(totals)])

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
        return self.exact.reduction.mean_of(self._unscaled(totals))

    def _within_range(self, differentiate: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Again with a smaller loss scale while float16 overflows: an update moves weights along a gradient,
        or masks it, before the optimizer looks whether it is finite."""
        scaler = self.settings.scaler
        found = differentiate()
        while scaler is not None and scaler.get_scale() > 1 and not all(t.isfinite().all() for t in found):
            scaler.update(scaler.get_scale() * scaler.get_backoff_factor())
            found = differentiate()
        return found

    def optimizer_step(self, gradient: Gradient) -> None:
        self.leave(gradient)
        scaler, optimizer = self.settings.scaler, self.settings.optimizer
        if self.settings.max_grad_norm > 0:
            if scaler is not None:
                scaler.unscale_(getattr(optimizer, "optimizer", optimizer))
            torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()

    def leave(self, gradient: Gradient) -> None:
        """Put a gradient where the optimizer looks for it."""
        for parameter, part in zip(self.parameters, gradient, strict=True):
            # A copy: clipping and the optimizer's unscaling change it in place.
            parameter.grad = self._scale(part).to(parameter.dtype, copy=True)

    def _scale(self, tensor: Tensor) -> Tensor:
        """`tensor` times the loss scale of float16 training; the optimizer divides by it."""
        scaler = self.settings.scaler
        return tensor if scaler is None else scaler.scale(tensor)

    def _unscaled(self, gradient: Gradient) -> Gradient:
        if self.settings.scaler is None:
            return gradient
        scale = self._scale(torch.ones((), device=self.device))
        return [part / scale for part in gradient]

    def _losses(self, environment: int | None) -> Iterator[Tensor]:
        """This process's share of the loss of each micro-batch, with graph."""
        batches = self.batches if environment is None else self._batches_of(environment)
        again = environment in self._seen
        counts = None
        if environment is not None:
            chosen = torch.arange(len(self.counts), device=self.counts.device) == environment
            counts = self.counts * chosen
        if not batches:  # its samples are on other processes: all there is here depends on the weights
            penalty = self.exact.objective.parameter_penalty(self.parameters, self.settings.step)
            if penalty is not None:
                yield penalty
            return
        if again:
            restore_random_state(self._seen[environment])
        else:
            self._seen[environment] = random_state(batches[0])
        step, total = self.settings.step, self.settings.total_steps
        with preserved_buffers(self.model) if again else nullcontext():
            self.exact.begin(self.model, batches, step, total, counts, repeated=again)
            for batch in batches:
                yield self.exact.share(batch)
        if not again and environment is None:
            self.parts = self.exact.finish()

    def _batches_of(self, environment: int) -> list[dict[str, Any]]:
        """The micro-batches' samples of one environment; a micro-batch without any is left out."""
        found = []
        for batch in self.batches:
            rows = (batch["environment"] == environment).nonzero().flatten()
            if len(rows):
                found.append({name: values[rows] for name, values in batch.items()})
        return found
