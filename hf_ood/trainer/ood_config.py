"""Training arguments with defaults that suit comparing methods over environments."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.utils import logging

from ..data.splits import IN_DOMAIN
from ..evaluation.measures import rises
from ..options import Search, option
from .checks import launched_processes
from .early_stopping import check_patience
from .environment_options import EnvironmentOptions

logger = logging.get_logger(__name__)
DEFAULT_METRIC = "eval_validation_mean_accuracy"


def is_oracle(metric: str) -> bool:
    """Whether a metric looks at test rows: of test environments, or of the training environments."""
    return metric.removeprefix("eval_").startswith(("test_", f"{IN_DOMAIN}_"))


@dataclass
class OODConfig(EnvironmentOptions, TrainingArguments):
    """`transformers.TrainingArguments` plus the options of `EnvironmentOptions`.

    Changed defaults, after DomainBed's (Gulrajani & Lopez-Paz 2021, arXiv:2007.01434) for MNIST-sized
    images: Adam with a constant learning rate of 1e-3 and no clipping. Evaluation, checkpoint and choice
    of the best checkpoint happen every epoch, by the mean accuracy over the training environments'
    held-out samples. Batches drop the last incomplete one and keep all their columns; parts of the loss
    are logged every 50 steps.
    """

    learning_rate: float = option(
        1e-3,
        "Initial learning rate (DomainBed: 1e-3).",
        search=Search(10**-4.5, 10**-2.5, "DomainBed, small images", log=True),
    )
    lr_scheduler_type: str = option("constant", "Learning-rate schedule, as in TrainingArguments.")
    max_grad_norm: float = option(0.0, "Largest gradient norm; 0 never clips.")
    per_device_train_batch_size: int = option(
        192,
        "Batch size per process (DomainBed: 64 per environment).",
        search=Search(24, 1536, "DomainBed, small images of three environments", log=True),
    )
    per_device_eval_batch_size: int = option(1000, "Evaluation batch size per process.")
    num_train_epochs: float = option(5.0, "Passes over the training images.")
    eval_strategy: str = option("epoch", "When to evaluate: no | steps | epoch.")
    save_strategy: str = option("epoch", "When to save: no | steps | epoch | best.")
    save_total_limit: int | None = option(2, "Checkpoints kept: the best and the latest.")
    load_best_model_at_end: bool | None = option(  # type: ignore[assignment]
        None,
        "End with the checkpoint that --metric_for_best_model chooses. Default: yes, where evaluating and "
        "saving happen at the same time.",
    )
    metric_for_best_model: str | None = option(
        None,
        "What chooses the checkpoint. Default: the mean over the training environments of the accuracy on "
        "their held-out samples (eval_validation_mean_accuracy; of several labels a sample macro F1, of a "
        "regression the squared error). A metric "
        "of eval_test_... is an oracle and is labelled so.",
    )
    greater_is_better: bool | None = option(
        None, "Whether the metric grows as models get better. Only needed for a metric of your own."
    )
    early_stopping_patience: int | None = option(
        None,
        "Stop after this many evaluations in a row in which --metric_for_best_model did not get better. The "
        "run ends with its best checkpoint.",
    )
    early_stopping_threshold: float = option(
        0.0, "What counts as better: a change of the metric by more than this."
    )
    logging_steps: float = option(50, "Log every so many optimizer steps.")
    logging_nan_inf_filter: bool = option(
        False,
        "Off: nothing is left out of the logged loss. On or off, one that is not finite stops the training.",
    )
    dataloader_drop_last: bool = option(
        True, "Leave out the last incomplete training batch: penalties on it are noise."
    )
    dataloader_pin_memory: bool = option(torch.cuda.is_available(), "Pin batches for faster copies to a GPU.")
    ddp_find_unused_parameters: bool | None = option(False, "Search for unused parameters under DDP.")
    remove_unused_columns: bool = option(
        False,
        "Drop columns of a `datasets.Dataset` that the network's forward pass does not take; the environment "
        "always stays.",
    )

    def __post_init__(self) -> None:
        self._given = {name: value for name, value in self._values().items() if value != _DEFAULTS[name]}
        check_patience(self.early_stopping_patience, self.early_stopping_threshold)
        if self.load_best_model_at_end is None:
            if self.early_stopping_patience is not None and not self._saves_what_it_evaluates():
                raise ValueError(
                    f"early_stopping_patience with evaluating by {self.eval_strategy} and saving by "
                    f"{self.save_strategy}: the best checkpoint would not be there at the end. Set both "
                    "strategies to 'epoch' (or 'steps'), or load_best_model_at_end to False to end with the "
                    "last step."
                )
            self.load_best_model_at_end = self._saves_what_it_evaluates()
            if not self.load_best_model_at_end and "no" not in (self.eval_strategy, self.save_strategy):
                logger.warning(
                    f"Evaluating by {self.eval_strategy} and saving by {self.save_strategy} do not meet: the "
                    "run ends with its last step, not with its best checkpoint. Set save_strategy to 'best', "
                    "or both alike."
                )
        if launched_processes() > 1 and not torch.accelerator.is_available():
            # Left to themselves, TrainingArguments would train one whole run in every process.
            self.use_cpu, self.ddp_backend = True, self.ddp_backend or "gloo"
        # TrainingArguments would choose by eval_loss, and take whatever does not end in "loss" for a score.
        metric, greater = self.metric_for_best_model, self.greater_is_better
        super().__post_init__()
        self.metric_for_best_model, self.greater_is_better = metric, greater
        known = rises(metric or DEFAULT_METRIC)
        if greater is not None and known is not None and greater != known:
            raise ValueError(
                f"greater_is_better={greater}, but {metric or DEFAULT_METRIC} "
                f"{'rises' if known else 'falls'} as models get better: leave greater_is_better out."
            )
        self._made = self._values()

    def given(self) -> dict[str, Any]:
        """What was asked for, as it was given or set later: what differs from the defaults.

        Without what the arguments derive from each other, and without making default ones to compare with:
        `TrainingArguments` sets the processes up anew whenever it is made.
        """
        changed = {name: value for name, value in self._values().items() if value != self._made[name]}
        return {**self._given, **changed}

    def _values(self) -> dict[str, Any]:
        # No token: these values are pickled into training_args.bin and written into recipes.
        names = [field.name for field in fields(self) if field.init and not field.name.endswith("_token")]
        return {name: getattr(self, name) for name in names}

    def _saves_what_it_evaluates(self) -> bool:
        evaluating, saving = (str(getattr(s, "value", s)) for s in (self.eval_strategy, self.save_strategy))
        if saving == "steps" and evaluating == "steps":
            return self.save_steps % (self.eval_steps or self.logging_steps) == 0
        return evaluating == saving == "epoch" or (saving == "best" and evaluating != "no")

    @property
    def selection(self) -> str:
        """The rule that chose the final weights, in words."""
        return selection_rule(self)


_DEFAULTS = {
    field.name: field.default if field.default_factory is MISSING else field.default_factory()
    for field in fields(OODConfig)
    if field.init
}


def selection_rule(args: TrainingArguments) -> str:
    """The rule by which any arguments choose the final weights, in words."""
    if not args.load_best_model_at_end:
        return "last step"
    metric = (args.metric_for_best_model or DEFAULT_METRIC).removeprefix("eval_")
    oracle = "oracle: " if is_oracle(metric) else ""
    return f"{oracle}best {metric.replace('_', ' ')} over evaluations"
