"""The features of any classifier: what its last linear layer sees."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn


class Penultimate:
    """Catches the input of a model's classifier, its last `nn.Linear` with one output per class.

    Works for every model that ends in one, inside whatever wraps the model. Where the layer is called several
    times in a forward pass, the last call is the one that gives the logits.

    Example:
        penultimate = Penultimate(model)
        with penultimate:
            logits = model(**inputs).logits
        features = penultimate.take()  # [B, D]
    """

    def __init__(self, model: nn.Module):
        self.classifier = last_linear(model)
        self._input: Tensor | None = None

    def __enter__(self) -> Penultimate:
        self._handle = self.classifier.register_forward_pre_hook(self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.remove()

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._input = inputs[0]

    def take(self) -> Tensor:
        """The features [B, D], with graph, handed over: a sequence or a map [B, ..., D] is averaged.

        Raises `RuntimeError` when the classifier was not called.
        """
        features, self._input = self._input, None
        if features is None:
            raise RuntimeError("The model's last linear layer was not called, so there are no features.")
        return features if features.dim() == 2 else features.flatten(1, -2).mean(1)


def last_linear(model: nn.Module) -> nn.Linear:
    """The last `nn.Linear` with one output per class. Raises `ValueError` where there is none."""
    classes = getattr(getattr(model, "config", None), "num_labels", None)
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    fitting = [linear for linear in linears if classes is None or linear.out_features == classes]
    if not fitting:
        raise ValueError(
            f"{type(model).__name__} has no nn.Linear with {classes or 'any number of'} outputs, so it has "
            "no features to compare: end it in one, or use an objective that needs none, such as vrex."
        )
    return fitting[-1]


@torch.no_grad()
def check_reads_out(model: nn.Module, inputs: Mapping[str, Any]) -> None:
    """Refuse a model whose logits for `inputs` are not just what its last linear layer makes of its
    features: other features could not be read out. Raises `ValueError`."""
    training = model.training
    penultimate = Penultimate(model.eval())
    try:
        with penultimate:
            logits = model(**inputs).logits
    finally:
        model.train(training)
    read_out = penultimate.classifier(penultimate.take())
    if read_out.shape != logits.shape or not torch.allclose(read_out, logits, rtol=1e-3, atol=1e-4):
        raise ValueError(
            f"{type(model).__name__} does more to its logits than its last linear layer does, so other "
            "features cannot be read out, as this method does: use another method, or a model that ends in "
            "that layer."
        )
