"""Any classifier as features and a head, inside one forward pass of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.checkpoint import get_device_states, set_device_states

from .batch_norm import batch_norms
from .feature_layer import FeatureLayer

Outputs = dict[nn.Module, list[Any]]


class FeatureSplit:
    """Lets a feature transform act between a model's features and its head.

    The features are the output of `layer` (`find_feature_layer`). The head is the model's own forward pass in
    which everything that ran before the layer gives what it gave before, and the layer gives other features:
    final norms, pooling and classifier are recomputed from them, wherever the family keeps them.

    Example:
        split = FeatureSplit(model, find_feature_layer(model, inputs))
        with split.transformed(RSC(), inputs):
            logits = model(**inputs).logits  # or a DistributedDataParallel around it
    """

    def __init__(self, model: nn.Module, layer: FeatureLayer):
        self.model, self.layer = model, layer
        self.module = model.get_submodule(layer.name)
        names = layer.name.split(".") if layer.name else []
        path = [model.get_submodule(".".join(names[:depth])) for depth in range(len(names))]
        self.around = path
        above = {*path, self.module}
        # What is called on the way to the layer, by the modules that it lies in.
        self.before = [child for module in path for child in module.children() if child not in above]
        self.norms = batch_norms(model)

    @contextmanager
    def transformed(self, transform: Callable[..., Tensor], inputs: Mapping[str, Any]) -> Iterator[None]:
        """Within, the model's next forward pass, which must be of `inputs`, goes through `transform`.

        It is called with the features, the head (features -> logits) and `inputs["labels"]`, and its result
        replaces the features; with a sequence [B, T, D] it also gets `places`, bool [B, T]: the tokens that
        are neither padding nor the class token. Raises `RuntimeError` when the layer did not run.
        """
        acted = False
        given: Outputs = {module: [] for module in (*self.before, self.module)}
        shown = {name: value for name, value in inputs.items() if name != "labels"}

        def keep(module: nn.Module, _: Any, output: Any) -> Any:
            nonlocal acted
            if module is not self.module or len(given[module]) < self.layer.call:
                given[module].append(output)
                return None
            for hook in hooks:
                hook.remove()
            acted = True
            features = features_of(output)
            state = torch.get_rng_state(), *get_device_states(features)

            def head(others: Tensor) -> Tensor:
                self._gather()
                replaced = {**given, module: [*given[module], exchange(output, features, others)]}
                with _random_state(*state), _giving(replaced), self._same_statistics(given):
                    # The class's own forward pass: a wrapper around the instance's is being run already, and
                    # Accelerate's, an autocast context, must not be entered twice.
                    return type(self.model).forward(self.model, **shown).logits

            places = self._places(features, inputs)
            more = {} if places is None else {"places": places}
            transformed = transform(features, head, inputs.get("labels"), **more)
            self._gather()
            return exchange(output, features, transformed)

        hooks = [module.register_forward_hook(keep) for module in given]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        if not acted:
            raise RuntimeError(f"The feature layer {self.layer.name} did not run: nothing was transformed.")

    def _gather(self) -> None:
        """FSDP2 takes the end of any backward pass, that through the head too, for the end of the step, and
        divides all weights again: those of the modules that are being run are needed whole."""
        for module in self.around:
            if isinstance(module, FSDPModule):
                module.unshard()

    def _places(self, features: Tensor, inputs: Mapping[str, Any]) -> Tensor | None:
        if features.dim() != 3:
            return None
        places = features.new_ones(features.shape[:2], dtype=torch.bool)
        mask = inputs.get("attention_mask")
        if isinstance(mask, Tensor) and mask.shape == places.shape:
            places &= mask.bool()
        if self.layer.class_token:
            places[:, 0] = False
        return places

    @contextmanager
    def _same_statistics(self, given: Outputs) -> Iterator[None]:
        """The head runs several times, batch normalisation counts the batch once."""
        replayed = {inner for module, outputs in given.items() if outputs for inner in module.modules()}
        norms = [norm for norm in self.norms if norm.training and norm not in replayed]
        # Exchanged rather than restored: the graph of the head may hold them.
        kept = [dict(norm.named_buffers(recurse=False)) for norm in norms]
        try:
            for norm, buffers in zip(norms, kept, strict=True):
                for name, buffer in buffers.items():
                    setattr(norm, name, buffer.clone())
            yield
        finally:
            for norm, buffers in zip(norms, kept, strict=True):
                for name, buffer in buffers.items():
                    setattr(norm, name, buffer)


def features_of(output: Any) -> Tensor:
    """The first tensor of what a module gave."""
    return next(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))


def exchange(output: Any, features: Tensor, others: Tensor) -> Any:
    """What a module gave, with other features."""
    return tree_map(lambda leaf: others if leaf is features else leaf, output)


@contextmanager
def _random_state(cpu: Tensor, devices: list[int], states: list[Tensor]) -> Iterator[None]:
    """Dropout as at that time: every run of the head drops the same."""
    with torch.random.fork_rng(devices):
        torch.set_rng_state(cpu)
        set_device_states(devices, states)
        yield


@contextmanager
def _giving(outputs: Outputs) -> Iterator[None]:
    """Within, each module's first calls give these outputs, in order, without running it."""
    own = {module: vars(module).get("forward") for module in outputs}

    def replay(module: nn.Module, waiting: list[Any]) -> Callable[..., Any]:
        forward = module.forward
        return lambda *args, **kwargs: waiting.pop(0) if waiting else forward(*args, **kwargs)

    for module, given in outputs.items():
        module.forward = replay(module, list(given))
    try:
        yield
    finally:
        for module, forward in own.items():
            del module.forward
            if forward is not None:
                module.forward = forward


__all__ = ["FeatureSplit", "exchange", "features_of"]
