"""The mixin that makes any `transformers.Trainer` minimise a function of per-environment sums."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import ProgressCallback

from ..averaging import Averaging
from ..data import EnvironmentDataset, EnvironmentRows, EnvironmentSampler, collate
from ..engine import (
    AUXILIARY_LOSS,
    ExactStep,
    MethodForward,
    NonFiniteLossError,
    Reduction,
    Stateful,
    StepSettings,
    TrainingRecord,
    WeightAverage,
    WholeStep,
    freeze_unused,
    is_sharded,
)
from ..engine.own_parameters import add_to_optimizer, average_gradients, build_networks, rest
from ..losses import CrossEntropy, SampleLoss
from ..masking import FeatureTransform
from ..mixing import Mixing
from ..objectives import ERM, Objective, Outputs
from ..objectives.functional import at_least_float32, largest_class
from ..updates import Update
from . import checks
from .callbacks import EnvironmentProgress, MethodCallback, early_stopping_at
from .checkpoints import last_whole_checkpoint, load_state, require_whole, save_manifest, save_state
from .choice import resolve_choice, split_prefix
from .collator import EnvironmentCollator
from .environment_options import EnvironmentOptions
from .given_loss import PerSample, check_base, own_losses, try_losses
from .measures import all_metrics, labels_alone
from .methods import Method
from .nonfinite import non_finite_loss, require_finite_logits, require_finite_weights
from .ood_config import OODConfig
from .renamed_weights import has_other_names, load_by_from_pretrained
from .search import goes_by, require_optuna, with_options, without_dotted


class EnvironmentTrainer(Trainer):
    """Over any `Trainer`: batches of equal environments, an objective of per-environment sums, exact whatever
    the number of gradient-accumulation steps and of processes, a feature transform inside the forward pass,
    measures of each environment.

    A network whose outputs have `logits` and whose inputs have `labels` needs nothing more. Another one, and
    a trainer that computes a loss of its own, supply `per_sample`. Arguments are the trainer's own; with
    `EnvironmentOptions` mixed into their class they also say how environments are sampled.

    Args, besides those of the trainer:
        objective: what is minimised; ERM if not given.
        feature_transform: what is done to features on the way forward, or None.
        mixing: what is done to a training batch before the forward pass, or None.
        update: how gradients become a step of the weights; None: the optimizer's step.
        averaging: what becomes of the weights that the training passes through; None: nothing.
        loss: what a sample costs; cross-entropy (of a regression the squared error) if not given.
        environment_column: the column of a `datasets.Dataset` that tells a row's environment.
    What is given is copied: several trainers may share it.

    Example:
        class EnvironmentRewardTrainer(EnvironmentTrainer, RewardTrainer):
            def per_sample(self, model, inputs):
                ...
                return losses, logits, inputs["environment"]
    """

    objective_class: ClassVar[type[Objective]] = Objective  # type: ignore[type-abstract]
    """What a named trainer minimises; others take any objective."""
    feature_transform_class: ClassVar[type[FeatureTransform] | None] = None
    """What a named trainer does to features; others take any transform, or none."""
    per_sample: Callable[..., PerSample] | None = None
    """Hook: `per_sample(model, inputs) -> losses [B], logits, environments [B]`; the losses are computed from
    the logits, and `inputs["environment"]` has the environments."""
    model: nn.Module
    loss_is_scaled_for_ga = True  # compute_loss returns a micro-batch's share of the whole step's loss

    # What is made

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        *,
        objective: Objective | None = None,
        feature_transform: FeatureTransform | None = None,
        mixing: Mixing | None = None,
        update: Update | None = None,
        averaging: Averaging | None = None,
        loss: SampleLoss | None = None,
        environment_column: str = "environment",
        train_dataset: Any = None,
        eval_dataset: Any = None,
        **kwargs: Any,
    ):
        if objective is None:
            objective = ERM() if self.objective_class is Objective else self.objective_class()
        if feature_transform is None and self.feature_transform_class is not None:
            feature_transform = self.feature_transform_class()
        self.method = copy.deepcopy(Method(objective, feature_transform, mixing, update, averaging))
        self.loss, self.environment_column = loss, environment_column
        self.average: WeightAverage | None = None
        self._rows: dict[int, tuple[Any, EnvironmentDataset]] = {}
        self._window: list[dict[str, Any]] = []  # the micro-batches of the step, of which some are done
        self._position = 0
        self._searched: float | None = None
        self._check_classes()
        if args is not None:
            args = copy.copy(args)
        self.options = args if isinstance(args, EnvironmentOptions) else EnvironmentOptions()
        self._has_collator = kwargs.get("data_collator") is not None
        own_metrics = kwargs.get("compute_metrics")
        if args is not None:
            self._resolve(args, eval_dataset, own_metrics is not None)
        super().__init__(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, **kwargs)
        check_base(self, super().compute_loss, self.per_sample)
        self._own_metrics = self.compute_metrics
        if self.per_sample is None:
            names = self.label_names or ["labels"]
            self.label_names = [*(name for name in names if name != "environment"), "environment"]
            self.compute_metrics = self._compute_metrics
        self.reduction = Reduction.of(self.accelerator)
        self.label_smoother = None  # smoothing is the loss's; evaluations are of the plain one, to compare
        self.validation_loss = self._validation_prefix() + "loss"
        self.after_steps = MethodCallback(self.update, self.validation_loss)
        self.add_callback(self.after_steps)
        if any(isinstance(callback, ProgressCallback) for callback in self.callback_handler.callbacks):
            self.remove_callback(ProgressCallback)
            self.add_callback(EnvironmentProgress())
        self._check()
        if self.train_dataset is not None:
            self._look_at_network()
            self._build_networks()

    def _check_classes(self) -> None:
        checks.check_class(type(self).__name__, self.method.objective, self.objective_class)
        if self.feature_transform is not None:
            expected = self.feature_transform_class or FeatureTransform
            checks.check_class(type(self).__name__, self.feature_transform, expected)

    def _resolve(self, args: TrainingArguments, eval_dataset: Any, own_metrics: bool) -> None:
        """Settle in `args`, before `Trainer` reads them, what depends on the data sets and the method."""
        splits = eval_dataset if isinstance(eval_dataset, dict) else {"": eval_dataset}
        splits = {split: data for split, data in splits.items() if data is not None}
        views = {split: self.as_environments(data) for split, data in splits.items()}
        itself = bool(self.averaging and self.averaging.selection)
        resolve_choice(args, views, own_metrics, itself, measured=self.per_sample is None)

    def _check(self) -> None:
        checks.check_precision(self.accelerator.mixed_precision, self.accelerator.device)
        checks.check_arguments(self.args, self.options, self.method)
        checks.check_divisible(self.method.objective, self.args, self.reduction.processes)
        checks.check_given_loss(
            self.loss,
            self.args.label_smoothing_factor,
            "compute_loss_func" if self.compute_loss_func else "per_sample" if self.per_sample else None,
            self.mixing,
        )
        sharded = self._divides_weights()
        if self.update is not None:
            compiled = self.args.torch_compile
            checks.check_update(self.update, self.method.objective, self.mixing, compiled, sharded)
        if self.averaging is not None:
            validates = self._validation_prefix() != "" and self.args.eval_strategy != "no"
            checks.check_averaging(self.averaging, validates, sharded)
        if self.train_dataset is not None:
            self._check_training_set()

    def _check_training_set(self) -> None:
        rows, objective = self.training_rows, self.method.objective
        for method in (objective, self.update):
            if method is not None:
                checks.check_environments(rows, method)
        if self.per_sample is None:
            checks.check_labels(rows, objective, self.model)
        if self.mixing is not None:
            checks.check_mixing(self.mixing, objective, rows)
        batch, processes = self._train_batch_size, self.reduction.processes
        checks.check_batches(rows, self.args, self.options, batch, processes)

    @property
    def objective(self) -> Any:
        """What is minimised. While `hyperparameter_search` runs, `Trainer` keeps the value that it looks for
        under this name."""
        return self.method.objective if self.hp_search_backend is None else self._searched

    @objective.setter
    def objective(self, value: Any) -> None:
        if isinstance(value, Objective):
            self.method = Method(**{**vars(self.method), "objective": value})
        else:
            self._searched = value

    @property
    def feature_transform(self) -> FeatureTransform | None:
        return self.method.feature_transform

    @property
    def mixing(self) -> Mixing | None:
        return self.method.mixing

    @property
    def update(self) -> Update | None:
        return self.method.update

    @property
    def averaging(self) -> Averaging | None:
        return self.method.averaging

    @property
    def selection(self) -> str:
        """The rule that chose the final weights, in words."""
        own = self.averaging.selection if self.averaging else ""
        return own or OODConfig.selection.fget(self.args)  # type: ignore[attr-defined]

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

    def get_train_dataloader(self) -> DataLoader:
        """Batches of the environments in the asked proportions, whatever the trainer below would order."""
        return Trainer.get_train_dataloader(self)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        rows = self.training_rows if train_dataset is None else self.as_environments(train_dataset)
        if str(getattr(self.args.train_sampling_strategy, "value", "random")) != "random":
            return super()._get_train_sampler(rows)
        return EnvironmentSampler.of(
            rows,
            self.options.environment_proportions,
            self.options.sample_with_replacement,
            self.args.seed if self.args.data_seed is None else self.args.data_seed,
        )

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
        if not is_training and self.train_dataset is not None and self.per_sample is None:
            rows = checks.match_labels(
                rows, self.training_rows.label_names, f"The set of {description.lower()}"
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

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> None:
        """Objectives count samples by environment; `Trainer` would gather numbers that no one uses."""

    # Training

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer.train`; `resume_from_checkpoint=True` takes the latest checkpoint that is whole."""
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_whole_checkpoint(str(self.args.output_dir))
            if resume_from_checkpoint is None:
                raise ValueError(f"There is no whole checkpoint in {self.args.output_dir} to resume from.")
        if resume_from_checkpoint:
            require_whole(resume_from_checkpoint)
        result = super().train(resume_from_checkpoint or None, *args, **kwargs)
        require_finite_weights(self.model, self.state.global_step, str(self.args.output_dir))
        return result

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: Any
    ) -> Any:
        self._begin_training(max_steps)
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        if resume_from_checkpoint is not None:
            load_state(self.stateful, resume_from_checkpoint)
        return prepared

    def _begin_training(self, max_steps: int) -> None:
        """Everything of the method starts afresh, on the network that will be trained."""
        self._check_training_set()
        self.method.objective.start(max_steps)
        if self.model_init is not None:
            self._build_networks()
        self._look_at_network()
        if self.per_sample is None and not self._divides_weights():
            freeze_unused(self.model, without_environment(self._few_samples()))
        self.sample_loss = self._make_loss()
        if self.per_sample is not None or self.compute_loss_func is not None:
            try_losses(self.outputs, self.model, self._few_samples())
        if self.args.torch_compile and self.method.objective.needs_features:
            # Compiled code serves all networks of a class and does not look for hooks: what was compiled
            # earlier in this process, for an objective without features, would give none.
            torch.compiler.reset()
        self.record = TrainingRecord(self.environment_names, self.args.device)
        if self.averaging is not None:
            self.average = self.after_steps.average = WeightAverage(self.averaging, self.model)
        self.exact = ExactStep(
            self.method.objective,
            self.outputs,
            len(self.environment_names),
            self.reduction,
            self.record.add_batch,
            first_pass_graph=self.per_sample is not None,
        )
        self._window, self._position = [], 0

    @property
    def stateful(self) -> dict[str, Stateful]:
        """What lives between steps, by the name of its file in a checkpoint."""
        parts: dict[str, Stateful] = {"objective": self.method.objective, "training_record": self.record}
        return parts if self.average is None else {**parts, "averaging": self.average}

    def _look_at_network(self) -> None:
        """Find the network's parts. Raises `ValueError` for a network that lacks what the method needs."""
        self.network = MethodForward(
            self.model,
            self.feature_transform,
            self.method.objective.needs_features,
            without_environment(self._few_samples()) if self.feature_transform is not None else {},
            self.options.feature_layer,
            self.options.freeze_batch_norm,
            self.args.torch_compile,
        )

    def _build_networks(self) -> None:
        build_networks(
            self.method.objective,
            self.network.penultimate,
            self.training_rows,
            self.args.device,
            self.args.seed,
        )
        checks.check_own_networks(self.method.objective, self.update, self._divides_weights())

    def _few_samples(self) -> dict[str, Any]:
        """The inputs for the first two samples to train on, beside the network's weights, which FSDP and
        DeepSpeed move only when training begins."""
        rows = self.training_rows
        collator = self._get_collator_with_removed_columns(self._collator(rows), "training")
        return send_to_device(collator(rows.__getitems__([0, 1])), next(self.model.parameters()).device)

    def _make_loss(self) -> SampleLoss:
        """The loss of a sample: the one that was given, or cross-entropy with the arguments' smoothing."""
        smoothing = self.args.label_smoothing_factor
        loss = self.loss or CrossEntropy(label_smoothing=smoothing)
        rows = self.training_rows
        return loss.prepare(rows.labels, self._num_classes()) if rows.has_labels else loss

    def _num_classes(self) -> int:
        return getattr(getattr(self.model, "config", None), "num_labels", None) or len(
            self.training_rows.label_names
        )

    def _divides_weights(self) -> bool:
        return self.is_fsdp_enabled or self.is_deepspeed_enabled or is_sharded(self.model)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        optimizer = super().create_optimizer(*args, **kwargs)
        add_to_optimizer(self.method.objective, optimizer, self.lr_scheduler, self.args.learning_rate)
        return optimizer

    # A step

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list, Any]:
        self._window, number = super().get_batch_samples(*args, **kwargs)
        self._position = 0
        return self._window, number

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        self._window = self._window or [inputs]
        if self._position == 0:
            self._begin_step()
        if self.update is None:
            loss = super().training_step(model, inputs, num_items_in_batch)
        else:
            loss = self._update_step(model)
        self.record.add_loss(loss)
        if self.accelerator.sync_gradients and self.method.objective.parameters():
            average_gradients(self.method.objective, self.exact.reduction)
            rest(self.method.objective, model, self.state.global_step)
        return loss

    def _begin_step(self) -> None:
        """What happens once per optimizer step, before any forward pass."""
        step, objective = self.state.global_step, self.method.objective
        if self.feature_transform is not None:
            self.feature_transform.progress = step / max(self.state.max_steps, 1)
        for parameter in objective.parameters():
            parameter.grad = None  # Trainer clears the network's gradients only
        if self.optimizer is not None and objective.resets_optimizer(step):
            self.optimizer.state.clear()  # in place: Accelerate's wrapper and the scheduler hold on to it

    def _update_step(self, model: nn.Module) -> Tensor:
        """Hand the update all micro-batches at the last of them."""
        self._position += 1
        if self._position < len(self._window):
            return torch.zeros((), device=self.args.device)
        model.train()
        if self.optimizer is not None and hasattr(self.optimizer, "train"):
            self.optimizer.train()  # schedule-free optimizers have two modes
        settings = StepSettings(
            self.state.global_step,
            self.state.max_steps,
            self.optimizer,
            float(self._get_learning_rate()),
            self.args.max_grad_norm,
            self.accelerator.scaler,
            self.args.seed,
        )
        batches = [self._prepare_inputs(batch) for batch in self._window]
        with self.compute_loss_context_manager():
            step = WholeStep(self.exact, self.accelerator.unwrap_model(model), batches, settings)
            assert self.update is not None
            direction = self.update(step)
        step.leave(direction.gradient)
        self.record.add_step({**step.parts, **direction.parts})
        return direction.loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The objective. While training: this micro-batch's share of the whole step's loss, exact in
        gradient.

        In evaluation: the network's own plain loss, comparable over methods.
        """
        if not model.training:
            return super().compute_loss(
                model, without_environment(inputs), return_outputs, num_items_in_batch
            )
        if self._position == 0:
            batches = (
                [self._prepare_inputs(batch) for batch in self._window] if len(self._window) > 1 else [inputs]
            )
            self.exact.begin(model, batches, self.state.global_step, self.state.max_steps)
        loss = self.exact.share(inputs)
        self._position += 1
        if self._position >= len(self._window):
            self.record.add_step(self.exact.finish())
            self._window, self._position = [], 0
        return (loss, self.exact.outputs.network) if return_outputs else loss

    def forward(self, model: nn.Module, inputs: dict[str, Any]) -> Any:
        """Run the network, through the feature transform if there is one and the model is training."""
        return self.network(model, inputs)

    def outputs(self, model: nn.Module, batch: Mapping[str, Any]) -> Outputs:
        """One forward pass, of a mixed batch if there is a mixing: what the objective sees of it."""
        inputs, number = dict(batch), len(self.environment_names)
        if self.per_sample is not None:
            with self.network.catching():
                losses, logits, environments = self.per_sample(model, inputs)
            return Outputs(
                logits,
                None,
                environments,
                number,
                self.network.features(),
                given_losses=at_least_float32(losses),
            )
        if self.mixing is not None:
            inputs = self.mixing(inputs, self._num_classes())
        labels, environments = inputs["labels"], inputs["environment"]
        # To the network, and to a feature transform in it, a mixed sample is of its largest share's class.
        known = {**without_environment(inputs), "labels": largest_class(labels)}
        with self.network.catching():
            network = self.forward(model, known)
        features, logits = self.network.features(), network.logits
        given: Tensor | None = None
        if self.compute_loss_func is not None:
            logits, given = own_losses(self.compute_loss_func, network, labels)
        return Outputs(
            logits if given is not None else at_least_float32(logits),
            labels,
            environments,
            number,
            None if features is None else at_least_float32(features),
            loss=self.sample_loss,
            given_losses=given,
            auxiliary_losses=getattr(network, AUXILIARY_LOSS, None),
            network=network,
        )

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        own = self.method.objective.parameters()
        if not own:
            return super()._clip_grad_norm(model)
        return self.accelerator.clip_grad_norm_([*model.parameters(), *own], self.args.max_grad_norm)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self.is_in_train:
            self._require_finite()
            logs = {**logs, **self.record.logs(self.reduction)}
            self.record.reset()
        elif "train_loss" in logs:
            self._require_finite()
        super().log(logs, start_time)

    def _require_finite(self) -> None:
        if self.record.is_broken(self.reduction):
            broken = self.record.broken_environments(self.reduction)
            raise non_finite_loss(self.state.global_step, broken, str(self.args.output_dir))

    # Evaluation

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        if self.is_in_train:
            self._require_finite()
        given = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(given, dict):
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        metric = str(self.args.metric_for_best_model)
        with early_stopping_at(self.callback_handler, metric, metric_key_prefix):
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def evaluation_loop(self, dataloader: DataLoader, *args: Any, **kwargs: Any) -> Any:
        rows = getattr(dataloader, "dataset", None)
        self._evaluated_names = rows.environment_names if isinstance(rows, EnvironmentDataset) else []
        with self._averaged_weights():
            output = super().evaluation_loop(dataloader, *args, **kwargs)
        require_finite_logits(output.predictions, rows, str(self.args.output_dir))
        return output

    def _averaged_weights(self) -> AbstractContextManager[None]:
        """While training, evaluations and checkpoints are of averaged weights, if there are any."""
        return self.average.swapped_in() if self.average is not None and self.is_in_train else nullcontext()

    def _compute_metrics(self, prediction: Any) -> dict[str, Any]:
        return all_metrics(prediction, self._evaluated_names, self._own_metrics)

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> tuple[Any, Any, Any]:
        """Keeps the logits alone, the first of what a network gives beside its loss: hidden states of a whole
        data set would be gathered too."""
        if self.per_sample is not None or any(inputs.get(name) is None for name in self.label_names):
            inputs = without_environment(inputs)  # no labels: nothing is measured, and networks know none
        loss, outputs, labels = super().prediction_step(model, inputs, *args, **kwargs)
        return loss, outputs[0] if isinstance(outputs, tuple) else outputs, labels

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer.predict`: `label_ids` are the labels; rows, and so environments, are in the data set's
        order."""
        result = super().predict(test_dataset, *args, **kwargs)
        if self.per_sample is None and isinstance(result.label_ids, tuple):
            result = result._replace(label_ids=labels_alone(result.label_ids))
        return result

    def _validation_prefix(self) -> str:
        """What the validation set's metrics begin with; empty where there is none."""
        if isinstance(self.eval_dataset, dict):
            return split_prefix("validation") if "validation" in self.eval_dataset else ""
        return "" if self.eval_dataset is None else split_prefix("")

    # Checkpoints

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        with self._averaged_weights():
            super().save_model(*args, **kwargs)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._require_finite()
        require_finite_weights(self.model, self.state.global_step, str(self.args.output_dir))
        folder = f"{self._get_output_dir(trial)}/checkpoint-{self.state.global_step}"
        if self.args.should_save:
            shutil.rmtree(folder, ignore_errors=True)  # what an earlier run left there, perhaps in part
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            save_manifest(self.stateful, folder)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            save_state(self.stateful, output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if model is None and has_other_names(self.model, resume_from_checkpoint):
            load_by_from_pretrained(self.model, resume_from_checkpoint)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        best = str(self.state.best_model_checkpoint)
        if has_other_names(self.model, best):
            load_by_from_pretrained(self.model, best)
        else:
            super()._load_best_model()

    # Search

    def hyperparameter_search(
        self,
        hp_space: Callable[[Any], dict[str, Any]] | None = None,
        compute_objective: Callable[[dict[str, float]], float] | None = None,
        n_trials: int = 20,
        direction: Any = None,
        backend: Any = None,
        hp_name: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As `Trainer.hyperparameter_search`, over the method's options too
        (`irm.penalty_weight`, with Optuna).

        By default it looks for the best `metric_for_best_model`, in its direction. A trial whose loss is no
        longer finite fails alone.
        """
        compute_objective, found = goes_by(self.args, compute_objective)
        start = self.method

        def apply(options: dict[str, Any]) -> None:
            require_optuna(self.hp_search_backend, options)
            self.method = with_options(copy.deepcopy(start), options)

        if backend in (None, "optuna"):
            kwargs = {"catch": (NonFiniteLossError,), **kwargs}
        space = hp_space and without_dotted(hp_space, apply)
        try:
            return super().hyperparameter_search(
                space, compute_objective, n_trials, direction or found, backend, hp_name, **kwargs
            )
        finally:
            self.method, self.hp_search_backend = start, None


def without_environment(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the network takes: it need not know environments."""
    return {name: value for name, value in inputs.items() if name != "environment"}
