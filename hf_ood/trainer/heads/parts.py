"""Heads that go through the same code in one step: as one where their method allows it, or one alone."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...engine.exact_step import advance
from ...methods.losses import SampleLoss
from ...methods.objectives import Objective, Outputs
from ...methods.objectives.functional import at_least_float32, largest_class
from ...methods.registry import Method
from .alike import AlikeObjectives, likeness
from .layers import Features, Layers, Stack, by_columns
from .random_stream import RandomStream

CHECKED = 4  # heads of a part that are compared with themselves alone


@dataclass
class Work:
    """A head at work: its method, the stream that its random numbers come from, and where it is among the
    heads of the stack."""

    method: Method
    stream: RandomStream
    place: int = 0
    own_optimizer: torch.optim.Optimizer | None = None  # of the objective's own parameters

    @property
    def draws(self) -> bool:
        """Whether it takes random numbers."""
        method = self.method
        return bool(method.mixing or method.feature_transform or method.objective.parameters())


@dataclass(frozen=True)
class Batch:
    """A step's samples: inputs [B, D], labels [B], environments [B] of `number`."""

    inputs: Tensor
    labels: Tensor
    environments: Tensor
    number: int


class Seen(NamedTuple):
    """What objectives see of n heads: logits [n, B, C]; labels [n, B], or shares of classes [n, B, C];
    features [n, B, D], or None where nobody needs them. Of one head all is without n."""

    logits: Tensor
    features: Tensor | None
    labels: Tensor

    @property
    def tensors(self) -> list[Tensor]:
        """The logits, and the features where these are not the logits."""
        return [
            self.logits,
            *([] if self.features is None or self.features is self.logits else [self.features]),
        ]

    def of(self, head: int) -> Seen:
        return self._with([tensor[head] for tensor in self.tensors], self.labels[head])

    def apart(self) -> Seen:
        """The same values, where a graph begins."""
        return self._with([tensor.detach().requires_grad_() for tensor in self.tensors], self.labels)

    def _with(self, tensors: list[Tensor], labels: Tensor) -> Seen:
        return Seen(tensors[0], None if self.features is None else tensors[-1], labels)


@dataclass
class Leaves:
    """What a part's graph begins with: the outputs of the first layers [n, B, K], or None where the part has
    inputs of its own, and the weights of the other layers, by name, [n, ...]."""

    first: Tensor | None
    weights: dict[str, Tensor] = field(default_factory=dict)


class NotAlikeError(Exception):
    """The objectives of a part cannot be evaluated in one call."""


class Part:
    """Neighbouring heads of a stack, as one call of the objective's code sees them.

    The samples of a head and environment are those of an environment of their own: n heads have n * E of
    them, and `Objective.sums` adds up over each. `loss`: of a sample; `classes`: C.
    """

    def __init__(self, heads: Sequence[Work], stack: Stack, loss: SampleLoss, classes: int, total_steps: int):
        self.heads, self.stack, self.loss, self.classes = list(heads), stack, loss, classes
        self.total_steps = total_steps
        self.objectives = [head.method.objective for head in self.heads]
        self.alike = AlikeObjectives(self.objectives, total_steps) if len(self.heads) > 1 else None
        self.has_own_inputs = needs_own_inputs(self.heads[0].method, stack.layers)
        self._checked: set[tuple[tuple[int, ...], ...]] = set()
        streams: dict[str, RandomStream] = {}
        for head in self.heads if self.heads[0].method.feature_transform is None else []:
            head.stream = streams.setdefault(repr(head.method.mixing), head.stream)  # the same mixtures

    @property
    def rows(self) -> slice:
        return slice(self.heads[0].place, self.heads[-1].place + 1)

    def leaves(self, first: Tensor | None) -> Leaves:
        """`first` [heads, B, K]: what the first layers gave, of all heads that share their inputs."""
        pairs = self.stack.layers.parameters
        names = [name for pair in (pairs if self.has_own_inputs else pairs[1:]) for name in pair]
        weights = {name: self.stack.weights[name][self.rows].detach().requires_grad_() for name in names}
        if self.has_own_inputs or first is None:
            return Leaves(None, weights)
        return Leaves(first[self.rows].detach().requires_grad_(), weights)

    def losses(self, leaves: Leaves, batch: Batch, step: int) -> Tensor:
        """The objective of each head, without the penalty on its weights -> [n], with graph."""
        if self.alike is None:
            seen = self._forward(leaves, batch, step)
            return self._loss_alone(self.objectives[0], seen.of(0), batch, step)[None]
        phases = tuple(map(tuple, self.alike.phases(step)))
        if phases in self._checked:
            return self._losses_alike(self._forward(leaves, batch, step), batch, step)
        streams, state = [head.stream.state for head in self.heads], self.alike.state
        try:
            seen = self._forward(leaves, batch, step)
            losses = self._losses_alike(seen, batch, step)
            self._compare(losses, seen, batch, step, state)
        except Exception as error:  # whatever a method of one's own makes of tensors that it does not expect
            for head, before in zip(self.heads, streams, strict=True):
                head.stream.state = before
            self.alike.state = state
            raise NotAlikeError(str(error)) from error
        self._checked.add(phases)
        return losses

    def split(self) -> list[Part]:
        """The same heads, each a part of its own."""
        assert self.alike is not None
        parts = []
        for number, head in enumerate(self.heads):
            objective = self.alike.alone(number, self.alike.state)
            method = Method(**{**vars(head.method), "objective": objective})
            own = replace(head, method=method, stream=copy.copy(head.stream))
            parts.append(Part([own], self.stack, self.loss, self.classes, self.total_steps))
        return parts

    def _compare(self, losses: Tensor, seen: Seen, batch: Batch, step: int, state: dict[str, Tensor]) -> None:
        """Raise `ArithmeticError` where some head's loss or slopes are others than it has alone."""
        assert self.alike is not None
        slopes = torch.autograd.grad(losses.sum(), seen.tensors, retain_graph=True, materialize_grads=True)
        number = len(self.heads)
        for head in sorted({*range(0, number, -(-number // (CHECKED - 1))), number - 1}):
            alone = seen.of(head).apart()
            value = self._loss_alone(self.alike.alone(head, state), alone, batch, step)
            own = torch.autograd.grad(value, alone.tensors, materialize_grads=True)
            for ours, theirs in zip((losses[head], *(s[head] for s in slopes)), (value, *own), strict=True):
                near = 1e-9 if ours.dtype == torch.float64 else 1e-3
                torch.testing.assert_close(
                    ours,
                    theirs,
                    rtol=near,
                    atol=near * float(theirs.detach().abs().max()) + 1e-12,
                    equal_nan=True,
                )

    def _forward(self, leaves: Leaves, batch: Batch, step: int) -> Seen:
        method, layers = self.heads[0].method, self.stack.layers
        (first_weight, first_bias), *others = layers.parameters
        weights = leaves.weights
        values = batch.inputs[None] if leaves.first is None else leaves.first
        values, labels = self._mixed(values, batch)
        if leaves.first is None:
            features = self._transformed(values, labels, step, lambda n, z: F.linear(
                z, weights[first_weight][n], weights[first_bias][n]))  # fmt: skip
            logits = torch.baddbmm(weights[first_bias][:, None], features, weights[first_weight].mT)
        elif layers.features is Features.HIDDEN:
            *middle, (last_weight, last_bias) = others
            for weight, bias in middle:
                values = torch.baddbmm(weights[bias][:, None], values.relu(), weights[weight].mT)
            features = self._transformed(values.relu(), labels, step, lambda n, z: F.linear(
                z, weights[last_weight][n], weights[last_bias][n]))  # fmt: skip
            logits = torch.baddbmm(weights[last_bias][:, None], features, weights[last_weight].mT)
        else:
            logits = features = self._transformed(values, labels, step, lambda n, z: z)
        needed = method.objective.needs_features
        if features is logits:
            logits = features = by_columns(at_least_float32(logits))
        else:
            logits, features = by_columns(at_least_float32(logits)), at_least_float32(features)
        return Seen(logits, features if needed else None, labels)

    def _mixed(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """`values` [n, B, K], which depend on the inputs linearly, of the mixed batch, and the labels."""
        number = len(self.heads)
        if self.heads[0].method.mixing is None:
            return values, batch.labels.expand(number, -1)
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for heads in self._same_mixing():
            first = self.heads[heads[0]]
            given = {"labels": batch.labels, "environment": batch.environments}
            with first.stream.drawing():
                assert first.method.mixing is not None
                mixed = first.method.mixing({"inputs": values[heads].transpose(0, 1), **given}, self.classes)
            for head, own in zip(heads, mixed["inputs"].unbind(1), strict=True):
                found[head] = own, mixed["labels"]
        pairs = [found[head] for head in range(number)]
        return torch.stack([own for own, _ in pairs]), torch.stack([labels for _, labels in pairs])

    def _same_mixing(self) -> list[list[int]]:
        """The heads that draw the same mixtures, which have one stream."""
        streams = defaultdict(list)
        for number, head in enumerate(self.heads):
            streams[id(head.stream)].append(number)
        return list(streams.values())

    def _transformed(self, features: Tensor, labels: Tensor, step: int, head: Any) -> Tensor:
        """`features` [n, B, D] as each head's feature transform leaves them. `head`: number, features ->
        logits."""
        if self.heads[0].method.feature_transform is None:
            return features
        found = []
        for number, own in enumerate(self.heads):
            transform = own.method.feature_transform
            assert transform is not None
            transform.progress = step / max(self.total_steps, 1)
            shown = largest_class(labels[number])
            with own.stream.drawing():
                found.append(transform(features[number], partial(head, number), shown))
        return torch.stack(found)

    def _loss_alone(self, objective: Objective, seen: Seen, batch: Batch, step: int) -> Tensor:
        objective.progress = step / max(self.total_steps, 1)
        outputs = Outputs(
            seen.logits, seen.labels, batch.environments, batch.number, seen.features, self.loss
        )
        with self.heads[0].stream.drawing() if objective.parameters() else nullcontext():
            sums = objective.sums(outputs)
        advance(objective, sums, step)
        return objective.loss(sums, step)[0]

    def _losses_alike(self, seen: Seen, batch: Batch, step: int) -> Tensor:
        assert self.alike is not None
        number, environments = len(self.heads), batch.number
        offsets = environments * torch.arange(number, device=seen.logits.device)
        outputs = Outputs(
            seen.logits.flatten(0, 1),
            seen.labels.flatten(0, 1),
            (batch.environments + offsets[:, None]).flatten(),
            number * environments,
            None if seen.features is None else seen.features.flatten(0, 1),
            self.loss,
        )
        sums = self.objectives[0].sums(outputs)
        totals = {name: total.unflatten(0, (number, environments)) for name, total in sums.items()}
        count = totals.pop("count")[0]
        return self.alike.losses(totals, count, step)


def needs_own_inputs(method: Method, layers: Layers) -> bool:
    """Whether the method looks at, or changes, the very inputs of a head's first layer."""
    looks = method.objective.needs_features or method.feature_transform is not None
    return layers.features is Features.INPUTS and looks


def kind_of(work: Work, layers: Layers) -> tuple[Any, ...] | None:
    """Heads of one kind make a part; None: the head is a part of its own."""
    method = work.method
    if needs_own_inputs(method, layers) or method.objective.parameters() or _sums_by_state(method.objective):
        return None
    return *likeness(method.objective), method.mixing is None, method.feature_transform is None


def _sums_by_state(objective: Objective) -> bool:
    """Whether the sums may depend on what each head keeps between steps."""
    kind = type(objective)
    return kind.sums is not Objective.sums and kind.state_dict is not Objective.state_dict
