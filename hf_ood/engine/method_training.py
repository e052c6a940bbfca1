"""A method at work on a network, from the first step of a training to its last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..methods.averaging import Averaging
from ..methods.masking import FeatureTransform
from ..methods.objectives import Objective
from ..methods.updates import Update
from .exact_step import ExactStep, Forward
from .frozen_start import FrozenStart
from .own_parameters import average_gradients, rest
from .pull_to_start import PullToStart
from .reduction import Reduction
from .state import Stateful
from .training_record import TrainingRecord
from .weight_average import WeightAverage
from .whole_step import StepSettings, WholeStep

Batches = Sequence[dict[str, Any]]


class MethodTraining:
    """What happens in and between the optimizer steps of one training; `stateful` is all that lives between.

    The loop that owns it says what a step is made of (`receive`). For each micro-batch it calls `begin_step`,
    then `share` and backward or, with an update, `update_step` alone, and `after_backward`.
    `forward`, `first_pass_graph`: see `ExactStep`; `l2_sp`: see `PullToStart`; `frozen_start`: what `forward`
    compares the network with, if it does. `prepare` places a micro-batch where the network is.
    """

    def __init__(
        self,
        objective: Objective,
        feature_transform: FeatureTransform | None,
        update: Update | None,
        averaging: Averaging | None,
        *,
        model: nn.Module,
        forward: Forward,
        environment_names: Sequence[str],
        reduction: Reduction,
        device: torch.device,
        prepare: Callable[[dict[str, Any]], dict[str, Any]],
        first_pass_graph: bool = False,
        l2_sp: float = 0.0,
        frozen_start: FrozenStart | None = None,
    ):
        self.objective, self.feature_transform, self.update = objective, feature_transform, update
        self.device, self.prepare, self.frozen_start = device, prepare, frozen_start
        self.record = TrainingRecord(environment_names, device, reduction)
        self.pull = PullToStart(model, l2_sp) if l2_sp else None
        self.average = None if averaging is None else WeightAverage(averaging, model)
        number = len(environment_names)
        self.exact = ExactStep(objective, forward, number, reduction, self.record.add_batch, first_pass_graph)
        self.shares = 0  # micro-batches that the objective has been applied to
        self.receive([])

    @property
    def stateful(self) -> dict[str, Stateful]:
        """What lives between steps, by the name of its file in a checkpoint."""
        parts: dict[str, Stateful] = {"objective": self.objective, "training_record": self.record}
        if self.average is not None:
            parts["averaging"] = self.average
        if self.frozen_start is not None:
            parts["frozen_start"] = self.frozen_start
        return parts if self.pull is None else {**parts, "start": self.pull}

    def averaged_weights(self) -> AbstractContextManager[None]:
        """Within, the network has averaged weights, if there are any."""
        return nullcontext() if self.average is None else self.average.swapped_in()

    def receive(self, batches: Batches) -> None:
        """The micro-batches of the next optimizer step."""
        self._batches, self._done = list(batches), 0

    def begin_step(self, inputs: dict[str, Any], step: int, total_steps: int, optimizer: Any) -> None:
        """Before each micro-batch: at the first of a step, what happens once, before any forward pass."""
        self._batches = self._batches or [inputs]
        self._step, self._total_steps = step, total_steps
        if self._done:
            return
        if self.feature_transform is not None:
            self.feature_transform.progress = step / max(total_steps, 1)
        for parameter in self.objective.parameters():
            parameter.grad = None  # who clears the network's gradients does not know of these
        if optimizer is not None and self.objective.resets_optimizer(step):
            optimizer.state.clear()  # in place: wrappers and schedulers hold on to it

    def share(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """The next micro-batch's share of the loss of the step, `inputs` where the network is -> []."""
        if self._done == 0:
            several = len(self._batches) > 1
            batches = [self.prepare(batch) for batch in self._batches] if several else [inputs]
            self.exact.begin(model, batches, self._step, self._total_steps)
        loss = self.exact.share(inputs)
        self._done, self.shares = self._done + 1, self.shares + 1
        if self._done >= len(self._batches):
            self.record.add_step(self.exact.finish())
            self.receive([])
        return loss

    def update_step(self, model: nn.Module, settings: StepSettings) -> Tensor:
        """Hand the update all micro-batches at the last of them -> the loss, [], 0 before."""
        self._done += 1
        if self.update is None or self._done < len(self._batches):
            return torch.zeros((), device=self.device)
        whole = WholeStep(self.exact, model, [self.prepare(batch) for batch in self._batches], settings)
        direction = self.update(whole)
        whole.leave(direction.gradient)
        self.record.add_step({**whole.parts, **direction.parts})
        self.receive([])
        return direction.loss

    def after_backward(self, model: nn.Module, loss: Tensor, is_last: bool) -> None:
        """After each micro-batch; at the last of a step, gradients of the objective's own are averaged over
        processes, who rests in this step has none, and the others get the pull of `l2_sp`."""
        self.record.add_loss(loss)
        if is_last and self.objective.parameters():
            average_gradients(self.objective, self.exact.reduction)
            rest(self.objective, model, self._step)
        if is_last and self.pull is not None:
            self.pull.add_to_gradients()

    @property
    def outputs(self) -> Mapping[str, Any] | Any:
        """All that the network gave for the last micro-batch."""
        return self.exact.outputs.network
