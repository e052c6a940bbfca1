"""A training that is resumed ends where the undisturbed one does, wherever it was interrupted.

`Trainer` goes on with the next step after a checkpoint. Left out are what happens between a step and the next
(an epoch's own evaluation), that the training may have ended, and sums that are not in the log yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import EarlyStoppingCallback, Trainer, TrainerState
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import TrainOutput
from transformers.utils import logging

from .callbacks import MethodCallback
from .checkpoints import TRAINER_STATE, require_whole_weights, set_aside
from .left_off import LeftOff, left_off_at, refuse_other_batches

logger = logging.get_logger(__name__)

if TYPE_CHECKING:
    Base = Trainer
else:
    Base = object


class Resuming(Base):
    """Mixed in before a `Trainer`: where its training was left off, and how it goes on from there."""

    after_steps: MethodCallback
    _resumed: LeftOff | None = None  # until the first epoch of a resumed training begins
    _last_norm: Any = None
    _last_rate: float | None = None
    _steps_per_epoch: int | None = None

    def left_off(self) -> LeftOff:
        """Where the training is now. All processes call it."""
        waiting = self.accelerator.gather(self._tr_loss.detach().reshape(1))
        stopped = self.control.should_training_stop and self.state.global_step < self.state.max_steps
        return LeftOff(
            self.after_steps.epoch_ended,
            stopped,
            self.state.max_steps,
            self._globalstep_last_logged,
            self._total_loss_scalar,
            tuple(waiting.tolist()),
            None if self._last_norm is None else float(self._last_norm),
            self._last_rate,
            self._step_samples(),
            self._steps_per_epoch,
        )

    def _step_samples(self) -> int:
        """Samples of an optimizer step, over all processes."""
        return self._train_batch_size * self.args.gradient_accumulation_steps * self.accelerator.num_processes

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: Any,
        trial: Any,
    ) -> tuple[int, int]:
        trained, skipped = super()._init_training_state(
            max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
        )
        self._steps_per_epoch, self._resumed = num_update_steps_per_epoch, None
        self._last_norm = self._last_rate = None
        if resume_from_checkpoint is None:
            if self.args.should_save:
                set_aside(self._get_output_dir(trial))
            self.accelerator.wait_for_everyone()
            return trained, skipped
        self._resumed = left_off_at(resume_from_checkpoint, self.args, self.state)
        refuse_other_batches(
            resume_from_checkpoint, self._resumed, self._step_samples(), num_update_steps_per_epoch
        )
        self.after_steps.epoch_ended = self._resumed.epoch_ended
        saved: Any = self.state.stateful_callbacks
        for callback in self.callback_handler.callbacks:  # those that the checkpoint does not know
            if isinstance(callback, ExportableState):
                saved.setdefault(type(callback).__name__, callback.state())
        self._find_best_checkpoint(resume_from_checkpoint)
        if self._is_between_epochs(num_update_steps_per_epoch) and not self._resumed.epoch_ended:
            trained -= 1  # its end is still to come
        return trained, skipped

    def _find_best_checkpoint(self, checkpoint: str) -> None:
        """The best so far lies beside the checkpoint, wherever the folder was moved to. Raises
        `CorruptCheckpointError` where it is gone or damaged and the training is to end with it."""
        recorded = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE)).best_model_checkpoint
        if recorded is None:
            return
        beside = Path(checkpoint).parent / Path(recorded).name
        best = beside if beside.is_dir() else Path(recorded)
        self.state.best_model_checkpoint = str(best)
        if self.args.load_best_model_at_end:
            require_whole_weights(best)

    def _is_between_epochs(self, steps_per_epoch: int) -> bool:
        return self.state.global_step > 0 and self.state.global_step % steps_per_epoch == 0

    def take_up(self) -> None:
        """At the beginning of a training, when `Trainer` has set its own sums to 0."""
        if self._resumed is None:
            return
        waiting = self._resumed.waiting_loss
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        own = waiting[process] if len(waiting) == processes else sum(waiting) / len(waiting)
        self._tr_loss = torch.tensor(own, device=self.args.device)
        self._total_loss_scalar = self._resumed.logged_loss
        self._globalstep_last_logged = self._resumed.logged_step
        self._last_norm, self._last_rate = self._resumed.grad_norm, self._resumed.learning_rate

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> Any:
        at_start = skip_scheduler  # `eval_on_start`: the undisturbed training did so at step 0
        if at_start and self.state.global_step:
            return {}
        return super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)

    def _run_epoch(self, **loop: Any) -> None:  # type: ignore[override]
        left_off, self._resumed = self._resumed, None
        done = left_off is not None and self._is_done(left_off)
        only_its_end = left_off is not None and self._is_between_epochs(loop["num_update_steps_per_epoch"])
        if left_off is None or not (done or (only_its_end and not left_off.epoch_ended)):
            super()._run_epoch(**loop)
            return
        self._load_rng_state(loop["resume_from_checkpoint"])
        self.control.should_training_stop = done
        if not left_off.epoch_ended:
            self.control = self.callback_handler.on_epoch_end(self.args, self.state, self.control)
            kept = ("model", "trial", "epoch", "ignore_keys_for_eval", "start_time")
            self._maybe_log_save_evaluate(
                tr_loss=self._tr_loss,
                grad_norm=left_off.grad_norm,
                learning_rate=left_off.learning_rate,
                **{name: loop[name] for name in kept},
            )

    def _is_done(self, left_off: LeftOff) -> bool:
        """Whether no step was to follow: by their number, by early stopping with the patience of now, or by
        what another callback decided."""
        if self.state.global_step >= self.state.max_steps:
            return True
        stopping = [c for c in self.callback_handler.callbacks if isinstance(c, EarlyStoppingCallback)]
        if stopping:
            return any(c.early_stopping_patience_counter >= c.early_stopping_patience for c in stopping)
        return left_off.stopped

    def _maybe_log_save_evaluate(
        self,
        tr_loss: Any,
        grad_norm: Any,
        model: Any,
        trial: Any,
        epoch: Any,
        ignore_keys_for_eval: Any,
        start_time: Any,
        learning_rate: Any = None,
    ) -> None:
        self._last_norm, self._last_rate = grad_norm, learning_rate  # as a tensor: a number costs a wait
        super()._maybe_log_save_evaluate(
            tr_loss, grad_norm, model, trial, epoch, ignore_keys_for_eval, start_time, learning_rate
        )

    def _mean_loss(self) -> float:
        """Of all steps, those before a resume included, as `Trainer` computes it of a whole training."""
        return self._total_loss_scalar / max(self.state.global_step, 0.001)

    def with_whole_loss(self, output: TrainOutput) -> TrainOutput:
        """What a training returns, with the mean loss of all its steps."""
        loss = self._mean_loss()
        return TrainOutput(output.global_step, loss, {**output.metrics, "train_loss": loss})
