"""What is tracked between two log entries, on the device, without a synchronisation per step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ForeseenError
from ..methods.objectives import Outputs
from ..methods.objectives.base import labels_of
from ..methods.objectives.functional import are_targets, environment_sums, largest_class
from .reduction import ALONE, Reduction

# What a sample's loss is called in the log.
MEASURES = ("cross_entropy", "squared_error", "sample_loss", "binary_cross_entropy")
HELD_AT_MOST = 2**18  # numbers that wait to be summed up; a step of a small network is mostly its calls


class NonFiniteLossError(ForeseenError, FloatingPointError):
    """The training loss became infinite or NaN; the message names the environment and the last good
    checkpoint."""


def _measure(outputs: Outputs) -> str:
    if outputs.labels is None:
        return "sample_loss"
    return "binary_cross_entropy" if outputs.loss.multi_label else MEASURES[are_targets(outputs.labels)]


class TrainingRecord:
    """Running sums since the last log entry: samples, correct predictions, losses by environment; the loss
    and its parts."""

    kind = "training record"

    def __init__(self, environment_names: Sequence[str], device: torch.device, reduction: Reduction = ALONE):
        self.environment_names, self.device = list(environment_names), device
        self.reduction = reduction
        self.reset()

    def reset(self) -> None:
        number = len(self.environment_names)
        # Count, correct, loss, auxiliary; doubles, so that it does not matter after how many they are added.
        digits = torch.float32 if self.device.type == "mps" else torch.float64
        self._sums = torch.zeros(number, 4, device=self.device, dtype=digits)
        self.first_broken = torch.zeros(number, dtype=torch.bool, device=self.device)
        self.loss = torch.zeros((), device=self.device)
        self.parts: dict[str, Tensor] = {}
        self.steps = 0
        self.measure, self.has_auxiliary_loss = MEASURES[0], False
        self._waiting: list[Outputs] = []
        self._numbers = 0

    def add_batch(self, outputs: Outputs) -> None:
        """Take in a micro-batch."""
        self._waiting.append(outputs.without_graph())
        self._numbers += outputs.logits.numel()
        if self._numbers > HELD_AT_MOST:
            self._sum_up()

    def add_loss(self, loss: Tensor) -> None:
        """Take in a micro-batch's share of the loss of its step."""
        self.loss = self.loss + loss

    def add_step(self, parts: dict[str, Tensor]) -> None:
        own = {name: self.parts.pop(name, 0) + part for name, part in parts.items()}
        self.parts = {**own, **self.parts}
        self.steps += 1

    @property
    def sums(self) -> Tensor:
        """Samples, correct predictions, losses and auxiliary losses of each environment -> [E, 4]."""
        self._sum_up()
        return self._sums

    def _sum_up(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting, self._numbers = self._waiting, [], 0
        losses = torch.cat([outputs.losses for outputs in waiting])
        environments = torch.cat([outputs.environments for outputs in waiting])
        correct, auxiliary = torch.zeros_like(losses), torch.zeros_like(losses)
        self.measure = _measure(waiting[0])
        if self.measure == "cross_entropy":
            logits = torch.cat([outputs.logits for outputs in waiting])
            classes = torch.cat([largest_class(labels_of(outputs)) for outputs in waiting])
            correct = (logits.argmax(1) == classes).to(losses)
        own = [o.auxiliary_losses for o in waiting if o.auxiliary_losses is not None]
        self.has_auxiliary_loss = bool(own)
        if own:
            auxiliary = torch.cat(own).to(losses)
        columns = torch.stack([torch.ones_like(losses), correct, losses, auxiliary], dim=1)
        self._sums.index_add_(0, environments, columns.to(self._sums))
        # Only the first broken batch tells which environment broke; after it all weights are broken.
        broken = ~(losses + auxiliary).isfinite()
        sizes = torch.tensor([len(outputs.environments) for outputs in waiting], device=losses.device)
        batches = torch.arange(len(waiting), device=losses.device).repeat_interleave(sizes)
        first = torch.where(broken, batches, len(waiting)).min()
        found = environment_sums((broken & (batches == first)).float(), environments, len(self._sums)) > 0
        self.first_broken = torch.where(self.first_broken.any(), self.first_broken, found)

    def broken_environments(self, reduction: Reduction) -> list[str]:
        """The environments in which the loss first was not finite, on any process."""
        self._sum_up()
        broken = reduction.add(self.first_broken.float()).tolist()
        return [name for name, flag in zip(self.environment_names, broken, strict=True) if flag]

    def is_broken(self, reduction: Reduction) -> bool:
        """Whether a loss was not finite, on any process."""
        self._sum_up()
        return not bool(reduction.add(self.loss + self._sums[:, 2:].sum()).isfinite())

    def logs(self, reduction: Reduction) -> dict[str, float]:
        """Means since the last log entry, over all processes."""
        count, correct, loss, auxiliary = reduction.add(self.sums).T.tolist()
        number = max(sum(count), 1)
        values = torch.stack([self.loss, *self.parts.values()])  # means over steps and processes
        total, *parts = (reduction.mean(values) / max(self.steps, 1)).tolist()
        logs = {"loss": total, **dict(zip(self.parts, parts, strict=True))}
        logs[self.measure] = sum(loss) / number
        if self.has_auxiliary_loss:
            logs["auxiliary_loss"] = sum(auxiliary) / number
        if self.measure != "cross_entropy":
            return logs
        logs["accuracy"] = sum(correct) / number
        return logs | {
            f"accuracy_{name}": right / total
            for name, right, total in zip(self.environment_names, correct, count, strict=True)
            if total
        }

    def state_dict(self) -> dict[str, Tensor]:
        """What the next log entry needs of the steps since the last one: every process's own, in a row of its
        own. All processes call it."""
        own = {"sums": self.sums, "loss": self.loss} | {
            f"part/{name}": part for name, part in self.parts.items()
        }
        flags = torch.tensor([MEASURES.index(self.measure), self.has_auxiliary_loss])
        rows = {name: self.reduction.rows(value.detach()) for name, value in own.items()}
        return {**rows, "steps": torch.tensor(self.steps), "flags": flags}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Where there are as many processes as before, each takes up its own sums; otherwise the first has
        the sums of all."""
        self.reset()
        own = {
            name: self._own(name, value) for name, value in state.items() if name not in ("steps", "flags")
        }
        self._sums, self.loss = own.pop("sums").to(self._sums), own.pop("loss")
        self.steps = int(state["steps"])
        measure, has_auxiliary_loss = state["flags"].tolist()
        self.measure, self.has_auxiliary_loss = MEASURES[measure], bool(has_auxiliary_loss)
        self.parts = {name.removeprefix("part/"): part for name, part in own.items()}

    def _own(self, name: str, rows: Tensor) -> Tensor:
        if rows.ndim == (2 if name == "sums" else 0):  # of a version that kept those of the first process
            rows = rows[None]
        if len(rows) == self.reduction.processes:
            return rows[self.reduction.process].to(self.device)
        total = rows.sum(0).to(self.device)
        if name != "sums":  # means over processes
            total = total * self.reduction.processes / len(rows)
        return total if self.reduction.process == 0 else torch.zeros_like(total)
