"""Heads of one seed on the same rows: they see the same batches, and their first layers are one product."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.utils import logging

from ...data import EnvironmentDataset
from ...engine.own_parameters import build_networks
from ...methods.losses import SampleLoss, loss_for
from ...methods.objectives import Objective
from ...methods.registry import Method
from ...models import Penultimate
from .. import data_checks
from ..ood_config import OODConfig
from .adam import HeadsAdamW
from .choice import Best, measure, with_averages
from .layers import Stack, find_layers, first_layer, first_layer_gradients
from .parts import Batch, Leaves, NotAlikeError, Part, Work, kind_of, needs_own_inputs
from .random_stream import RandomStream
from .steps import Steps, learning_rate

logger = logging.get_logger(__name__)


class Member(NamedTuple):
    """A head that takes part: its method, initial learning rate and weight decay."""

    method: Method
    learning_rate: float
    weight_decay: float


class Trained(NamedTuple):
    """What became of a head. `best_step`: see `Head`."""

    weights: dict[str, Tensor]
    best_step: int | None
    is_finite: bool


class Cohort:
    """The training of heads of one seed on `rows`, vectors in memory with classes.

    `network`: with the first weights of all heads. `metric`: what the validation chooses weights by, one of
    `METRICS`; None: nothing is chosen. `passes`: how many data sets an evaluation of `OODTrainer` goes
    through: each takes a random number. Raises `ValueError` for what does not go together.
    """

    def __init__(
        self,
        members: Sequence[Member],
        rows: EnvironmentDataset,
        network: nn.Module,
        training: OODConfig,
        seed: int,
        *,
        validation: EnvironmentDataset | None = None,
        metric: str | None = None,
        loss: SampleLoss | None = None,
        passes: int = 1,
    ):
        self.training, self.rows, self.validation = training, rows, validation
        self.metric, self.passes = metric, passes
        self.device = torch.device(training.device)
        self.network = network.to(self.device)
        self.steps = Steps(rows, training, seed)
        first = members[0].method
        data_checks.check_labels(rows, first.objective, first.feature_transform, network)
        data_checks.check_batches(rows, training, training, self.steps.batch, 1)
        layers = find_layers(network)
        works = [self._begin(member.method, seed) for member in members]
        kinds = [kind_of(work, layers) or (number,) for number, work in enumerate(works)]
        # Heads with inputs of their own come last, heads of a kind side by side.
        groups = defaultdict(list)
        for number, work in enumerate(works):
            groups[needs_own_inputs(work.method, layers), kinds[number]].append(number)
        ordered = sorted(groups.items(), key=lambda group: group[0][0])
        self.order = [number for _, numbers in ordered for number in numbers]
        self.works = [works[number] for number in self.order]
        for place, work in enumerate(self.works):
            work.place = place
        self.shared = sum(len(numbers) for (own, _), numbers in ordered if not own)
        self.stack = Stack(network, layers, len(works))
        prepared = loss_for(rows.labels, len(rows.label_names), loss, training.label_smoothing_factor)
        own = (self.stack, prepared, len(rows.label_names), self.steps.total)
        self.parts = [Part([works[number] for number in numbers], *own) for _, numbers in ordered]
        chosen = [members[number] for number in self.order]
        self._make_optimizers(chosen)
        chooses = metric is not None and validation is not None
        self.best = Best(self.stack.weights, str(metric)) if chooses else None
        self.owning = [work for work in self.works if work.own_optimizer is not None]
        self.averaging = [work for work in self.works if work.method.averaging is not None]
        for work in self.averaging:
            assert work.method.averaging is not None
            work.method.averaging.begin(self.stack.of(work.place))
        self.resetting = [work for work in self.works if _overrides(work, Objective.resets_optimizer)]
        self.penalised = [
            work
            for work in self.works
            if work.method.objective.l2 or _overrides(work, Objective.parameter_penalty)
        ]
        self.inputs = rows.columns["inputs"].to(next(iter(self.stack.weights.values())))
        self.labels, self.environments = rows.labels.to(self.device), rows.environments.to(self.device)
        self.finite = torch.ones(len(works), dtype=torch.bool, device=self.device)

    def _begin(self, method: Method, seed: int) -> Work:
        """A method at the start of a training. Raises `ValueError` for data that it cannot be trained on."""
        method = copy.deepcopy(method)
        data_checks.check_environments(self.rows, method.objective)
        if method.mixing is not None:
            data_checks.check_mixing(method.mixing, method.objective, self.rows)
        if method.averaging is not None:
            method.averaging.reset()
        method.objective.start(self.steps.total)
        penultimate = Penultimate(self.network) if method.objective.needs_features else None
        proportions = self.training.environment_proportions
        build_networks(method.objective, penultimate, self.rows, self.device, seed, proportions)
        return Work(method, RandomStream(seed))

    def _make_optimizers(self, members: Sequence[Member]) -> None:
        training = self.training
        betas, eps = (training.adam_beta1, training.adam_beta2), training.adam_epsilon
        rates = [member.learning_rate for member in members]
        self.optimizer = HeadsAdamW(
            self.stack, rates, [member.weight_decay for member in members], betas, eps
        )
        self.rate = learning_rate(training, self.steps.total)
        for work, rate in zip(self.works, rates, strict=True):
            own = work.method.objective.parameters()
            if own:
                initial = work.method.objective.learning_rate(rate)
                work.own_optimizer = torch.optim.AdamW(
                    [{"params": own, "initial_lr": initial}],
                    lr=initial, betas=betas, eps=eps, weight_decay=0.0, fused=True,
                )  # fmt: skip

    def train(self) -> list[Trained]:
        """Take all steps -> the heads, in the order in which they were given."""
        step = 0
        for batches in self.steps.epochs():
            for stream in self._streams():
                stream.begin_passes()
            for index in batches:
                self._step(index.to(self.device), step)
                step += 1
                if self.steps.evaluates_after(step):
                    self._evaluate(step)
        trained = [self._finished(work) for work in self.works]
        return [trained[self.order.index(number)] for number in range(len(trained))]

    def _streams(self) -> list[RandomStream]:
        return list({id(work.stream): work.stream for part in self.parts for work in part.heads}.values())

    def _step(self, index: Tensor, step: int) -> None:
        for work in self.resetting:
            if work.method.objective.resets_optimizer(step):
                self.optimizer.forget(work.place)
                if work.own_optimizer is not None:
                    work.own_optimizer.state.clear()
        inputs = self.inputs.index_select(0, index)
        batch = Batch(inputs, self.labels[index], self.environments[index], len(self.rows.environment_names))
        first = first_layer(self.stack, inputs, self.shared) if self.shared else None
        graphs = [graph for part in self.parts for graph in begin(part, first, batch, step)]
        self.parts = [graph.part for graph in graphs]
        torch.stack([graph.losses.sum() for graph in graphs]).sum().backward()
        self._collect(graphs, inputs)
        self._add_penalties(step)
        resting = self._rest(step)
        self._clip()
        self.optimizer.step(self.rate, step, resting)
        for work in self.owning:
            assert work.own_optimizer is not None
            for group in work.own_optimizer.param_groups:
                group["lr"] = self.rate(group["initial_lr"], step)
            work.own_optimizer.step()
            work.own_optimizer.zero_grad()
        for work in self.averaging:
            assert work.method.averaging is not None
            work.method.averaging.update(self.stack.of(work.place), step + 1, self.steps.total)

    def _collect(self, graphs: Sequence[Graph], inputs: Tensor) -> None:
        """The gradients of all weights, from those at the leaves of the graphs."""
        slopes = []
        for part, leaves, losses in graphs:
            self.finite[part.rows] &= losses.detach().isfinite()
            for name, leaf in leaves.weights.items():
                self.stack.gradients[name][part.rows] = _slope(leaf)
            if leaves.first is not None:
                slopes.append(_slope(leaves.first))
        if slopes:
            first_layer_gradients(self.stack, inputs, torch.cat(slopes))

    def _add_penalties(self, step: int) -> None:
        for work in self.penalised:
            own = {name: value.detach().requires_grad_() for name, value in self.stack.of(work.place).items()}
            penalty = work.method.objective.parameter_penalty(own.values(), step)  # type: ignore[arg-type]
            if penalty is not None:
                for name, slope in zip(own, torch.autograd.grad(penalty, list(own.values())), strict=True):
                    self.stack.gradients[name][work.place] += slope

    def _rest(self, step: int) -> list[int]:
        """The heads that do not move in this step; theirs, and what else rests, has no gradient."""
        resting = []
        for work in self.owning:
            moves, own_move = work.method.objective.players(step)
            if not moves:
                resting.append(work.place)
                for gradient in self.stack.gradients.values():
                    gradient[work.place] = 0
            if not own_move:
                for parameter in work.method.objective.parameters():
                    parameter.grad = None
        return resting

    def _clip(self) -> None:
        """Shorten each head's gradient to the largest norm, as `Trainer` does."""
        largest = self.training.max_grad_norm
        if not largest:
            return
        squares = torch.stack([g.flatten(1).square().sum(1) for g in self.stack.gradients.values()]).sum(0)
        beside = [
            (work.place, parameter.grad)
            for work in self.owning
            for parameter in work.method.objective.parameters()
            if parameter.grad is not None
        ]
        for place, gradient in beside:
            squares[place] += gradient.square().sum()
        factors = (largest / (squares.sqrt() + 1e-6)).clamp_max(1)
        for gradients in self.stack.gradients.values():
            gradients *= factors.view(-1, *[1] * (gradients.dim() - 1))
        for place, gradient in beside:
            gradient *= factors[place]

    def _evaluate(self, step: int) -> None:
        for stream in self._streams():
            stream.begin_passes(self.passes)
        if self.validation is None:
            return
        averages = [work.method.averaging.average if work.method.averaging else {} for work in self.works]
        weights = with_averages(self.stack.weights, averages)
        measured = measure(weights, self.stack.layers, self.validation)
        if self.best is not None:
            self.best.take(weights, measured, step)
        losses = measured.metric("loss")
        for work in self.averaging:
            assert work.method.averaging is not None
            work.method.averaging.evaluated(float(losses[work.place]))

    def _finished(self, work: Work) -> Trained:
        averaging, best_step = work.method.averaging, None
        weights = {name: value.clone() for name, value in self.stack.of(work.place).items()}
        if self.best is not None and not (averaging and averaging.selection):
            weights = {name: value[work.place].clone() for name, value in self.best.weights.items()}
            best_step = int(self.best.step[work.place])
        elif averaging is not None:
            weights |= {name: value.to(weights[name]) for name, value in averaging.final.items()}
        finite = bool(self.finite[work.place]) and all(value.isfinite().all() for value in weights.values())
        return Trained(weights, best_step, finite)


def _overrides(work: Work, method: Any) -> bool:
    """Whether the objective has its own version of a method of `Objective`."""
    return getattr(type(work.method.objective), method.__name__) is not method


class Graph(NamedTuple):
    """A part of a step, with what its graph begins and ends with."""

    part: Part
    leaves: Leaves
    losses: Tensor


def begin(part: Part, first: Tensor | None, batch: Batch, step: int) -> list[Graph]:
    """The part, or its heads one by one where they cannot be evaluated in one call."""
    leaves = part.leaves(first)
    try:
        return [Graph(part, leaves, part.losses(leaves, batch, step))]
    except NotAlikeError as error:
        logger.info(f"{part.objectives[0].name} is evaluated head by head: {error}")
        return [graph for alone in part.split() for graph in begin(alone, first, batch, step)]


def _slope(leaf: Tensor) -> Tensor:
    """A leaf's gradient; zeros where nothing depends on it."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
