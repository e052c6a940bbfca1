"""What is tracked between two log entries, on the device, without a synchronisation per step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..objectives.functional import are_targets, environment_sums, largest_class, sample_losses


class NonFiniteLossError(FloatingPointError):
    """The training loss became infinite or NaN; the message names the environment and the last good
    checkpoint."""


class TrainingRecord:
    """Running sums since the last log entry: samples, correct predictions, losses by environment; loss
    parts."""

    def __init__(self, environment_names: Sequence[str], device: torch.device):
        self.environment_names = environment_names
        self.sums = torch.zeros(len(environment_names), 4, device=device)  # count, correct, loss, auxiliary
        self.first_broken = torch.zeros(len(environment_names), dtype=torch.bool, device=device)
        self.parts: dict[str, Tensor] = {}
        self.steps = 0
        self.has_auxiliary_loss = False
        self.has_classes = True

    @torch.no_grad()
    def add_batch(
        self, logits: Tensor, labels: Tensor, environments: Tensor, auxiliary_losses: Tensor | None = None
    ) -> None:
        losses = sample_losses(logits, labels)
        self.has_classes = not are_targets(labels)
        self.has_auxiliary_loss = auxiliary_losses is not None
        auxiliary = torch.zeros_like(losses) if auxiliary_losses is None else auxiliary_losses
        correct = logits.argmax(1) == largest_class(labels)
        columns = torch.stack([torch.ones_like(losses), correct, losses, auxiliary], dim=1)
        sums = environment_sums(columns.to(self.sums), environments, len(self.environment_names))
        self.sums += sums
        # Only the first broken batch tells which environment broke; after it all weights are broken.
        self.first_broken = torch.where(self.first_broken.any(), self.first_broken, ~sums.isfinite().all(1))

    def add_step(self, parts: dict[str, Tensor]) -> None:
        for name, part in parts.items():
            self.parts[name] = self.parts.get(name, 0) + part
        self.steps += 1

    def broken_environments(self, reduce: Callable[[Tensor], Tensor]) -> list[str]:
        broken = reduce(self.first_broken.float()).tolist()
        return [name for name, flag in zip(self.environment_names, broken, strict=True) if flag]

    def logs(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Means since the last log entry; `reduce` adds up over processes."""
        count, correct, loss, auxiliary = reduce(self.sums).T.tolist()
        accuracies = {
            name: right / total
            for name, right, total in zip(self.environment_names, correct, count, strict=True)
            if total
        }
        logs = {}
        if self.parts:  # means over steps and processes
            values = torch.stack([*self.parts.values(), torch.tensor(self.steps, device=self.sums.device)])
            *parts, steps = reduce(values).tolist()
            logs = {name: part / steps for name, part in zip(self.parts, parts, strict=True)}
        logs["cross_entropy" if self.has_classes else "squared_error"] = sum(loss) / max(sum(count), 1)
        if self.has_auxiliary_loss:
            logs["auxiliary_loss"] = sum(auxiliary) / max(sum(count), 1)
        if not self.has_classes:
            return logs
        logs["accuracy"] = sum(correct) / max(sum(count), 1)
        return logs | {f"accuracy_{name}": accuracy for name, accuracy in accuracies.items()}

    def reset(self) -> None:
        self.sums.zero_()
        self.first_broken.zero_()
        self.parts, self.steps = {}, 0
