"""AdamW of many heads, each with its own learning rate and weight decay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from .layers import Stack

Rate = Callable[[float, int], float]  # initial rate, optimizer step -> the rate of that step


class HeadsAdamW:
    """`torch.optim.AdamW`, fused, on one head after the other: what a head has fits the processor's cache.

    Weights decay, biases do not, as under `Trainer`. `learning_rates`, `weight_decays`: of each head.
    """

    def __init__(
        self,
        stack: Stack,
        learning_rates: Sequence[float],
        weight_decays: Sequence[float],
        betas: tuple[float, float],
        eps: float,
    ):
        self.stack, self.betas, self.eps = stack, betas, eps
        self.first = {name: torch.zeros_like(value) for name, value in stack.weights.items()}
        self.second = {name: torch.zeros_like(value) for name, value in stack.weights.items()}
        device = next(iter(self.first.values())).device
        self.steps = torch.zeros(len(learning_rates), dtype=torch.float32, device=device)
        pairs = stack.layers.parameters
        kinds = [[weight for weight, _ in pairs], [bias for _, bias in pairs]]
        self.calls: list[tuple[int, float, float, list[list[Tensor]]]] = []
        for head, (rate, decay) in enumerate(zip(learning_rates, weight_decays, strict=True)):
            if decay:
                self.calls += [
                    (head, rate, own, self._tensors(head, names))
                    for names, own in zip(kinds, (decay, 0.0), strict=True)
                ]
            else:
                self.calls.append((head, rate, 0.0, self._tensors(head, [*kinds[0], *kinds[1]])))

    def _tensors(self, head: int, names: Sequence[str]) -> list[list[Tensor]]:
        places = (self.stack.weights, self.stack.gradients, self.first, self.second)
        found = [[place[name][head] for name in names] for place in places]
        return [*found, [], [self.steps[head]] * len(names)]

    def step(self, rate: Rate, step: int, resting: Collection[int] = ()) -> None:
        """Move all heads but those that are `resting` along their gradients."""
        self.steps += 1
        for head in resting:
            self.steps[head] -= 1
        rates: dict[float, float] = defaultdict(float)
        beta1, beta2 = self.betas
        for head, initial, decay, tensors in self.calls:
            if head in resting:
                continue
            if initial not in rates:
                rates[initial] = rate(initial, step)
            torch._fused_adamw_(
                *tensors, lr=rates[initial], beta1=beta1, beta2=beta2, weight_decay=decay, eps=self.eps,
                amsgrad=False, maximize=False,
            )  # fmt: skip

    def forget(self, head: int) -> None:
        """Clear the moments of one head."""
        self.steps[head] = 0
        for moments in (self.first, self.second):
            for value in moments.values():
                value[head].zero_()
