"""Random numbers as a training of its own would draw them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class RandomStream:
    """Torch's generator on the CPU from `seed` on, apart from the global one."""

    def __init__(self, seed: int):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.state = torch.get_rng_state()

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Within, random numbers are those of this stream; it goes on where it ended."""
        outer = torch.get_rng_state()
        torch.set_rng_state(self.state)
        try:
            yield
        finally:
            self.state = torch.get_rng_state()
            torch.set_rng_state(outer)

    def begin_passes(self, number: int = 1) -> None:
        """So many passes over data begin: each `DataLoader` draws a seed for its processes."""
        with self.drawing():
            for _ in range(number):
                torch.empty((), dtype=torch.int64).random_()
