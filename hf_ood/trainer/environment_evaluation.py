"""The mixin that evaluates any `transformers.Trainer` by environment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, Trainer, TrainingArguments
from transformers.trainer_callback import ProgressCallback
from transformers.trainer_pt_utils import nested_numpify
from transformers.utils import logging

from ..data import EnvironmentDataset, EnvironmentRows, collate
from ..data.align import with_classes_of
from ..models.modes import evaluation_mode
from . import checks
from .callbacks import EnvironmentProgress, early_stopping_hears
from .choice import goes_by_metric, require_metric, resolve_choice, split_prefix
from .collator import EnvironmentCollator
from .computed_metrics import all_metrics, labels_alone
from .early_stopping import early_stopping
from .nonfinite import require_finite_evaluation, require_finite_logits

logger = logging.get_logger(__name__)
FEW = 8  # rows on which a user's metrics are tried


class EnvironmentEvaluation(Trainer):
    """Over any `Trainer`: every evaluation has the measures of each environment, and checkpoints can be
    chosen by them; environments and classes of different data sets are matched by name.

    A `datasets.Dataset` needs a column of environments, names or numbers. A user's `compute_metrics` gets
    `label_ids` as everywhere, and the environments as `prediction.environments` (int [N]) with
    `prediction.environment_names`; its metrics stand beside the library's. Training is the trainer's own.

    Args, besides those of the trainer:
        environment_column: the column of a `datasets.Dataset` that tells a row's environment.

    Example:
        class MyTrainer(EnvironmentEvaluation, Trainer): ...

        MyTrainer(model, TrainingArguments(metric_for_best_model="worst_accuracy", ...), train_dataset=rows,
                  eval_dataset={"validation": seen, "test": unseen}).train()
    """

    model: nn.Module
    measures_classes = True
    """Whether networks give logits of labelled classes or targets, so that the library can measure them."""

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        *,
        environment_column: str = "environment",
        train_dataset: Any = None,
        eval_dataset: Any = None,
        **kwargs: Any,
    ):
        self.environment_column = environment_column
        self._rows: dict[int, tuple[Any, EnvironmentDataset]] = {}
        self._has_collator = kwargs.get("data_collator") is not None
        if args is not None:
            args = copy.copy(args)
            args.accelerator_config = copy.deepcopy(args.accelerator_config)  # Trainer writes into it
            self._resolve(args, eval_dataset, kwargs.get("compute_metrics") is not None)
        super().__init__(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, **kwargs)
        self._own_metrics = self.compute_metrics
        self._own_preprocessing: Callable[..., Any] | None = self.preprocess_logits_for_metrics
        if self.measures_classes:
            names = self.label_names or ["labels"]
            self.label_names = [*(name for name in names if name != "environment"), "environment"]
            self.compute_metrics = self._compute_metrics
            if self._own_preprocessing is not None:
                self.preprocess_logits_for_metrics = self._preprocess_logits  # type: ignore[assignment]
        checks.check_evaluation(self.args, self.measures_classes)
        stopping = early_stopping(self.args, self.callback_handler.callbacks)
        if stopping is not None and self.train_dataset is not None:
            self.add_callback(stopping)
        if any(isinstance(callback, ProgressCallback) for callback in self.callback_handler.callbacks):
            self.remove_callback(ProgressCallback)
            self.add_callback(EnvironmentProgress())

    def _resolve(self, args: TrainingArguments, eval_dataset: Any, own_metrics: bool) -> None:
        """Settle in `args`, before `Trainer` reads them, what depends on the data sets and the method."""
        splits = eval_dataset if isinstance(eval_dataset, dict) else {"": eval_dataset}
        splits = {split: data for split, data in splits.items() if data is not None}
        views = {split: self.as_environments(data) for split, data in splits.items()}
        resolve_choice(args, views, own_metrics, self.chooses_itself, measured=self.measures_classes)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        self._try_metric()
        return super().train(*args, **kwargs)

    def _try_metric(self) -> None:
        """Look whether the user's metrics, of a few rows, have the one that will be waited for."""
        metric = self.args.metric_for_best_model
        waits = self.args.load_best_model_at_end or goes_by_metric(self.args)
        if self._own_metrics is None or metric is None or not waits or not self.measures_classes:
            return
        splits = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"": self.eval_dataset}
        prefixes = [split for split in splits if metric.startswith(split_prefix(split))]
        if not prefixes:
            return
        split = max(prefixes, key=len)
        rows = self.as_environments(splits[split])
        samples = self._few_samples(rows, FEW)
        with evaluation_mode(self.model), torch.no_grad():
            logits = self.model(**without_environment(samples)).logits
            if self._own_preprocessing is not None:
                logits = self._preprocess_logits(logits, tuple(samples[name] for name in self.label_names))
        labels = [samples[name].numpy(force=True) for name in self.label_names]
        given = nested_numpify(logits)
        prediction = EvalPrediction(self._logits_and_shown(given)[0], tuple(labels))
        try:
            shown = self._logits_and_shown(given)[1]
            tried = copy.deepcopy(self._own_metrics)  # one that counts its calls must not count this one
            found = all_metrics(prediction, rows.environment_names, tried, shown)
        except Exception as error:  # whatever a user's function makes of so few rows
            logger.info(f"compute_metrics could not be tried on {len(labels[0])} rows: {error}")
            return
        require_metric(metric, [split_prefix(split) + name for name in ("loss", *found)])

    @property
    def chooses_itself(self) -> bool:
        """Whether the end of the training is itself the choice of weights: no checkpoint is chosen then."""
        return False

    # Data

    def as_environments(self, dataset: Any) -> EnvironmentDataset:
        """The rows of any data set that knows its environments."""
        if isinstance(dataset, EnvironmentDataset):
            return dataset
        if id(dataset) not in self._rows:
            self._rows[id(dataset)] = dataset, self.read_environments(dataset)
        return self._rows[id(dataset)][1]

    def read_environments(self, dataset: Any) -> EnvironmentDataset:
        return EnvironmentRows.of(dataset, self.environment_column)

    @property
    def training_rows(self) -> EnvironmentDataset:
        return self.as_environments(self.train_dataset)

    @property
    def environment_names(self) -> list[str]:
        """Those of the training set; evaluations go by the names of their own data."""
        return [] if self.train_dataset is None else self.training_rows.environment_names

    def _get_dataloader(
        self,
        dataset: Any,
        description: str,
        batch_size: int,
        sampler_fn: Any = None,
        is_training: bool = False,
        dataloader_key: str | None = None,
    ) -> DataLoader:
        rows = self.as_environments(dataset)
        if not is_training and self.train_dataset is not None and self.measures_classes:
            rows = with_classes_of(
                rows, self.training_rows.label_names, f"the set of {description.lower()}", "the training set"
            )
        # Trainer would drop the last incomplete batch in evaluation too, and with it samples of the results.
        collator, drop_last = self.data_collator, self.args.dataloader_drop_last
        self.data_collator = self._collator(rows)
        self.args.dataloader_drop_last = drop_last and is_training
        try:
            return super()._get_dataloader(
                rows, description, batch_size, sampler_fn, is_training, dataloader_key
            )
        finally:
            self.data_collator, self.args.dataloader_drop_last = collator, drop_last

    def _collator(self, rows: EnvironmentDataset) -> EnvironmentCollator:
        """Rows, and what a given collator gets, go the usual way; an `EnvironmentDataset` makes batches."""
        usual = self._has_collator or isinstance(rows, EnvironmentRows)
        return EnvironmentCollator(self.data_collator if usual else collate)

    def _get_collator_with_removed_columns(self, data_collator: Any, description: str | None = None) -> Any:
        if not isinstance(data_collator, EnvironmentCollator) or data_collator.collator is collate:
            return data_collator
        below = super()._get_collator_with_removed_columns(data_collator.collator, description)
        return EnvironmentCollator(below)

    def _few_samples(self, rows: EnvironmentDataset, number: int = 2) -> dict[str, Any]:
        """The inputs for the first samples of a data set, beside the network's weights, which FSDP and
        DeepSpeed move only when training begins."""
        collator = self._get_collator_with_removed_columns(self._collator(rows), "samples")
        batch = collator(rows.__getitems__(range(min(number, len(rows)))))
        return send_to_device(batch, next(self.model.parameters()).device)

    # Training, where the network need not know environments

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        return super().compute_loss(model, without_environment(inputs), return_outputs, num_items_in_batch)

    # Evaluation

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        given = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(given, dict):
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        with early_stopping_hears(self.callback_handler, metric_key_prefix == self._choosing_prefix()):
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def _choosing_prefix(self) -> str:
        """The `metric_key_prefix` of the evaluations that hold `metric_for_best_model`."""
        splits = self.eval_dataset if isinstance(self.eval_dataset, dict) else [""]
        prefixes = sorted((split_prefix(split) for split in splits), key=len, reverse=True)
        metric = str(self.args.metric_for_best_model)
        return next((prefix[:-1] for prefix in prefixes if metric.startswith(prefix)), "")

    def evaluation_loop(self, dataloader: DataLoader, *args: Any, **kwargs: Any) -> Any:
        rows = getattr(dataloader, "dataset", None)
        self._evaluated_names = rows.environment_names if isinstance(rows, EnvironmentDataset) else []
        output = super().evaluation_loop(dataloader, *args, **kwargs)
        logits, shown = self._logits_and_shown(output.predictions)
        folder = str(self.args.output_dir)
        require_finite_logits(logits, rows, folder)
        if self.measures_classes:  # logits are not kept where losses alone are asked for
            loss = f"{kwargs.get('metric_key_prefix', 'eval')}_loss"
            require_finite_evaluation(loss, (output.metrics or {}).get(loss), folder)
        return output._replace(predictions=shown)

    def _preprocess_logits(self, logits: Any, labels: Any) -> tuple[Any, Any]:
        """The logits, which the library measures, and what `preprocess_logits_for_metrics` makes of them."""
        assert self._own_preprocessing is not None
        return logits, self._own_preprocessing(logits, None if labels is None else labels_alone(labels))

    def _logits_and_shown(self, predictions: Any) -> tuple[Any, Any]:
        """Gathered predictions: what the library measures, and what its user gets to see."""
        both = self.measures_classes and self._own_preprocessing is not None and predictions is not None
        return tuple(predictions) if both else (predictions, predictions)

    def _compute_metrics(self, prediction: Any) -> dict[str, Any]:
        shown = self._logits_and_shown(prediction.predictions)[1]
        return all_metrics(prediction, self._evaluated_names, self._own_metrics, shown)

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> tuple[Any, Any, Any]:
        """Keeps the logits alone, the first of what a network gives beside its loss: hidden states of a whole
        data set would be gathered too."""
        if not self.measures_classes or any(inputs.get(name) is None for name in self.label_names):
            inputs = without_environment(inputs)  # no labels: nothing is measured, and networks know none
        loss, outputs, labels = super().prediction_step(model, inputs, *args, **kwargs)
        return loss, outputs[0] if isinstance(outputs, tuple) else outputs, labels

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer.predict`: `label_ids` are the labels; rows, and so environments, are in the data set's
        order."""
        result = super().predict(test_dataset, *args, **kwargs)
        if self.measures_classes and isinstance(result.label_ids, tuple):
            result = result._replace(label_ids=labels_alone(result.label_ids))
        return result

    def _validation_prefix(self) -> str:
        """What the validation set's metrics begin with; empty where there is none."""
        if isinstance(self.eval_dataset, dict):
            return split_prefix("validation") if "validation" in self.eval_dataset else ""
        return "" if self.eval_dataset is None else split_prefix("")


def without_environment(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the network takes: it need not know environments."""
    return {name: value for name, value in inputs.items() if name != "environment"}
