"""The engine as a trainer of its own."""

from __future__ import annotations

from typing import Any

from datasets import Dataset as HFDataset
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainingArguments

from ..data import EnvironmentDataset, as_environment_dataset
from .environment_trainer import EnvironmentTrainer
from .ood_config import OODConfig


class OODTrainer(EnvironmentTrainer, Trainer):
    """`Trainer` for data with environments: `EnvironmentTrainer` over it.

    Args, besides those of both:
        args: an `OODConfig`, or any `TrainingArguments`.
        train_dataset: an `EnvironmentDataset`, or a `datasets.Dataset` with a column of environments; images
        (`image`, `label`) are decoded once.
        eval_dataset: one such dataset (the validation set), or a dict, usually of `validation` and `test`.

    A model whose output has an `auxiliary_loss` [B] while training (an autoencoder's reconstruction error)
    gets it added: the mean over environments of its mean in each, times the objective's scale.

    Example:
        OODTrainer(model, OODConfig(output_dir="run"), objective=IRM(penalty_weight=100.0),
                   feature_transform=RSC(drop_rate=1/3), train_dataset=data["train"]).train()
    """

    def __init__(
        self,
        model: PreTrainedModel | nn.Module | None = None,
        args: TrainingArguments | None = None,
        *,
        eval_dataset: Any = None,
        **kwargs: Any,
    ):
        if eval_dataset is not None and not isinstance(eval_dataset, dict):
            eval_dataset = {"validation": eval_dataset}
        splits = (eval_dataset or {}).items()
        evaluated = {split: data for split, data in splits if not hasattr(data, "__len__") or len(data)}
        args = args or OODConfig(output_dir="runs/ood")
        super().__init__(model, args, eval_dataset=evaluated or None, **kwargs)

    def read_environments(self, dataset: Any) -> EnvironmentDataset:
        if (
            isinstance(dataset, HFDataset)
            and "image" in dataset.column_names
            and dataset.format["type"] != "custom"
        ):
            return as_environment_dataset(dataset)
        return super().read_environments(dataset)
