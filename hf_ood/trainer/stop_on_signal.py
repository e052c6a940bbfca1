"""A training that gets a signal saves a checkpoint at the end of its step, and stops."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_jit_checkpoint import JITCheckpointCallback
from transformers.utils import logging

from ..engine import STOPPING

logger = logging.get_logger(__name__)
SIGNALS = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


class StoppedBySignal(SystemExit):
    """A training that SIGTERM or SIGHUP stopped, after its checkpoint was saved. Ctrl-C raises
    `KeyboardInterrupt`, as everywhere."""

    def __init__(self, number: int):
        super().__init__(128 + number)


class StopOnSignal(TrainerCallback):
    """Ends the training with the checkpoint of the step after which a process of it wished to stop."""

    def __init__(self, processes: int):
        self.processes, self.received, self.stopping = processes, signal.SIGTERM, False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within, the first signal is a wish to stop, and the second does what it did before."""
        STOPPING.reset()
        self.stopping = False
        before: dict[int, Any] = {}

        def wish(number: int, frame: FrameType | None) -> None:
            self.received, STOPPING.wished = signal.Signals(number), True
            restore()
            os.write(2, b"\nStopping after this step; a second signal stops at once.\n")

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            # None is a handler of another language, and who ignores a signal goes on doing so.
            before |= {n: handler for n, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
            for number in before:
                signal.signal(number, wish)
        try:
            yield
        finally:
            restore()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # After an epoch's last step comes what belongs to its end: a checkpoint without it would lack that.
        if not float(state.epoch or 0.5).is_integer():
            self._stop(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._stop(state, control)

    def _stop(self, state: TrainerState, control: TrainerControl) -> None:
        if STOPPING.wanted(self.processes, state.global_step):
            # No should_training_stop: the checkpoint would hold it, and a resumed training stop at once.
            self.stopping = control.should_save = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self.stopping:
            return
        told = f"stopped after step {state.global_step}, whose checkpoint is in {args.output_dir}"
        if state.is_world_process_zero:
            logger.warning(f"{self.received.name}: {told}.")
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt(f"{told}: train(resume_from_checkpoint=True) goes on from it.")
        raise StoppedBySignal(self.received)


def without_jit_checkpoint(trainer: Trainer) -> None:
    """Take Trainer's own way to do the same out: it would end as if the training had been finished, and knows
    of one process only."""
    found = trainer.pop_callback(JITCheckpointCallback)
    if found is not None:
        found.on_train_end(trainer.args, trainer.state, trainer.control)  # puts the handler of before back
