"""A network's forward pass with the method in it: features are caught, and changed before the head."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

from ..methods.masking import FeatureTransform
from ..models import FeatureSplit, Penultimate, batch_norms, find_feature_layer


class MethodForward:
    """Runs a network through a feature transform, if there is one, while it trains; catches the features that
    an objective needs; holds batch statistics where they are to be frozen.

    `samples`: the network's inputs for two samples, needed to find the features of a network whose forward
    pass takes no `feature_transform`. `compiled`: nothing may depend on hooks in the middle of it. Raises
    `ValueError` for a network that lacks what the method needs.
    """

    def __init__(
        self,
        model: nn.Module,
        transform: FeatureTransform | None,
        needs_features: bool,
        samples: Mapping[str, Any],
        feature_layer: str | None = None,
        freeze_batch_norm: bool = False,
        compiled: bool = False,
    ):
        self.transform = transform
        self.penultimate = Penultimate(model) if needs_features else None
        self.frozen_norms = batch_norms(model) if freeze_batch_norm else []
        self.needs_labels = _requires_labels(model)
        self.split: FeatureSplit | None = None
        if transform is not None and (feature_layer is not None or not takes_transform(model)):
            if compiled:
                raise ValueError(
                    f"{transform.name} acts through hooks, which a compiled network does not run: leave "
                    "--torch_compile out."
                )
            self.split = FeatureSplit(model, find_feature_layer(model, samples, feature_layer))

    def __call__(self, model: nn.Module, inputs: dict[str, Any]) -> Any:
        """The network's outputs for `inputs`, whose labels only the transform reads."""
        shown = inputs
        if not self.needs_labels and (self.transform is None or self.split is not None):
            shown = {name: value for name, value in inputs.items() if name != "labels"}
        if not model.training:
            return model(**shown)
        for norm in self.frozen_norms:
            norm.eval()  # Trainer puts the whole model into training mode at every step
        if self.transform is None:
            return model(**shown)
        if self.split is None:
            return model(**shown, feature_transform=self.transform)
        with self.split.transformed(self.transform, inputs):
            return model(**shown)

    def catching(self) -> Any:
        """A context in which the features are caught, where the objective needs them."""
        return self.penultimate or nullcontext()

    def head(self, features: Tensor) -> Tensor:
        """What the last linear layer makes of features [B, D] -> [B, C], in the precision of its weights."""
        assert self.penultimate is not None
        classifier = self.penultimate.classifier
        return classifier(features.to(classifier.weight.dtype))

    def features(self) -> Tensor | None:
        """The features [B, D] that were caught, handed over; None where nobody needs them."""
        return self.penultimate.take() if self.penultimate else None


def takes_transform(model: nn.Module) -> bool:
    """Whether the network's own forward pass hands its features to a `feature_transform`."""
    return "feature_transform" in inspect.signature(model.forward).parameters


def _requires_labels(model: nn.Module) -> bool:
    labels = inspect.signature(model.forward).parameters.get("labels")
    return labels is not None and labels.default is inspect.Parameter.empty
