"""Statistics of batch normalisation from the target's own inputs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from torch import Tensor
from transformers import PreTrainedModel

from ...models import batch_norms, measure_batch_norms


def adapt_batch_norm(model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]]) -> PreTrainedModel:
    """A copy whose batch normalisations have the mean and variance of the target's inputs.

    `batches`: the network's inputs, which are gone through once for each layer (`measure_batch_norms`): the
    statistics are sums over all of them, so that batch size and order change nothing. Raises `ValueError` for
    a network without batch normalisation.

    Reference: Li et al. 2016, arXiv:1603.04779 (AdaBN).

    Relations:
        `adapt_tent` trains the normalisations' weights besides. A target of one class has statistics of that
        class, which this removes.
    """
    if not batch_norms(model):
        raise ValueError(
            f"{type(model).__name__} has no batch normalisation with statistics to adapt: take t3a or tent, "
            "or leave --adapt out."
        )
    adapted = copy.deepcopy(model)
    measure_batch_norms(adapted, batches)
    return adapted
