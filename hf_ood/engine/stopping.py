"""The wish to stop, of any process, which travels with the sums that processes exchange at every step."""

from __future__ import annotations

import torch
from torch import Tensor

LOOK_EVERY = 10  # steps on an accelerator, where to look is to wait for it


class Stopping:
    """This process's wish, and what it has heard of the others'."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.wished = False
        self._heard: Tensor | None = None

    def along(self, numbers: Tensor) -> Tensor:
        """The numbers, flat, with the wish behind them, to be summed over processes."""
        return torch.cat([numbers.reshape(-1), numbers.new_full((1,), int(self.wished))])

    def without(self, total: Tensor, like: Tensor) -> Tensor:
        """The sums of the numbers, shaped as they were, once the wishes with them are heard."""
        self._heard = total[-1]
        return total[:-1].view_as(like)

    def wanted(self, processes: int, step: int) -> bool:
        """Whether to stop after this step: of several processes all give the same answer."""
        if processes == 1:
            return self.wished
        if self._heard is None:
            return False
        if self._heard.device.type != "cpu" and step % LOOK_EVERY:
            return False
        return bool(self._heard > 0)


STOPPING = Stopping()  # signals are the process's, whichever trainer is at work
