"""One optimizer step over several micro-batches and processes: the objective at the sums of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..methods.objectives import Objective, Outputs, Sums
from ..methods.objectives.functional import environment_means, environment_sums, mean_over_present
from .reduction import ALONE, Awaited, Reduction
from .replay import RandomState, preserved_buffers, random_state, restore_random_state

AUXILIARY_LOSS = "auxiliary_loss"  # its name in a model's output, in the sums and in the log
Batch = Mapping[str, Any]
Forward = Callable[[nn.Module, Batch], Outputs]


class ExactStep:
    """Gives each micro-batch of a step its share of the gradient of the objective of the whole step.

    `forward(model, batch)` runs the network on a micro-batch; a batch has its samples' environments, int64
    [B], as `environment`. Averaged over processes, as DistributedDataParallel does, and added up over
    micro-batches, the shares' gradients are those of the objective at the totals. `observe` is shown the
    outputs of every micro-batch once. `first_pass_graph`: the forward pass that collects the totals keeps its
    graph, for losses whose slopes only autograd knows.

    Example:
        exact = ExactStep(IRM(), forward, num_environments=3)
        for step, micro_batches in enumerate(windows):
            exact.begin(model, micro_batches, step, total_steps=1000)
            for batch in micro_batches:
                exact.share(batch).backward()
            exact.finish()
            optimizer.step()
            optimizer.zero_grad()
    """

    def __init__(
        self,
        objective: Objective,
        forward: Forward,
        num_environments: int,
        reduction: Reduction = ALONE,
        observe: Callable[[Outputs], None] | None = None,
        first_pass_graph: bool = False,
    ):
        self.objective, self.forward, self.num_environments = objective, forward, num_environments
        self.reduction, self.observe, self.first_pass_graph = reduction, observe, first_pass_graph

    def begin(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        step: int,
        total_steps: int = 0,
        counts: Tensor | None = None,
        repeated: bool = False,
    ) -> None:
        """Learn of the whole step what its first micro-batch has to know already.

        `counts`: samples of each environment in the whole step, float [E], if they are known. `repeated`: its
        samples were seen before in this step, so the objective's state and the observer have them already.
        """
        self.model, self.batches, self.step, self.repeated = model, batches, step, repeated
        self._counts: Tensor | None = counts
        self._awaited_counts: Awaited | None = None
        self.parts: dict[str, Tensor] = {}
        self._position = 0
        self._value: Tensor | None = None
        self._slopes: Sums = {}
        self._random_states: list[RandomState] = []
        self.objective.progress = step / max(total_steps, 1)
        divided = len(batches) > 1 or self.reduction.processes > 1
        self._is_whole = not divided and counts is None
        if self.objective.linear and divided and counts is None:
            self._awaited_counts = self._count()  # wanted after the first forward pass
        elif len(batches) > 1 and counts is None:
            self._solve(self.reduction.add_sums(self._first_pass()))

    def share(self, batch: Batch) -> Tensor:
        """The next micro-batch's share of the loss -> [], to be differentiated.

        Its values add up over micro-batches, and average over processes, to the loss of the step.
        """
        if self._random_states:
            restore_random_state(self._random_states[self._position])
        self._position += 1
        self.outputs = self.forward(self.model, batch)
        sums = self._sums(self.outputs)
        if self.observe is not None and not self.repeated:
            self.observe(self.outputs)
        loss = self._evaluate(sums) if self._is_whole else self._share_of(sums)
        trainable = (parameter for parameter in self.model.parameters() if parameter.requires_grad)
        penalty = self.objective.parameter_penalty(trainable, self.step)
        return loss if penalty is None else loss + penalty / len(self.batches)

    def finish(self) -> dict[str, Tensor]:
        """The parts of the loss that are worth logging, averaged over processes those of the whole step."""
        # Evaluated at known counts, parts are this process's alone, like the loss.
        own = self.reduction.processes if self.counts is not None else 1
        return {name: part * own for name, part in self.parts.items()} if own > 1 else self.parts

    @property
    def counts(self) -> Tensor | None:
        """Samples of each environment in the whole step, float [E], where they are known."""
        if self._awaited_counts is not None:
            self._counts, self._awaited_counts = self._awaited_counts(), None
        return self._counts

    def _count(self) -> Awaited:
        ids = torch.cat([batch["environment"] for batch in self.batches])
        device = next(self.model.parameters()).device
        ones = torch.ones(len(ids), device=ids.device)
        return self.reduction.add_meanwhile(environment_sums(ones, ids, self.num_environments).to(device))

    def _first_pass(self) -> Sums:
        """The sums of this process's micro-batches; their random states are all that the pass leaves."""
        totals = []
        with nullcontext() if self.first_pass_graph else torch.no_grad(), preserved_buffers(self.model):
            for batch in self.batches:
                self._random_states.append(random_state(batch))
                sums = self._sums(self.forward(self.model, batch))
                totals.append({name: value.detach() for name, value in sums.items()})
        return {name: torch.stack([part[name] for part in totals]).sum(0) for name in totals[0]}

    def _sums(self, outputs: Outputs) -> Sums:
        kind = outputs.logits.device.type
        # Sums over samples need the digits that autocast would take.
        with torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext():
            sums = self.objective.sums(outputs)
            if outputs.auxiliary_losses is not None:
                sums[AUXILIARY_LOSS] = environment_sums(
                    outputs.auxiliary_losses, outputs.environments, outputs.num_environments
                )
        return sums

    def _share_of(self, sums: Sums) -> Tensor:
        if self.counts is not None:
            self._solve({**sums, "count": self.counts})
        elif self._value is None:
            self._solve(self.reduction.add_sums(sums))
        assert self._value is not None
        # Gradients are averaged over processes, and have to be added up.
        processes = self.reduction.processes
        terms = [(slope * sums[name]).sum() for name, slope in self._slopes.items()]
        share = torch.stack(terms).sum() * processes
        # With known counts the value is this micro-batch's own part of the loss; otherwise it is the whole.
        value = self._value * processes if self.counts is not None else self._value / len(self.batches)
        return share + (value - share).detach()

    def _solve(self, totals: Sums) -> None:
        """The objective's value at the totals, and its slope in every sum."""
        leaves = {name: total.detach() for name, total in totals.items()}
        with torch.enable_grad():
            variables = {name: leaf.requires_grad_() for name, leaf in leaves.items() if name != "count"}
            loss = self._evaluate({**leaves, **variables})
            slopes = torch.autograd.grad(loss, list(variables.values()), allow_unused=True)
        self._value = loss.detach()
        self._slopes = {
            name: slope for name, slope in zip(variables, slopes, strict=True) if slope is not None
        }

    def _evaluate(self, totals: Sums) -> Tensor:
        """The objective at the totals, with graph, after its state has advanced.

        A network's own loss, if there is one, counts as its mean over environments.
        """
        if not self.repeated:
            advance(self.objective, totals, self.step)
        loss, parts = self.objective.loss(totals, self.step)
        if AUXILIARY_LOSS in totals:
            means = environment_means(totals[AUXILIARY_LOSS], totals["count"])
            loss = loss + self.objective.scale(self.step) * mean_over_present(means, totals["count"])
        self.parts = {name: self.parts.get(name, 0) + part.detach() for name, part in parts.items()}
        return loss


def advance(objective: Objective, totals: Sums, step: int) -> None:
    """Let the objective's state take in the totals of optimizer step `step`, without graph."""
    if type(objective).update is not Objective.update:
        with torch.no_grad():
            objective.update({name: total.detach() for name, total in totals.items()}, step)
