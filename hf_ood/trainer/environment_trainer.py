"""The mixin that makes any `transformers.Trainer` minimise a function of per-environment sums."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainingArguments

from ..data import EnvironmentRows, EnvironmentSampler
from ..engine import (
    AUXILIARY_LOSS,
    FrozenStart,
    MethodForward,
    MethodTraining,
    NonFiniteLossError,
    Reduction,
    StepSettings,
    TrainingRecord,
    freeze_unused,
    is_sharded,
)
from ..engine.layer_decay import decay_by_layer
from ..engine.own_parameters import add_to_optimizer, build_networks
from ..json_files import defined
from ..methods.averaging import Averaging
from ..methods.losses import CrossEntropy, SampleLoss, loss_for
from ..methods.masking import FeatureTransform
from ..methods.mixing import Mixing
from ..methods.objectives import ERM, Objective, Outputs
from ..methods.objectives.functional import at_least_float32, largest_class
from ..methods.registry import Method
from ..methods.updates import Update
from ..models import check_reads_out
from . import checks, data_checks
from .callbacks import MethodCallback
from .checkpointing import Checkpointing
from .checkpoints import (
    last_whole_checkpoint,
    load_state,
    no_whole_checkpoint,
    require_optimizer,
    require_resumable,
)
from .data_identity import refuse_other_data
from .environment_evaluation import EnvironmentEvaluation, without_environment
from .environment_options import EnvironmentOptions
from .given_loss import PerSample, check_applied, check_base, own_losses, try_losses
from .nonfinite import require_finite_weights
from .ood_config import selection_rule
from .search import goes_by, require_optuna, with_options, without_dotted
from .stop_on_signal import StopOnSignal, without_jit_checkpoint


class EnvironmentTrainer(Checkpointing, EnvironmentEvaluation):
    """Over any `Trainer`: batches of equal environments, an objective of per-environment sums, exact whatever
    the number of gradient-accumulation steps and of processes, a feature transform inside the forward pass,
    measures of each environment.

    A network whose outputs have `logits` and whose inputs have `labels` needs nothing more. Another one, and
    a trainer that computes a loss of its own, supply `per_sample`. Arguments are the trainer's own; with
    `EnvironmentOptions` mixed into their class they also say how environments are sampled.

    Args, besides those of the trainer and of `EnvironmentEvaluation`:
        objective: what is minimised; ERM if not given.
        feature_transform: what is done to features on the way forward, or None.
        mixing: what is done to a training batch before the forward pass, or None.
        update: how gradients become a step of the weights; None: the optimizer's step.
        averaging: what becomes of the weights that the training passes through; None: nothing.
        loss: what a sample costs; if not given cross-entropy, of a regression the squared error, of several
            labels a sample the mean of their binary cross-entropies.
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
    frozen_start: FrozenStart | None = None
    """The network as it was when the training began, for an objective that `needs_start`."""
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
        **kwargs: Any,
    ):
        if objective is None:
            objective = ERM() if self.objective_class is Objective else self.objective_class()
        if feature_transform is None and self.feature_transform_class is not None:
            feature_transform = self.feature_transform_class()
        self.method = copy.deepcopy(Method(objective, feature_transform, mixing, update, averaging))
        self.loss = loss
        self._searched: float | None = None
        self._checked: tuple[int, int] | None = None
        self._check_classes()
        self.options = args if isinstance(args, EnvironmentOptions) else EnvironmentOptions()
        if args is not None:  # before Trainer acts on them
            checks.check_arguments(args, self.options, self.method)
        super().__init__(model, args, **kwargs)
        self.options = self.args if isinstance(self.args, EnvironmentOptions) else EnvironmentOptions()
        check_base(self, super(EnvironmentEvaluation, self).compute_loss, self.per_sample)
        self.reduction = Reduction.of(self.accelerator)
        self.label_smoother = None  # smoothing is the loss's; evaluations are of the plain one, to compare
        self.validation_loss = self._validation_prefix() + "loss"
        self.after_steps = MethodCallback(self.update, self.validation_loss)
        self.after_steps.take_up = self.take_up
        self.add_callback(self.after_steps)
        self.stop_on_signal = StopOnSignal(self.reduction.processes)
        if self.options.save_on_signal or self.args.enable_jit_checkpoint:
            without_jit_checkpoint(self)
            self.add_callback(self.stop_on_signal)
        self._check()
        if self.train_dataset is not None:
            self._look_at_network()
            self._build_networks()

    def _check_classes(self) -> None:
        checks.check_class(type(self).__name__, self.method.objective, self.objective_class)
        if self.feature_transform is not None:
            expected = self.feature_transform_class or FeatureTransform
            checks.check_class(type(self).__name__, self.feature_transform, expected)

    @property
    def measures_classes(self) -> bool:  # type: ignore[override]
        return self.per_sample is None

    @property
    def chooses_itself(self) -> bool:
        return bool(self.averaging and self.averaging.selection)

    def _check(self) -> None:
        checks.check_processes(self.args)
        checks.check_precision(self.accelerator.mixed_precision, self.accelerator.device)
        checks.check_divisible(self.method.objective, self.args, self.reduction.processes)
        checks.check_given_loss(
            self.loss,
            self.args.label_smoothing_factor,
            "compute_loss_func" if self.compute_loss_func else "per_sample" if self.per_sample else None,
            self.mixing,
        )
        checks.check_loss(self.loss, self.mixing, self.options.environment_proportions)
        sharded = self._divides_weights()
        if self.update is not None:
            compiled = self.args.torch_compile
            checks.check_update(self.update, self.method.objective, self.mixing, compiled, sharded)
        if self.averaging is not None:
            validates = self._validation_prefix() != "" and self.args.eval_strategy != "no"
            checks.check_averaging(self.averaging, validates, sharded)
        given = self.optimizer is not None
        checks.check_near_the_start(self.options, self.accelerator.mixed_precision, sharded, given)
        checks.check_division(self.model, self.is_fsdp_enabled or self.is_deepspeed_enabled)
        if self.train_dataset is not None:
            self._check_training_set()

    def _check_training_set(self) -> None:
        """Once for each training set and batch size: a trainer may be given others."""
        known = id(self.train_dataset), self._train_batch_size
        if known == self._checked:
            return
        self._checked = known
        rows, objective = self.training_rows, self.method.objective
        for method in (objective, self.update):
            if method is not None:
                data_checks.check_environments(rows, method)
        if self.per_sample is None:
            data_checks.check_labels(rows, objective, self.feature_transform, self.model)
        if self.per_sample is None and self.compute_loss_func is None:
            self._make_loss()
        if self.mixing is not None:
            data_checks.check_mixing(self.mixing, objective, rows)
        batch, processes = self._train_batch_size, self.reduction.processes
        data_checks.check_batches(rows, self.args, self.options, batch, processes)

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
        return own or selection_rule(self.args)

    # Data

    def get_train_dataloader(self) -> DataLoader:
        """Batches of the environments in the asked proportions, whatever the trainer below would order."""
        return Trainer.get_train_dataloader(self)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        rows = self.training_rows if train_dataset is None else self.as_environments(train_dataset)
        if self.args.train_sampling_strategy != "random":
            given = rows.dataset if isinstance(rows, EnvironmentRows) else rows  # its columns may say lengths
            return super()._get_train_sampler(given)
        return EnvironmentSampler.of(
            rows,
            self.options.environment_proportions,
            self.options.sample_with_replacement,
            self.args.seed if self.args.data_seed is None else self.args.data_seed,
            self._train_batch_size * self.args.gradient_accumulation_steps * self.reduction.processes,
        )

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> None:
        """Objectives count samples by environment; `Trainer` would gather numbers that no one uses."""

    # Training

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer.train`; `resume_from_checkpoint=True` takes the latest checkpoint that is whole."""
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_whole_checkpoint(str(self.args.output_dir))
            if resume_from_checkpoint is None:
                raise ValueError(no_whole_checkpoint(str(self.args.output_dir)))
            require_optimizer(resume_from_checkpoint)
        elif resume_from_checkpoint:
            require_resumable(resume_from_checkpoint)
        if resume_from_checkpoint:
            refuse_other_data(resume_from_checkpoint, self.training_rows)
        with self._listening():
            result = super().train(resume_from_checkpoint or None, *args, **kwargs)
        require_finite_weights(self.model, self.state.global_step, str(self.args.output_dir))
        return self.with_whole_loss(result)

    def _listening(self) -> AbstractContextManager[None]:
        together = self.reduction.processes == 1 or torch.distributed.is_initialized()
        asked = self.options.save_on_signal or self.args.enable_jit_checkpoint
        return self.stop_on_signal.listening() if asked and together else nullcontext()

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: Any
    ) -> Any:
        self._begin_training(max_steps)
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        if resume_from_checkpoint is not None:
            load_state(self.training.stateful, resume_from_checkpoint)
        return prepared

    def _begin_training(self, max_steps: int) -> None:
        """Everything of the method starts afresh, on the network that will be trained."""
        self._check_training_set()
        self.method.objective.start(max_steps)
        self._look_at_network()
        if self.model_init is not None:
            self._build_networks()
        if self.per_sample is None and not self._divides_weights():
            freeze_unused(self.model, self._few_inputs())
        self.sample_loss = self._make_loss()
        objective = self.method.objective
        self.frozen_start = (
            FrozenStart(self.model, self.args.device, objective.name) if objective.needs_start else None
        )
        if self.per_sample is not None or self.compute_loss_func is not None:
            try_losses(self.outputs, self.model, self._few_samples(self.training_rows))
        if self.args.torch_compile and self.method.objective.needs_features:
            # Compiled code serves all networks of a class and does not look for hooks: what was compiled
            # earlier in this process, for an objective without features, would give none.
            torch.compiler.reset()
        self.training = MethodTraining(
            self.method.objective,
            self.feature_transform,
            self.update,
            self.averaging,
            model=self.model,
            forward=self.outputs,
            environment_names=self.environment_names,
            reduction=self.reduction,
            device=self.args.device,
            prepare=self._prepare_inputs,
            first_pass_graph=self.per_sample is not None,
            l2_sp=self.options.l2_sp,
            frozen_start=self.frozen_start,
        )
        self.after_steps.average = self.training.average

    @property
    def record(self) -> TrainingRecord:
        """What is tracked between two log entries of the training."""
        return self.training.record

    def _look_at_network(self) -> None:
        """Find the network's parts. Raises `ValueError` for a network that lacks what the method needs."""
        self.network = MethodForward(
            self.model,
            self.feature_transform,
            self.method.objective.needs_features,
            self._few_inputs() if self.feature_transform is not None else {},
            self.options.feature_layer,
            self.options.freeze_batch_norm,
            self.args.torch_compile,
        )
        if self.method.objective.needs_head:
            check_reads_out(self.model, self._few_inputs())

    def _build_networks(self) -> None:
        build_networks(
            self.method.objective,
            self.network.penultimate,
            self.training_rows,
            self.args.device,
            self.args.seed,
            self.options.environment_proportions,
        )
        checks.check_own_networks(self.method.objective, self.update, self._divides_weights())

    def _few_inputs(self) -> dict[str, Any]:
        return without_environment(self._few_samples(self.training_rows))

    def _make_loss(self) -> SampleLoss:
        """The loss of a sample: the one that was given, or the usual of its labels with the arguments'
        smoothing."""
        smoothing = self.args.label_smoothing_factor
        rows = self.training_rows
        if not rows.has_labels:
            return self.loss or CrossEntropy(label_smoothing=smoothing)
        return loss_for(rows.labels, self._num_classes(), self.loss, smoothing)

    def _num_classes(self) -> int:
        return getattr(getattr(self.model, "config", None), "num_labels", None) or len(
            self.training_rows.label_names
        )

    def _divides_weights(self) -> bool:
        return self.is_fsdp_enabled or self.is_deepspeed_enabled or is_sharded(self.model)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        given = self.optimizer is not None
        optimizer = super().create_optimizer(*args, **kwargs)
        if self.options.layer_decay < 1 and not given:
            decay_by_layer(optimizer, args[0] if args else self.model, self.options.layer_decay)
        add_to_optimizer(self.method.objective, optimizer, self.lr_scheduler, self.args.learning_rate)
        return optimizer

    # A step

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list, Any]:
        batches, number = super().get_batch_samples(*args, **kwargs)
        self.training.receive(batches)
        return batches, number

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        self.training.begin_step(inputs, self.state.global_step, self.state.max_steps, self.optimizer)
        if self.update is None:
            before = self.training.shares
            loss = super().training_step(model, inputs, num_items_in_batch)
            check_applied(type(self).__name__, self.training.shares - before)
        else:
            loss = self._update_step(model)
        self.training.after_backward(model, loss, is_last=self.accelerator.sync_gradients)
        return loss

    def _update_step(self, model: nn.Module) -> Tensor:
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
        with self.compute_loss_context_manager():
            return self.training.update_step(self.accelerator.unwrap_model(model), settings)

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
        loss = self.training.share(model, inputs)
        return (loss, self.training.outputs) if return_outputs else loss

    def forward(self, model: nn.Module, inputs: dict[str, Any]) -> Any:
        """Run the network, through the feature transform if there is one and the model is training."""
        return self.network(model, inputs)

    def outputs(self, model: nn.Module, batch: Mapping[str, Any]) -> Outputs:
        """One forward pass, of a mixed batch if there is a mixing: what the objective sees of it."""
        inputs, number = dict(batch), len(self.environment_names)
        if (per_sample := self.per_sample) is not None:
            with self.network.catching():
                losses, logits, environments = per_sample(model, inputs)
            return Outputs(
                logits,
                None,
                environments,
                number,
                self.network.features(),
                given_losses=at_least_float32(losses),
                start_features=self._at_start(lambda start: per_sample(start, dict(batch))),
            )
        if self.mixing is not None:
            inputs = self.mixing(inputs, self._num_classes())
        labels, environments = inputs["labels"], inputs["environment"]
        # To the network, and to a feature transform in it, a mixed sample is of its largest share's class.
        shown = labels if self.sample_loss.multi_label else largest_class(labels)
        known = {**without_environment(inputs), "labels": shown}
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
            head=self.network.head if self.network.penultimate else None,
            start_features=self._at_start(lambda start: self.forward(start, known)),
        )

    def _at_start(self, run: Callable[[nn.Module], Any]) -> Tensor | None:
        """The features [B, D] of the network at its start, which is `run`; None where nobody needs them."""
        if self.frozen_start is None:
            return None
        with self.accelerator.autocast():
            return at_least_float32(self.frozen_start.features(run))

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
            logs = {**logs, "train_loss": self._mean_loss()}
        shown = defined(logs)
        super().log(shown, start_time)
        logs |= {name: value for name, value in shown.items() if name not in logs}  # what trainers below add

    # Evaluation

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        if self.is_in_train:
            self._require_finite()
        return super().evaluate(*args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        with self._averaged_weights():
            return super().evaluation_loop(*args, **kwargs)

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
