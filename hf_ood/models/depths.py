"""How far a network's parameters lie from its output, in layers."""

from __future__ import annotations

from torch import nn


def layer_depths(model: nn.Module) -> dict[str, int]:
    """Parameter name -> how many layers lie between it and the output.

    The layers are the children of the `nn.ModuleList` or `nn.Sequential` that holds most of the network's
    parameters: the blocks of a transformer, the stages of a ResNet. What comes after them, such as a head,
    has depth 0, the last layer 1, the first one L, and what comes before them, such as embeddings, L + 1.
    Raises `ValueError` for a network without such layers.
    """
    found: tuple[int, str, list[nn.Module]] = (0, "", [])
    for name, module in model.named_modules():
        if isinstance(module, (nn.ModuleList, nn.Sequential)):
            layers = [child for child in module if any(True for _ in child.parameters())]
            size = sum(own.numel() for own in module.parameters())
            if len(layers) > 1 and size > found[0]:
                found = (size, name, layers)
    _, place, layers = found
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no nn.ModuleList or nn.Sequential of several layers, which a "
            "learning rate could fall along: leave layer_decay out."
        )
    own = {id(parameter): len(layers) - number for number, layer in enumerate(layers) for parameter in
           layer.parameters()}  # fmt: skip
    depths, passed = dict[str, int](), False
    for name, parameter in model.named_parameters():
        inside = id(parameter) in own and name.startswith(place)
        passed = passed or inside
        depths[name] = own[id(parameter)] if inside else 0 if passed else len(layers) + 1
    return depths
