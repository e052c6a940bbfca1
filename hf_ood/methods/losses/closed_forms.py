"""Cross-entropy and squared error of single samples, and their derivatives in the logits, in closed form.

Throughout: `logits` float [B, C]; `labels` int64 [B], float shares of classes [B, C] of mixed samples, or the
float targets [B] of a regression, whose logits are [B, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision in float32, anything else as it is: sums over samples need the digits."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def largest_class(labels: Tensor) -> Tensor:
    """The class of each sample, that of the largest share of a mixed one -> int64 [B]."""
    return labels if labels.dim() == 1 else labels.argmax(1)


def are_targets(labels: Tensor) -> bool:
    """Whether labels are a regression's targets, floats [B]; shares of classes [B, C] are not."""
    return labels.dim() == 1 and labels.is_floating_point()


def class_shares(labels: Tensor, like: Tensor) -> Tensor:
    """Labels of classes as shares [B, C], of the type of the logits `like` [B, C]."""
    if labels.dim() == 2:
        return labels.to(like)
    # Not F.one_hot, which looks at the labels' range first and waits for a GPU to tell it.
    return torch.zeros_like(like).scatter_(1, labels[:, None], 1)


def probabilities(logits: Tensor) -> Tensor:
    """softmax over the classes of [B, C]."""
    return logits.mT.softmax(0).mT if _by_columns(logits) else logits.softmax(1)


def _by_columns(logits: Tensor) -> bool:
    """Whether the logits of one class lie side by side: of few classes, softmax over rows takes ten times as
    long as over columns."""
    return logits.stride(0) == 1 and logits.shape[1] > 1


def sample_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample, in nats -> [B]; in float32 whatever the logits' type.

    Labels that are floats [B] are targets of a regression: the squared error of logits [B, 1].
    """
    logits = at_least_float32(logits)
    if are_targets(labels):
        return (logits[:, 0] - labels).square()
    if _by_columns(logits):
        logarithms = logits.mT.log_softmax(0).mT
        if labels.dim() == 1:
            return -logarithms.gather(1, labels[:, None]).squeeze(1)
        return -(logarithms * labels.to(logits)).sum(1)
    targets = labels if labels.dim() == 1 else labels.to(logits)
    return F.cross_entropy(logits, targets, reduction="none")


def sample_slopes(logits: Tensor, labels: Tensor) -> Tensor:
    """Slope of each sample's cross-entropy in a scale w on the logits, at w = 1 -> [B].

    d/dw CE(w z, y) = sum_k p_k z_k - z_y with p = softmax(z): the expected minus the true logit, of a mixed
    sample `sum_k y_k z_k`. No second differentiation is needed for the gradient of a penalty on it. For the
    squared error of a regression it is 2 z (z - y).
    """
    logits = at_least_float32(logits)
    if are_targets(labels):
        return 2 * logits[:, 0] * (logits[:, 0] - labels)
    return ((probabilities(logits) - class_shares(labels, logits)) * logits).sum(1)


def sample_residuals(logits: Tensor, labels: Tensor) -> Tensor:
    """Gradient of each sample's cross-entropy in its logits, `p - y` -> [B, C]; `2 (z - y)` for the squared
    error."""
    logits = at_least_float32(logits)
    if are_targets(labels):
        return 2 * (logits - labels[:, None])
    return probabilities(logits) - class_shares(labels, logits)
