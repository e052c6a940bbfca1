"""Objectives of one kind, evaluated for many heads in one call of the method's own code."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, get_type_hints

import torch
from torch import Tensor

from ...engine.exact_step import advance
from ...methods.objectives import Objective, Sums


@lru_cache
def _float_options(kind: type[Objective]) -> tuple[str, ...]:
    """The hyper-parameters that are plain numbers of no fixed set: what may differ between heads."""
    hints = get_type_hints(kind)
    options = [field.name for field in fields(kind) if field.init and hints[field.name] is float]
    return tuple(name for name in options if name not in kind.warmups)


def likeness(objective: Objective) -> tuple[Any, ...]:
    """The same for objectives of one class that differ in numbers alone: rates, weights, warm-ups."""
    free = {*_float_options(type(objective)), *objective.warmups}
    options = [(f.name, repr(getattr(objective, f.name))) for f in fields(objective) if f.init]
    return type(objective), *(option for option in options if option[0] not in free)


class AlikeObjectives:
    """Objectives of one `likeness`, one for each of n heads that see the same samples.

    `losses` gives to `Objective.loss` totals of all heads as `torch.func.vmap` does, with the
    hyper-parameters that differ as tensors. Heads that are at different sides of a warm-up take turns. State
    between steps is stacked, [n, ...].
    """

    def __init__(self, objectives: Sequence[Objective], total_steps: int):
        self.objectives, self.total_steps = list(objectives), total_steps
        first, *others = self.objectives
        self.has_state = type(first).update is not Objective.update
        self.differing = [
            name
            for name in _float_options(type(first))
            if any(getattr(other, name) != getattr(first, name) for other in others)
        ]
        self.state: dict[str, Tensor] = {}
        self._ends = {
            step for own in self.objectives for name in own.warmups for step in [own.steps_of(name)]
        }
        self._phases: list[list[int]] = []

    def phases(self, step: int) -> list[list[int]]:
        """The heads by what their warm-ups say at `step`; the same list until that changes."""
        if not self._phases or step in self._ends:
            found = defaultdict(list)
            for head, own in enumerate(self.objectives):
                found[tuple(step >= own.steps_of(name) for name in own.warmups)].append(head)
            self._phases = list(found.values())
        return self._phases

    def losses(self, totals: Sums, count: Tensor, step: int) -> Tensor:
        """The loss of each head at its totals -> [n]. `totals`: [n, E, ...] each; `count`: [E], of all."""
        phases = self.phases(step)
        if len(phases) == 1:
            all_values, self.state = self._evaluate(phases[0], totals, count, step, self.state)
            return all_values
        values: list[Tensor] = []
        states: list[dict[str, Tensor]] = []
        for heads in phases:
            rows = torch.tensor(heads, device=count.device)
            own = {name: total.index_select(0, rows) for name, total in totals.items()}
            before = {name: value.index_select(0, rows) for name, value in self.state.items()}
            found, after = self._evaluate(heads, own, count, step, before)
            values.append(found)
            states.append(after)
        order = torch.tensor([head for heads in phases for head in heads], device=count.device).argsort()
        self.state = {name: torch.cat([state[name] for state in states])[order] for name in states[0]}
        return torch.cat(values)[order]

    def _evaluate(
        self, heads: Sequence[int], totals: Sums, count: Tensor, step: int, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        chosen = [self.objectives[head] for head in heads]
        numbers = {name: [getattr(own, name) for own in chosen] for name in self.differing}
        numbers["scale"] = [own.scale(step) for own in chosen]
        scale: Any = None
        if len(set(numbers["scale"])) == 1:
            scale = numbers.pop("scale")[0]
        some = next(iter(totals.values()))
        options = {
            name: torch.tensor(values, dtype=some.dtype, device=some.device)
            for name, values in numbers.items()
        }

        def evaluate(
            totals: Sums, options: dict[str, Tensor], state: dict[str, Tensor]
        ) -> tuple[Tensor, dict[str, Tensor]]:
            objective = copy.copy(chosen[0])
            objective.progress = step / max(self.total_steps, 1)
            own_scale: Any = options.get("scale", scale)
            objective.scale = lambda step: own_scale  # type: ignore[method-assign]
            for name in self.differing:
                setattr(objective, name, options[name])
            everything = {"count": count, **totals}
            if self.has_state:
                if state:
                    objective.load_state_dict(state)
                advance(objective, everything, step)
            return objective.loss(everything, step)[0], objective.state_dict() if self.has_state else {}

        mapped: Callable[..., Any] = torch.func.vmap(evaluate)
        return mapped(totals, options, state)

    def alone(self, head: int, state: dict[str, Tensor]) -> Objective:
        """A copy of one objective with its share of a stacked state."""
        objective = copy.deepcopy(self.objectives[head])
        if state:
            objective.load_state_dict({name: value[head].clone() for name, value in state.items()})
        return objective
