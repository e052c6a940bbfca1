"""Where a classifier's body ends and its head begins: the layer whose output are the features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils._pytree import tree_leaves

from ..errors import unknown_name
from .modes import evaluation_mode


@dataclass(frozen=True)
class FeatureLayer:
    """The module `name`, in its call number `call` of a forward pass, gives the features.

    `class_token`: they are a sequence, and the head reads the class off its first token.
    """

    name: str
    call: int = 0
    class_token: bool = False


@dataclass(frozen=True)
class Call:
    """One call of a module while the model ran: the first tensor that it gave, that one's node in the graph,
    and the nodes of all others."""

    name: str
    number: int
    features: Tensor
    node: Node
    others: frozenset[Node]


@dataclass(frozen=True)
class Trace:
    """One pass of a classifier: its modules' calls, in the order in which they ended, and the graph.

    `slopes`: how much each place of a call's features counts for the logits, [B, places]; None for features
    that have no places or do not count. `dependent`: the nodes from which the input (`sources`) is reached.
    """

    calls: list[Call]
    slopes: list[Tensor | None]
    logits: Tensor
    sources: list[Tensor]
    dependent: set[Node]

    def is_cut(self, call: Call) -> bool:
        """Whether all that the logits know of the input goes through the features of this call, and nothing
        through what else the call gave."""
        if call.node not in self.dependent or self.logits.grad_fn is None:
            return False
        waiting, seen = [self.logits.grad_fn], {self.logits.grad_fn, call.node}
        while waiting:
            node = waiting.pop()
            if node in call.others or _is_source(node, self.sources):
                return False
            for child, _ in node.next_functions:
                if child in self.dependent and child not in seen:
                    seen.add(child)
                    waiting.append(child)
        return True


@torch.enable_grad()
def trace(model: nn.Module, inputs: Mapping[str, Any]) -> Trace:
    """Run the model on a small batch, in eval mode. Raises `ValueError` where it gives no logits."""
    sources: list[Tensor] = []
    calls: list[Call] = []
    with evaluation_mode(model), _traced(model, inputs, sources, calls) as probe:
        logits = getattr(model(**probe), "logits", None)
    if logits is None:
        raise ValueError(f"{type(model).__name__} is no classifier: its output has no `logits`.")
    slopes = _slopes(logits, [call.features for call in calls])
    return Trace(calls, slopes, logits, sources, _leading_to(logits.grad_fn, sources))


def find_feature_layer(model: nn.Module, inputs: Mapping[str, Any], name: str | None = None) -> FeatureLayer:
    """The last layer through whose output the whole prediction goes, and whose places all count.

    Its output is a map [B, C, H, W] or a sequence [B, T, D] with several places. "Whole": without it no path
    leads from the logits back to the input, so what is left of the model is a function of it, the head.
    "All count": the logits depend on at least half of its places. Where only a class token is read, this is
    the input of the last block that mixes tokens. No family is known by name: the answer comes from the
    graph of one pass in eval mode. `inputs`: a small batch. `name`: takes this layer, which may also give
    vectors [B, D].

    Raises `ValueError` when there is no such layer, or none called `name`.
    """
    modules = dict(model.named_modules())
    if name is not None and name not in modules:
        raise ValueError(unknown_name("feature layer", name, [known for known in modules if known]))
    seen = trace(model, inputs)
    both = list(zip(seen.calls, seen.slopes, strict=True))
    read_first = {call.features.shape[:2] for call, slope in both if _reads_first_only(slope)}
    places = _places(inputs)
    for call, slope in reversed(both):
        shape = call.features.shape
        found = FeatureLayer(call.name, call.number, len(shape) == 3 and shape[:2] in read_first)
        if name is not None:
            if call.name == name:
                return found
        elif call.name and _all_count(slope, places) and seen.is_cut(call):
            return found
    if name is not None:
        raise ValueError(
            f"The feature layer {name!r} of {type(model).__name__} gives no features [B, ...] on the way "
            "from the input to the logits."
        )
    raise ValueError(
        f"{type(model).__name__} has no layer with a map [B, C, H, W] or a sequence [B, T, D] that its whole "
        "prediction goes through. Name the module whose output are the features (--feature_layer; for "
        f"Grad-CAM --layer); at its top there are {', '.join(name for name, _ in model.named_children())}."
    )


@contextmanager
def _traced(
    model: nn.Module, inputs: Mapping[str, Any], sources: list[Tensor], calls: list[Call]
) -> Iterator[dict[str, Any]]:
    """Inputs to run the model on; fills `sources`, the leaves they stand for, and `calls`, in their order."""

    def source(values: Tensor) -> Tensor:
        sources.append(values.detach().requires_grad_())
        return sources[-1].clone()  # not a leaf, so that it may be changed in place

    ids = {
        value.data_ptr()
        for value in inputs.values()
        if isinstance(value, Tensor) and not value.dtype.is_floating_point
    }
    numbers: dict[str, int] = {}

    def embed(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return source(output) if arguments and arguments[0].data_ptr() in ids else None

    def keep(name: str, output: Any, batch: int) -> None:
        numbers[name] = numbers.get(name, -1) + 1
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if tensors and tensors[0].grad_fn is not None and tensors[0].shape[:1] == (batch,):
            nodes = frozenset(leaf.grad_fn for leaf in tensors if leaf.grad_fn is not None)
            node = tensors[0].grad_fn
            calls.append(Call(name, numbers[name], tensors[0], node, nodes - {node}))

    batch = len(next(value for value in inputs.values() if isinstance(value, Tensor)))
    hooks = [
        module.register_forward_hook(embed) for module in model.modules() if isinstance(module, nn.Embedding)
    ]
    hooks += [
        module.register_forward_hook(lambda _, __, output, name=name: keep(name, output, batch))
        for name, module in model.named_modules()
    ]
    try:
        yield {
            name: source(value) if isinstance(value, Tensor) and value.dtype.is_floating_point else value
            for name, value in inputs.items()
            if name != "labels"
        }
    finally:
        for hook in hooks:
            hook.remove()


def _slopes(logits: Tensor, features: list[Tensor]) -> list[Tensor | None]:
    """How much each place of each output counts: [B, places], None for an output that has no places or that
    the logits do not depend on."""
    weights = torch.linspace(1, 2, logits.shape[-1], device=logits.device, dtype=logits.dtype)
    gradients = torch.autograd.grad((logits * weights).sum(), features, retain_graph=True, allow_unused=True)
    return [None if gradient is None else _by_place(gradient) for gradient in gradients]


def _by_place(gradient: Tensor) -> Tensor | None:
    """[B, places] of a map or a sequence with several places, None of anything else."""
    if gradient.dim() == 3 and min(gradient.shape[1:]) > 1:
        return gradient.abs().sum(2)
    if gradient.dim() == 4 and gradient[0, 0].numel() > 1:
        return gradient.abs().sum(1).flatten(1)
    return None


def _places(inputs: Mapping[str, Any]) -> int | None:
    """How many tokens of a batch of text are no padding."""
    mask = inputs.get("attention_mask")
    return int(mask.sum()) if isinstance(mask, Tensor) else None


def _all_count(slope: Tensor | None, places: int | None) -> bool:
    return slope is not None and int(slope.count_nonzero()) * 2 >= min(places or slope.numel(), slope.numel())


def _reads_first_only(slope: Tensor | None) -> bool:
    return slope is not None and bool(slope[:, 0].any()) and not bool(slope[:, 1:].any())


def _leading_to(start: Node | None, sources: list[Tensor]) -> set[Node]:
    """The nodes of the graph from which a source can be reached."""
    parents: dict[Node, list[Node]] = {}
    reached: list[Node] = []
    waiting = [start] if start is not None else []
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if _is_source(node, sources):
            reached.append(node)
        for child, _ in node.next_functions:
            if child is not None:
                parents.setdefault(child, []).append(node)
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)
    leading = set(reached)
    while reached:
        for parent in parents.get(reached.pop(), []):
            if parent not in leading:
                leading.add(parent)
                reached.append(parent)
    return leading


def _is_source(node: Node, sources: list[Tensor]) -> bool:
    variable = getattr(node, "variable", None)
    return variable is not None and any(variable is source for source in sources)


__all__ = ["Call", "FeatureLayer", "Trace", "find_feature_layer", "trace"]
