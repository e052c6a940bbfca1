"""Class centroids of the target in place of the last layer's weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from ...models.penultimate import last_linear
from ...models.run_over_dataset import run_over


def t3a_logits(features: Tensor, logits: Tensor, weight: Tensor, bias: Tensor, supports: int = 0) -> Tensor:
    """Logits [N, C], float64: what each feature has in common with the centroid of each class.

    `features` [N, D]: what the last layer sees of the target's samples; `logits` [N, C]: what it makes of
    them; `weight` [C, D], `bias` [C]: its own. The support of a class are the rows of `weight` and the
    samples that the layer takes for that class, those with the `supports` lowest entropies (0: all); its
    centroid is the sum of their directions.
    """
    rows, weight = features.double(), weight.double()
    candidates = torch.cat([weight, rows])
    scores = torch.cat([weight @ weight.T + bias.double(), logits.double()])
    entropy = -(scores.softmax(1) * scores.log_softmax(1)).sum(1)
    chosen, directions = scores.argmax(1), F.normalize(candidates, dim=1)
    centroids = torch.zeros_like(weight)
    for label in range(len(weight)):
        members = torch.nonzero(chosen == label).flatten()
        surest = members[entropy[members].argsort(stable=True)]
        centroids[label] = directions[surest[:supports] if supports else surest].sum(0)
    return rows @ F.normalize(centroids, dim=1).T


def predict_t3a(
    model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]], supports: int = 100
) -> np.ndarray:
    """Logits float32 [N, C] of the target's samples by T3A; the network does not change.

    All samples are support at once, where the paper's come batch by batch: their order and division change
    nothing. The logits have another scale than the network's, so loss and calibration error are not
    comparable. Raises `ValueError` where the logits are no output of a last linear layer.

    Reference: Iwasawa & Matsuo 2021, "Test-Time Classifier Adjustment Module for Model-Agnostic Domain
    Generalization" (NeurIPS), which tries 1, 5, 20, 50, 100 and all supports of each class.
    """
    layer = last_linear(model)
    features, logits = list[Tensor](), list[Tensor]()
    for output, seen in run_over(model, batches, features=True):
        assert seen is not None
        features.append(seen.double().cpu())
        logits.append(output.logits.double().cpu())
    rows, scores = torch.cat(features), torch.cat(logits)
    weight = layer.weight.detach().double().cpu()
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().cpu()
    if scores.shape[1] != len(weight) or not torch.allclose(
        rows[:1] @ weight.T + bias, scores[:1], rtol=1e-2, atol=1e-2
    ):
        raise ValueError(
            f"The logits of {type(model).__name__} are not what its last linear layer gives, which t3a "
            "replaces: leave --adapt t3a out."
        )
    return t3a_logits(rows, scores, weight, bias, supports).float().numpy()
