"""`Trainer` whose forward pass is the method's: features are caught and changed on their way to the head."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from transformers import Trainer
from transformers.utils import logging

from ..data import EnvironmentDataset
from ..masking import FeatureTransform
from ..models import FeatureSplit, Penultimate, batch_norms, find_feature_layer
from ..objectives import Objective
from .checks import takes_transform
from .ood_config import OODConfig
from .unused import unused_parameters

logger = logging.get_logger(__name__)


class ForwardTrainer(Trainer):
    """Runs the network through the feature transform, if there is one, while it trains; keeps the features
    that the objective needs; holds batch statistics where they are to be frozen.

    All of it also happens in a network that is compiled, except what only hooks could do in the middle of it.
    """

    objective: Objective
    feature_transform: FeatureTransform | None
    args: OODConfig
    model: nn.Module
    train_dataset: EnvironmentDataset | None

    def prepare_forward(self) -> None:
        """Find the network's parts. Raises `ValueError` for a network that lacks what the method needs."""
        self._penultimate = Penultimate(self.model) if self.objective.needs_features else None
        self._split = self._find_split()
        self._frozen_norms = batch_norms(self.model) if self.args.freeze_batch_norm else []
        if self.train_dataset is not None:
            self._freeze_unused()

    def _freeze_unused(self) -> None:
        """Several processes wait for the gradient of every parameter that trains, and some never get one. One
        process freezes the same, so that each can resume what the other began.
        """
        for name, parameter in unused_parameters(self.model, self._two_samples()).items():
            logger.info(f"{name} takes no part in what the network gives: frozen.")
            parameter.requires_grad_(False)

    def _find_split(self) -> FeatureSplit | None:
        """How the feature transform gets into a network whose forward pass does not take one."""
        layer = self.args.feature_layer
        if self.feature_transform is None or self.train_dataset is None:
            return None
        if layer is None and takes_transform(self.model):
            return None
        if self.args.torch_compile:
            raise ValueError(
                f"{self.feature_transform.name} acts through hooks, which a compiled network does not run: "
                "leave --torch_compile out."
            )
        return FeatureSplit(self.model, find_feature_layer(self.model, self._two_samples(), layer))

    def _two_samples(self) -> dict[str, Any]:
        """The network's inputs for the first two samples to train on, beside its weights, which FSDP and
        DeepSpeed move only when training begins.
        """
        assert self.train_dataset is not None
        two: Any = self.train_dataset.__getitems__([0, 1])
        place = next(self.model.parameters()).device
        return without_environment(send_to_device(self.data_collator(two), place))

    def train(self, *args: Any, **kwargs: Any) -> Any:
        if self.args.torch_compile and self.objective.needs_features:
            # Compiled code serves all networks of a class and does not look for hooks: what was compiled
            # earlier in this process, for an objective without features, would give none.
            torch.compiler.reset()
        return super().train(*args, **kwargs)

    def forward(self, model: nn.Module, inputs: dict[str, Any]) -> Any:
        """Run the network, through the feature transform if there is one and the model is training."""
        if not model.training:
            return model(**inputs)
        for norm in self._frozen_norms:
            norm.eval()  # Trainer puts the whole model into training mode at every step
        if self.feature_transform is None:
            return model(**inputs)
        if self._split is None:
            return model(**inputs, feature_transform=self.feature_transform)
        with self._split.transformed(self.feature_transform, inputs):
            return model(**inputs)

    def forward_with_features(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Any, Tensor | None]:
        """The same -> the network's outputs, and its features [B, D] if the objective needs them."""
        with self._penultimate or nullcontext():
            outputs = self.forward(model, inputs)
        return outputs, self._penultimate.take() if self._penultimate else None


def without_environment(inputs: dict[str, Any]) -> dict[str, Any]:
    """What the network takes: it need not know environments."""
    return {name: value for name, value in inputs.items() if name != "environment"}
