"""The equations, as pure functions of tensors.

Throughout: `logits` float [B, C], `labels` int64 [B], `environments` int64 [B] with ids in 0..E-1,
`num_environments` the int E. An environment that is absent from the batch is left out of every mean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def environment_sums(values: Tensor, environments: Tensor, num_environments: int) -> Tensor:
    """Sum `values` [B, ...] over the samples of each environment -> [E, ...], at a cost independent of E."""
    sums = values.new_zeros(num_environments, *values.shape[1:])
    return sums.index_add(0, environments, values)


def environment_means(sums: Tensor, counts: Tensor) -> Tensor:
    """Per-environment sums [E] and sample counts [E] -> means [E]; 0 where there is no sample."""
    return sums / counts.clamp_min(1)


def mean_over_present(values: Tensor, counts: Tensor) -> Tensor:
    """Mean of `values` [E] over the environments with at least one sample -> []."""
    present = counts > 0
    return torch.where(present, values, 0).sum() / present.sum().clamp_min(1)


def sample_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample, in nats -> [B]; in float32 whatever the logits' type."""
    return F.cross_entropy(_at_least_float32(logits), labels, reduction="none")


def sample_slopes(logits: Tensor, labels: Tensor) -> Tensor:
    """Slope of each sample's cross-entropy in a scale w on the logits, at w = 1 -> [B].

    d/dw CE(w z, y) = sum_k p_k z_k - z_y with p = softmax(z): the expected minus the true logit. No second
    differentiation is needed for the gradient of a penalty on it.
    """
    logits = _at_least_float32(logits)
    expected = (logits.softmax(1) * logits).sum(1)
    return expected - logits.gather(1, labels[:, None]).squeeze(1)


def environment_risks(logits: Tensor, labels: Tensor, environments: Tensor, num_environments: int) -> Tensor:
    """Mean cross-entropy of each environment -> [E]; 0 for an absent one."""
    counts = _counts(environments, num_environments, logits)
    sums = environment_sums(sample_losses(logits, labels), environments, num_environments)
    return environment_means(sums, counts)


def irm_slopes(logits: Tensor, labels: Tensor, environments: Tensor, num_environments: int) -> Tensor:
    """dR_e/dw at w = 1, for the risk R_e of w * logits -> [E]; 0 for an absent environment.

    Source: the gradient inside IRMv1, Arjovsky et al. 2019, arXiv:1907.02893, section 3.
    """
    counts = _counts(environments, num_environments, logits)
    sums = environment_sums(sample_slopes(logits, labels), environments, num_environments)
    return environment_means(sums, counts)


def irm_penalty(logits: Tensor, labels: Tensor, environments: Tensor, num_environments: int) -> Tensor:
    """IRMv1's invariance penalty: mean over environments of the squared slope -> [] (report, equation 9)."""
    slopes = irm_slopes(logits, labels, environments, num_environments)
    return mean_over_present(slopes.square(), _counts(environments, num_environments, logits))


def vrex_penalty(risks: Tensor) -> Tensor:
    """Population variance of the risks [E] -> [] (Krueger et al. 2021, arXiv:2003.00688, equation 8)."""
    return (risks - risks.mean()).square().mean()


def _counts(environments: Tensor, num_environments: int, like: Tensor) -> Tensor:
    ones = torch.ones_like(environments, dtype=_at_least_float32(like).dtype)
    return environment_sums(ones, environments, num_environments)


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
