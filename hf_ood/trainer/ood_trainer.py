"""The engine: `transformers.Trainer` that minimises a function of per-environment sums."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import PreTrainedModel, Trainer
from transformers.trainer_callback import ProgressCallback

from ..data import EnvironmentDataset, EnvironmentSampler, as_environment_dataset, collate
from ..evaluation import EnvironmentMetrics
from ..masking import FeatureTransform
from ..objectives import ERM, Objective, Outputs, Sums
from ..objectives.functional import environment_sums
from .callbacks import EnvironmentProgress
from .checkpoints import last_whole_checkpoint, load_objective, require_whole, save_objective
from .ood_config import OODConfig
from .record import NonFiniteLossError, TrainingRecord
from .step import OptimizerStep, add, preserved_buffers, random_state, reduce_sums, restore_random_state


class OODTrainer(Trainer):
    """`Trainer` for data with environments.

    The loss is the objective at the sums of the whole batch, whatever the number of gradient-accumulation steps and
    of processes. A feature transform acts inside the model's forward pass, while training only.

    Args, besides those of `Trainer`:
        objective: what is minimised; the class's `objective_class` with its defaults if not given.
        feature_transform: what is done to features on the way forward, or None.
        train_dataset: an `EnvironmentDataset`, or a `datasets.Dataset` with `image`, `label` and `environment`.
        eval_dataset: one such dataset (the validation set), or a dict, usually of `validation` and `test`.

    Example:
        OODTrainer(model, OODConfig(output_dir="run"), objective=IRM(penalty_weight=100.0),
                   feature_transform=RSC(drop_rate=1/3), train_dataset=data["train"]).train()
    """

    objective_class: ClassVar[type[Objective]] = ERM
    feature_transform_class: ClassVar[type[FeatureTransform] | None] = None
    loss_is_scaled_for_ga = True  # compute_loss returns a micro-batch's share of the whole step's loss
    args: OODConfig

    def __init__(
        self,
        model: PreTrainedModel | nn.Module | None = None,
        args: OODConfig | None = None,
        *,
        objective: Objective | None = None,
        feature_transform: FeatureTransform | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        **kwargs: Any,
    ):
        args = args or OODConfig(output_dir="runs/ood")
        self.objective = objective or self.objective_class()
        if feature_transform is None and self.feature_transform_class is not None:
            feature_transform = self.feature_transform_class()
        self.feature_transform = feature_transform
        train_dataset = as_environment_dataset(train_dataset) if train_dataset is not None else None
        eval_dataset = _as_eval_datasets(eval_dataset)
        self.environment_names = _environment_names(train_dataset, eval_dataset)
        if not eval_dataset:
            args.eval_strategy, args.load_best_model_at_end = "no", False
        kwargs.setdefault("data_collator", collate)
        kwargs.setdefault("compute_metrics", EnvironmentMetrics(self.environment_names))
        super().__init__(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, **kwargs)
        self._check()
        if any(isinstance(callback, ProgressCallback) for callback in self.callback_handler.callbacks):
            self.remove_callback(ProgressCallback)
            self.add_callback(EnvironmentProgress())
        self._optimizer_step: OptimizerStep | None = None
        self.record = TrainingRecord(self.environment_names, self.args.device)

    def _check(self) -> None:
        """Refuse, before any training starts, what could not work or would silently compute something else."""
        _require_class(self.objective, self.objective_class, Objective, type(self).__name__)
        if self.feature_transform is not None:
            _require_class(
                self.feature_transform, self.feature_transform_class, FeatureTransform, type(self).__name__
            )
            if "feature_transform" not in inspect.signature(self.model.forward).parameters:
                raise ValueError(
                    f"{self.feature_transform.name} acts between features and head, but "
                    f"{type(self.model).__name__}.forward takes no `feature_transform`."
                )
        divided = self.args.gradient_accumulation_steps > 1 or self.accelerator.num_processes > 1
        if not self.objective.additive and divided:
            raise ValueError(
                f"{self.objective.name} is not a function of sums over samples: on parts of a batch it is another "
                "objective. Use one process and gradient_accumulation_steps=1 (with a larger batch), or another method."
            )
        if self.train_dataset is not None:
            self._check_data(self.train_dataset)

    def _check_data(self, dataset: EnvironmentDataset) -> None:
        counts = dataset.environment_counts()
        if len(counts) < self.objective.min_environments:
            raise ValueError(
                f"{self.objective.name} compares environments: it needs at least {self.objective.min_environments}, "
                f"the training set has {len(counts)} ({', '.join(counts)}). Train on more, or use erm or rsc."
            )
        config = getattr(self.model, "config", None)
        num_labels = getattr(config, "num_labels", None)
        if num_labels is not None and int(dataset.labels.max()) >= num_labels:
            raise ValueError(
                f"Labels reach {int(dataset.labels.max())}, but the model has {num_labels} classes: build it with "
                f"num_labels={len(dataset.label_names)}."
            )
        batch = self.args.per_device_train_batch_size
        if len(dataset) < batch * self.accelerator.num_processes and self.args.dataloader_drop_last:
            raise ValueError(
                f"{len(dataset)} training samples do not fill one batch of {batch} on "
                f"{self.accelerator.num_processes} process(es): lower per_device_train_batch_size."
            )
        if self.args.environment_proportions == "equal" and not self.args.sample_with_replacement:
            smallest = min(counts, key=counts.__getitem__)
            if counts[smallest] < batch // len(counts):
                raise ValueError(
                    f"Environment {smallest!r} has {counts[smallest]} samples, fewer than its {batch // len(counts)} "
                    f"of a batch of {batch}: lower per_device_train_batch_size, or set environment_proportions="
                    "'natural' or sample_with_replacement=True."
                )

    # Data

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        return EnvironmentSampler(
            dataset.environments,
            proportions=self.args.environment_proportions,
            replacement=self.args.sample_with_replacement,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
        )

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list, Any]:
        batches, num_items = super().get_batch_samples(*args, **kwargs)
        self._optimizer_step = OptimizerStep(batches)
        return batches, num_items

    # The two seams: a method acts in one of them

    def forward(self, model: nn.Module, inputs: dict[str, Any]) -> Any:
        """Run the network, through the feature transform if there is one and the model is training."""
        if self.feature_transform is None or not model.training:
            return model(**inputs)
        return model(**inputs, feature_transform=self.feature_transform)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The objective. While training: this micro-batch's share of the whole step's loss, exact in gradient.

        In evaluation: the plain mean cross-entropy, comparable over methods.
        """
        if not model.training:
            outputs = model(**{name: value for name, value in inputs.items() if name != "environment"})
            return (outputs.loss, outputs) if return_outputs else outputs.loss
        step = self._optimizer_step or OptimizerStep([inputs])
        if step.position == 0:
            self._begin(model, step)
        if step.random_states:
            restore_random_state(step.random_states[step.position])
        outputs, sums = self._sums(model, inputs)
        if self.objective.linear and step.counts is not None:
            step.solve(self.objective, {**sums, "count": step.counts}, self.state.global_step)
        elif step.loss is None:
            step.solve(self.objective, reduce_sums(sums, self._add_over_processes), self.state.global_step)
        loss = self._share_of_loss(model, step, sums)
        step.position += 1
        if step.position == len(step.batches):
            self.record.add_step(step.parts)
            self._optimizer_step = None
        return (loss, outputs) if return_outputs else loss

    def _begin(self, model: nn.Module, step: OptimizerStep) -> None:
        """What happens once per optimizer step, before its first micro-batch."""
        if self.feature_transform is not None:
            self.feature_transform.progress = self.state.global_step / max(self.state.max_steps, 1)
        if self.optimizer is not None and self.objective.resets_optimizer(self.state.global_step):
            self.optimizer.state.clear()  # in place: Accelerate's wrapper and the scheduler keep their reference
        if len(step.batches) == 1 and (self.accelerator.num_processes == 1 or not self.objective.linear):
            return
        batches = [self._prepare_inputs(batch) for batch in step.batches]
        if self.objective.linear:
            ones = [torch.ones_like(batch["environment"], dtype=torch.float32) for batch in batches]
            counts = [
                environment_sums(one, batch["environment"], len(self.environment_names))
                for one, batch in zip(ones, batches, strict=True)
            ]
            step.counts = self._add_over_processes(torch.stack(counts).sum(0))
            return
        totals = []
        with torch.no_grad(), preserved_buffers(model):
            for batch in batches:
                step.random_states.append(random_state(batch))
                totals.append(self._sums(model, batch, record=False)[1])
        step.solve(self.objective, reduce_sums(add(totals), self._add_over_processes), self.state.global_step)

    def _sums(self, model: nn.Module, inputs: dict[str, Any], record: bool = True) -> tuple[Any, Sums]:
        """One forward pass -> the model's outputs and this micro-batch's sums."""
        environments = inputs["environment"]
        outputs = self.forward(model, {name: value for name, value in inputs.items() if name != "environment"})
        if record:
            self.record.add_batch(outputs.logits.detach(), inputs["labels"], environments)
        seen = Outputs(outputs.logits, inputs["labels"], environments, len(self.environment_names))
        return outputs, self.objective.sums(seen)

    def _share_of_loss(self, model: nn.Module, step: OptimizerStep, sums: Sums) -> Tensor:
        """A tensor with the gradient of this micro-batch's share and, added up over micro-batches and averaged over
        processes (as Trainer does), the value of the loss."""
        assert step.loss is not None
        processes = self.accelerator.num_processes
        share = step.share(sums) * processes  # DDP averages gradients over processes; the share wants their sum
        if step.counts is not None:  # linear: the share itself is this micro-batch's part of the value
            value = step.loss * processes
        else:
            value = step.loss / len(step.batches)
        loss = share + (value - share).detach()
        trainable = (parameter for parameter in model.parameters() if parameter.requires_grad)
        penalty = self.objective.parameter_penalty(trainable, self.state.global_step)
        return loss if penalty is None else loss + penalty / len(step.batches)

    def _add_over_processes(self, tensor: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return tensor
        return self.accelerator.reduce(tensor, reduction="sum")  # type: ignore[return-value]

    # Logs and checkpoints

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            self._require_finite()
            logs = {**logs, **self.record.logs(self._add_over_processes)}
            self.record.reset()
        super().log(logs, start_time)

    def _require_finite(self) -> None:
        broken = self.record.broken_environments(self._add_over_processes)
        if broken:
            checkpoint = last_whole_checkpoint(self.args.output_dir)
            way_out = f"resume with --resume_from_checkpoint {checkpoint}" if checkpoint else "start again"
            raise NonFiniteLossError(
                f"The loss is no longer finite (noticed at step {self.state.global_step}), first in environment "
                f"{', '.join(broken)}. No checkpoint was written since. Lower the learning rate or the penalty's "
                f"weight, or set max_grad_norm, and {way_out}."
            )

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # Trainer would walk all parameters at every step for a number nobody reads

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As `Trainer.train`; `resume_from_checkpoint=True` takes the latest checkpoint that is whole."""
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_whole_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ValueError(f"There is no whole checkpoint in {self.args.output_dir} to resume from.")
        elif resume_from_checkpoint:
            require_whole(resume_from_checkpoint)
        self.record.reset()
        return super().train(resume_from_checkpoint=resume_from_checkpoint or None, **kwargs)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self._require_finite()
        super()._save_checkpoint(*args, **kwargs)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            save_objective(self.objective, output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            load_objective(self.objective, checkpoint)


def _as_eval_datasets(eval_dataset: Any) -> dict[str, EnvironmentDataset]:
    if eval_dataset is None:
        return {}
    if not isinstance(eval_dataset, dict):
        eval_dataset = {"validation": eval_dataset}
    return {split: as_environment_dataset(dataset) for split, dataset in eval_dataset.items() if len(dataset)}


def _environment_names(
    train_dataset: EnvironmentDataset | None, eval_datasets: dict[str, EnvironmentDataset]
) -> list[str]:
    datasets = {"train": train_dataset, **eval_datasets}
    names = {split: dataset.environment_names for split, dataset in datasets.items() if dataset is not None}
    for split, own in names.items():
        first = next(iter(names))
        if own != names[first]:
            raise ValueError(
                f"The splits name their environments differently: {first} has {names[first]}, {split} has {own}. "
                "Give all splits one ClassLabel with all names."
            )
    return next(iter(names.values()), [])


def _require_class(method: Any, expected: type | None, base: type, trainer: str) -> None:
    """A named trainer runs its own method; the engine itself (expected is its default) runs any."""
    allowed = base if trainer == OODTrainer.__name__ or expected in (None, ERM) else expected
    if not isinstance(method, allowed):
        raise TypeError(f"{trainer} takes a {allowed.__name__}, not {type(method).__name__}; OODTrainer takes any.")
