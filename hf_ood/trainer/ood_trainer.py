"""The engine: `transformers.Trainer` that minimises a function of per-environment sums."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import PreTrainedModel
from transformers.trainer_callback import ProgressCallback

from ..averaging import Averaging
from ..data import EnvironmentDataset, EnvironmentSampler, as_environment_dataset, collate
from ..data.environments import REPEATS
from ..evaluation import EnvironmentMetrics
from ..losses import CrossEntropy, SampleLoss
from ..masking import FeatureTransform
from ..mixing import Mixing
from ..objectives import ERM, Objective, Outputs, Sums
from ..objectives.functional import at_least_float32, environment_sums, largest_class
from ..updates import Update
from .averaging_trainer import AveragingTrainer
from .callbacks import EnvironmentProgress
from .checkpoint_trainer import CheckpointTrainer
from .checks import (
    check_class,
    check_data,
    check_divisible,
    check_mixing,
    check_precision,
    common_environment_names,
    num_classes,
)
from .forward_trainer import ForwardTrainer, without_environment
from .ood_config import OODConfig
from .own_parameters import OwnParametersTrainer
from .record import TrainingRecord
from .step import (
    AUXILIARY_LOSS,
    OptimizerStep,
    add,
    environment_counts,
    preserved_buffers,
    random_state,
    reduce_sums,
    restore_random_state,
)
from .update_trainer import UpdateTrainer


class OODTrainer(CheckpointTrainer, AveragingTrainer, OwnParametersTrainer, UpdateTrainer, ForwardTrainer):
    """`Trainer` for data with environments.

    The loss is the objective at the sums of the whole batch, whatever the number of gradient-accumulation
    steps and of processes. A feature transform acts inside the model's forward pass, while training only.
    A model whose output has an `auxiliary_loss` [B] while training (an autoencoder's reconstruction error)
    gets it added: the mean over environments of its mean in each, times the objective's scale.

    Args, besides those of `Trainer`:
        objective: what is minimised; ERM if not given.
        feature_transform: what is done to features on the way forward, or None.
        mixing: what is done to a training batch before the forward pass, or None.
        update: how gradients become a step of the weights; None: the optimizer's step.
        averaging: what becomes of the weights that the training passes through; None: nothing.
        loss: what a sample costs in training; cross-entropy (of a regression squared error) if not given.
        train_dataset: an `EnvironmentDataset`, or a `datasets.Dataset` with `image`, `label` and
        `environment`.
        eval_dataset: one such dataset (the validation set), or a dict, usually of `validation` and `test`.

    Example:
        OODTrainer(model, OODConfig(output_dir="run"), objective=IRM(penalty_weight=100.0),
                   feature_transform=RSC(drop_rate=1/3), train_dataset=data["train"]).train()
    """

    objective_class: ClassVar[type[Objective]] = Objective  # type: ignore[type-abstract]
    """What a named trainer minimises; the engine takes any objective."""
    feature_transform_class: ClassVar[type[FeatureTransform] | None] = None
    """What a named trainer does to features; the engine takes any transform, or none."""
    loss_is_scaled_for_ga = True  # compute_loss returns a micro-batch's share of the whole step's loss

    objective: Objective
    feature_transform: FeatureTransform | None
    args: OODConfig
    model: nn.Module
    train_dataset: EnvironmentDataset | None

    def __init__(
        self,
        model: PreTrainedModel | nn.Module | None = None,
        args: OODConfig | None = None,
        *,
        objective: Objective | None = None,
        feature_transform: FeatureTransform | None = None,
        mixing: Mixing | None = None,
        update: Update | None = None,
        averaging: Averaging | None = None,
        loss: SampleLoss | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        **kwargs: Any,
    ):
        args = args or OODConfig(output_dir="runs/ood")
        if objective is None:
            objective = ERM() if self.objective_class is Objective else self.objective_class()
        if feature_transform is None and self.feature_transform_class is not None:
            feature_transform = self.feature_transform_class()
        self.objective, self.feature_transform = objective, feature_transform
        self.mixing, self.update, self.averaging = mixing, update, averaging
        self.sample_loss = loss or CrossEntropy()
        train_dataset = as_environment_dataset(train_dataset) if train_dataset is not None else None
        evaluated = _as_eval_datasets(eval_dataset)
        present = {} if train_dataset is None else {"train": train_dataset}
        self.environment_names = common_environment_names({**present, **evaluated})
        if not evaluated:
            args.eval_strategy = "no"
        if "validation" not in evaluated and str(args.metric_for_best_model).startswith("eval_validation_"):
            args.load_best_model_at_end = False  # nothing to choose by: the last step stays
        if train_dataset is not None and train_dataset.labels.is_floating_point():
            args.metric_for_best_model = str(args.metric_for_best_model).replace("accuracy", "squared_error")
            args.greater_is_better = False  # a regression has no accuracies
        kwargs.setdefault("data_collator", collate)
        kwargs.setdefault("compute_metrics", EnvironmentMetrics(self.environment_names))
        super().__init__(model, args, train_dataset=train_dataset, eval_dataset=evaluated or None, **kwargs)
        self._check()
        if any(isinstance(callback, ProgressCallback) for callback in self.callback_handler.callbacks):
            self.remove_callback(ProgressCallback)
            self.add_callback(EnvironmentProgress())
        self.record = TrainingRecord(self.environment_names, self.args.device)
        self._optimizer_step: OptimizerStep | None = None
        self.prepare_forward()
        if self.train_dataset is not None:
            labels = self.train_dataset.labels.to(self.args.device)
            self.sample_loss = self.sample_loss.prepare(labels, num_classes(self.model, self.train_dataset))
            classifier = self._penultimate.classifier if self._penultimate else None
            self.build_objective(self.train_dataset, classifier)

    def _check(self) -> None:
        check_class(type(self).__name__, self.objective, self.objective_class)
        if self.feature_transform is not None:
            check_class(
                type(self).__name__, self.feature_transform, self.feature_transform_class or FeatureTransform
            )
        check_precision(self.accelerator.mixed_precision, self.accelerator.device)
        processes = self.accelerator.num_processes
        check_divisible(self.objective, self.args, processes)
        if self.train_dataset is not None:
            check_data(self.train_dataset, self.objective, self.model, self.args, processes)
            if self.mixing is not None:
                check_mixing(self.mixing, self.objective, self.train_dataset)

    # Data

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler:
        dataset = as_environment_dataset(train_dataset if train_dataset is not None else self.train_dataset)
        proportions = self.args.environment_proportions
        return EnvironmentSampler(
            dataset.groups if proportions == "groups" else dataset.environments,
            proportions="equal" if proportions == "groups" else proportions,
            replacement=self.args.sample_with_replacement,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
            repeats=dataset.columns.get(REPEATS),
        )

    def _get_dataloader(self, *args: Any, **kwargs: Any) -> DataLoader:
        # Trainer would drop the last incomplete batch in evaluation too, and with it samples of the results.
        asked = self.args.dataloader_drop_last
        self.args.dataloader_drop_last = asked and kwargs.get("is_training", False)
        try:
            return super()._get_dataloader(*args, **kwargs)
        finally:
            self.args.dataloader_drop_last = asked

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list, Any]:
        batches, num_items = super().get_batch_samples(*args, **kwargs)
        self._optimizer_step = OptimizerStep(batches)
        return batches, num_items

    def _prepare_for_training(self, max_steps: int, *args: Any, **kwargs: Any) -> Any:
        self.objective.start(max_steps)  # before a checkpoint's state is loaded
        return super()._prepare_for_training(max_steps, *args, **kwargs)

    def begin_step(self) -> None:
        """What happens once per optimizer step, before any forward pass."""
        self.objective.progress = self.state.global_step / max(self.state.max_steps, 1)
        if self.feature_transform is not None:
            self.feature_transform.progress = self.objective.progress
        for parameter in self.objective.parameters():
            parameter.grad = None  # Trainer clears the network's gradients only
        if self.optimizer is not None and self.objective.resets_optimizer(self.state.global_step):
            self.optimizer.state.clear()  # in place: Accelerate's wrapper and the scheduler hold on to it

    # The seam of objectives; that of feature transforms is `forward`

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The objective. While training: this micro-batch's share of the whole step's loss, exact in
        gradient.

        In evaluation: the plain mean cross-entropy, comparable over methods.
        """
        if not model.training:
            outputs = self.forward(model, without_environment(inputs))
            return (outputs.loss, outputs) if return_outputs else outputs.loss
        step = self._optimizer_step or OptimizerStep([inputs])
        if step.position == 0:
            self._begin(model, step)
        if step.random_states:
            restore_random_state(step.random_states[step.position])
        outputs, labels, sums = self._sums(model, inputs)
        own = getattr(outputs, AUXILIARY_LOSS, None)
        if not step.repeated:
            self.record.add_batch(outputs.logits.detach(), labels, inputs["environment"], own)
        if step.counts is not None:
            step.solve(self.objective, {**sums, "count": step.counts}, self.state.global_step)
        elif step.loss is None:
            step.solve(self.objective, reduce_sums(sums, self._add_over_processes), self.state.global_step)
        loss = self._share_of_loss(model, step, sums)
        step.position += 1
        if step.position == len(step.batches):
            if self.update is None:
                # Evaluated at known counts, the parts of the loss are this process's alone, like the loss.
                own = self.accelerator.num_processes if step.counts is not None else 1
                self.record.add_step({name: part * own for name, part in step.parts.items()})
            self._optimizer_step = None
        return (loss, outputs) if return_outputs else loss

    def prediction_step(self, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        """Keeps the logits alone, the first of what a network gives beside its loss: hidden states of a whole
        data set would be gathered too."""
        loss, outputs, labels = super().prediction_step(*args, **kwargs)
        return loss, outputs[0] if isinstance(outputs, tuple) else outputs, labels

    def _begin(self, model: nn.Module, step: OptimizerStep) -> None:
        """What has to be known of the whole step before its first micro-batch."""
        if step.counts is not None:
            return
        divided = len(step.batches) > 1
        if self.objective.linear and (divided or self.accelerator.num_processes > 1):
            counts = environment_counts(
                [batch["environment"] for batch in step.batches], len(self.environment_names)
            )
            step.counts = self._add_over_processes(counts.to(self.args.device))
        elif divided:
            totals = []
            with torch.no_grad(), preserved_buffers(model):
                for batch in step.batches:
                    prepared = self._prepare_inputs(batch)
                    step.random_states.append(random_state(prepared))
                    totals.append(self._sums(model, prepared)[-1])
            step.solve(
                self.objective, reduce_sums(add(totals), self._add_over_processes), self.state.global_step
            )

    def _sums(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Any, Tensor, Sums]:
        """One forward pass, of a mixed batch if there is a mixing -> the model's outputs, the labels they are
        held against, and this micro-batch's sums, in float32 or better."""
        if self.mixing is not None:
            assert self.train_dataset is not None
            inputs = self.mixing(inputs, num_classes(self.model, self.train_dataset))
        # To the network, and to a feature transform in it, a mixed sample is of its largest share's class.
        known = {**without_environment(inputs), "labels": largest_class(inputs["labels"])}
        outputs, features = self.forward_with_features(model, known)
        with torch.autocast(self.args.device.type, enabled=False):
            seen = Outputs(
                at_least_float32(outputs.logits),
                inputs["labels"],
                inputs["environment"],
                len(self.environment_names),
                None if features is None else at_least_float32(features),
                self.sample_loss,
            )
            sums = self.objective.sums(seen)
            own = getattr(outputs, AUXILIARY_LOSS, None)
            if own is not None:
                sums[AUXILIARY_LOSS] = environment_sums(own, seen.environments, seen.num_environments)
            return outputs, inputs["labels"], sums

    def _share_of_loss(self, model: nn.Module, step: OptimizerStep, sums: Sums) -> Tensor:
        """A tensor with the gradient of this micro-batch's share. Added up over micro-batches and
        averaged over processes, as `Trainer` does, its value is the loss."""
        assert step.loss is not None
        processes = self.accelerator.num_processes
        share = (
            step.share(sums) * processes
        )  # DDP averages gradients over processes; they have to be added up
        # With known counts step.loss is this micro-batch's own part of the loss; otherwise it is the whole.
        value = step.loss * processes if step.counts is not None else step.loss / len(step.batches)
        loss = share + (value - share).detach()
        trainable = (parameter for parameter in model.parameters() if parameter.requires_grad)
        penalty = self.objective.parameter_penalty(trainable, self.state.global_step)
        return loss if penalty is None else loss + penalty / len(step.batches)


def _as_eval_datasets(eval_dataset: Any) -> dict[str, EnvironmentDataset]:
    if eval_dataset is None:
        return {}
    if not isinstance(eval_dataset, dict):
        eval_dataset = {"validation": eval_dataset}
    return {split: as_environment_dataset(dataset) for split, dataset in eval_dataset.items() if len(dataset)}
