"""The equations, as pure functions of tensors.

Throughout: `logits` float [B, C], `labels` int64 [B] or, of mixed samples, float shares of classes [B, C];
`environments` int64 [B] with ids in 0..E-1, `num_environments` the int E; `features` float [B, D]. An
environment that is absent from the batch is left out of every mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses.closed_forms import are_targets as are_targets
from ..losses.closed_forms import at_least_float32 as at_least_float32
from ..losses.closed_forms import largest_class as largest_class
from ..losses.closed_forms import sample_losses as sample_losses
from ..losses.closed_forms import sample_residuals as sample_residuals
from ..losses.closed_forms import sample_slopes as sample_slopes


def environment_sums(values: Tensor, environments: Tensor, num_environments: int) -> Tensor:
    """Sum `values` [B, ...] over the samples of each environment -> [E, ...], at a cost independent of E."""
    sums = values.new_zeros(num_environments, *values.shape[1:])
    return sums.index_add(0, environments, values)


def environment_products(left: Tensor, right: Tensor, environments: Tensor, num_environments: int) -> Tensor:
    """Sum the outer products of `left` [B, C] and `right` [B, D] over each environment -> [E, C, D].

    No [B, C, D] is ever built: where E * C <= D one matrix product has a column for each environment and row
    of `left`; otherwise a batched one has the environments padded to the largest.
    """
    if num_environments * left.shape[1] <= right.shape[1]:
        member = F.one_hot(environments, num_environments).to(left)
        columns = (member[:, :, None] * left[:, None]).flatten(1)
        return (columns.mT @ right).view(num_environments, left.shape[1], -1)
    counts = torch.bincount(environments, minlength=num_environments)
    order = environments.argsort(stable=True)
    ends, width = counts.cumsum(0), int(counts.max())
    shift = torch.arange(num_environments, device=counts.device) * width - (ends - counts)
    rows = torch.arange(len(order), device=counts.device) + shift[environments[order]]

    def padded(values: Tensor) -> Tensor:
        blocks = values.new_zeros(num_environments * width, values.shape[1])
        return blocks.index_copy(0, rows, values[order]).view(num_environments, width, -1)

    return padded(left).mT @ padded(right)


def environment_means(sums: Tensor, counts: Tensor) -> Tensor:
    """Per-environment sums [E, ...] and sample counts [E] -> means [E, ...]; 0 where there is no sample."""
    at_least_one = counts.clamp_min(1)
    return sums / (at_least_one if sums.dim() == 1 else at_least_one.view(-1, *[1] * (sums.dim() - 1)))


def mean_over_present(values: Tensor, counts: Tensor) -> Tensor:
    """Mean of `values` [E], finite everywhere, over the environments with at least one sample -> []."""
    present = (counts > 0).to(values)
    return torch.dot(values, present / present.sum().clamp_min(1))


def mean_of_means(sums: Tensor, counts: Tensor) -> Tensor:
    """Mean over the environments with samples of the mean in each, from sums and counts [E] -> []."""
    present = (counts > 0).to(sums)
    return torch.dot(sums, present / (counts.clamp_min(1) * present.sum().clamp_min(1)))


def squared_deviations(values: Tensor, counts: Tensor) -> Tensor:
    """Squared distance of each environment's `values` [E, ...] from the mean over present ones -> [E].

    0 for an absent one. The mean of squared distances over pairs of P environments is 2 / (P - 1) times the
    sum of these: pairs need not be formed.
    """
    flat, present = values.flatten(1), (counts > 0)[:, None]
    mean = torch.where(present, flat, 0).sum(0) / present.sum().clamp_min(1)
    return torch.where(present, flat - mean, 0).square().sum(1)


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


def group_dro_weights(weights: Tensor, risks: Tensor, step_size: float) -> Tensor:
    """Exponentiated-gradient ascent: weights [E] and risks [E] -> weights proportional to w * exp(step * R).

    Source: Sagawa et al. 2020, arXiv:1911.08731, algorithm 1.
    """
    return (weights.log() + step_size * risks).softmax(0)


def conditional_value_at_risk(risks: Tensor, share: float) -> Tensor:
    """Mean of the worst `share` of the risks [E] -> []; the environment at the border counts in part.

    Equals the largest `sum_e q_e R_e` with q a distribution and every q_e at most 1 / (share * E)
    (Rockafellar & Uryasev 2000; over groups: Williamson & Menon 2019, arXiv:1901.08665).
    """
    worst_first = risks.sort(descending=True).values
    places = torch.arange(len(risks), dtype=risks.dtype, device=risks.device)
    mass = (share * risks.new_full((), len(risks))).clamp_min(1)
    return ((mass - places).clamp(0, 1) * worst_first).sum() / mass


def risk_quantile(risks: Tensor, quantile: float) -> Tensor:
    """The `quantile` of a Gaussian kernel density through the risks [E] -> [].

    Bandwidth 1.06 * std * E**(-1/5). The quantile q solves F(q) = `quantile` with F the mean normal
    distribution function. It is found on ever finer grids without graph; one Newton step with graph gives
    the last digits, and the gradient of the implicit function, in which every risk takes part.
    Source: Eastwood et al. 2022, arXiv:2207.09944, section 4 and appendix.
    """
    number = len(risks)
    variance = (risks - risks.mean()).square().sum() / max(number - 1, 1)
    tiny = 1e-6 * (1 + risks.detach().abs().max())  # equal risks: a density as narrow as rounding allows
    width = 1.06 * (variance + tiny.square()).sqrt() * number**-0.2
    with torch.no_grad():
        level = torch.as_tensor(quantile, dtype=risks.dtype, device=risks.device)
        reach = width * torch.special.ndtri(level)
        low, high = risks.min() + reach, risks.max() + reach
        fractions = torch.linspace(0, 1, 65, dtype=risks.dtype, device=risks.device)
        for _ in range(4):
            grid = low + (high - low) * fractions
            reached = torch.special.ndtr((grid[:, None] - risks) / width).mean(1) >= quantile
            upper = (~reached).sum().clamp(1, len(grid) - 1)
            # An index [] would be read on the CPU.
            low, high = grid.gather(0, upper[None] - 1).squeeze(0), grid.gather(0, upper[None]).squeeze(0)
        middle = (low + high) / 2
        density = torch.exp(-((middle - risks) / width).square() / 2).mean() / ((2 * torch.pi) ** 0.5 * width)
    excess = torch.special.ndtr((middle - risks) / width).mean() - quantile
    return middle - excess / density


def spectral_decoupling_penalty(logits: Tensor) -> Tensor:
    """Mean of the squared logits -> [] (Pezeshki et al. 2021, arXiv:2011.09468, and its code)."""
    return at_least_float32(logits).square().mean()


def information_bottleneck_penalty(features: Tensor, environments: Tensor, num_environments: int) -> Tensor:
    """Population variance of a feature in an environment, mean over both -> [].

    Source: Ahuja et al. 2021, arXiv:2106.06607, section 4: the variance stands in for the entropy.
    """
    features = at_least_float32(features)
    counts = _counts(environments, num_environments, features)
    sums = environment_sums(features, environments, num_environments)
    squares = environment_sums(features.square(), environments, num_environments)
    return mean_over_present(feature_variances(counts, sums, squares).mean(1), counts)


def feature_variances(counts: Tensor, sums: Tensor, squares: Tensor) -> Tensor:
    """Population variances [E, ...] from sample counts [E], sums and sums of squares [E, ...]."""
    return environment_means(squares, counts) - environment_means(sums, counts).square()


def covariances(counts: Tensor, sums: Tensor, products: Tensor) -> Tensor:
    """Unbiased covariance of each environment [E, D, D] from counts [E], sums [E, D], products [E, D, D]."""
    means = environment_means(sums, counts)
    return environment_means(products - sums[:, :, None] * means[:, None, :], counts - 1)


def covariance_distance(covariances: Tensor, counts: Tensor) -> Tensor:
    """CORAL's distance `||C_e - C_f||^2 / (4 D^2)` of covariances [E, D, D], mean over pairs -> []."""
    pairs = ((counts > 0).sum() - 1).clamp_min(1)
    return squared_deviations(covariances, counts).sum() * 2 / pairs / (4 * covariances.shape[1] ** 2)


def coral_penalty(features: Tensor, environments: Tensor, num_environments: int) -> Tensor:
    """`||C_e - C_f||^2 / (4 D^2)`, C the features' covariance, mean over pairs of environments -> [].

    Source: Sun & Saenko 2016, arXiv:1607.01719, equations 1 to 3.
    """
    features = at_least_float32(features)
    counts = _counts(environments, num_environments, features)
    sums = environment_sums(features, environments, num_environments)
    products = environment_products(features, features, environments, num_environments)
    return covariance_distance(covariances(counts, sums, products), counts)


def mmd_penalty(
    features: Tensor,
    environments: Tensor,
    num_environments: int,
    gammas: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3),
) -> Tensor:
    """Squared maximum mean discrepancy, kernel `sum_g exp(-g ||x - y||^2)`, mean over pairs of
    environments -> [].

    With w_i = 1 / n of sample i's environment and P environments present, the sum over pairs is
    `sum_ij w_i w_j k_ij (P [same environment] - 1)`: its cost does not depend on P.
    Source: Gretton et al. 2012 (the biased estimate); over environments Li et al. 2018; kernel of DomainBed.
    """
    features = at_least_float32(features)
    counts = _counts(environments, num_environments, features)
    weights, present = (1 / counts.clamp_min(1))[environments], (counts > 0).sum()
    one, other = torch.triu_indices(len(features), len(features), 1, device=features.device)
    signs = torch.where(environments[one] == environments[other], present - 1, -1)
    # The matrix-product shortcut to distances is off by 1e-4 on equal samples, which gamma magnifies.
    distances = F.pdist(features).square()
    kernel = torch.stack([torch.exp(-gamma * distances) for gamma in gammas]).sum(0)
    between = 2 * (weights[one] * weights[other] * signs * kernel).sum()
    with_itself = len(gammas) * (present - 1) * weights.square().sum()
    return (between + with_itself) / (present * (present - 1) / 2).clamp_min(1)


def head_gradient_factors(logits: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Each sample's gradient of its cross-entropy in a linear head's weight and bias is the outer product of
    these: `p - onehot(y)` [B, C] (`2 (z - y)` for the squared error) and `(features, 1)` [B, D + 1]."""
    return sample_residuals(logits, labels), head_inputs(features)


def head_inputs(features: Tensor) -> Tensor:
    """`(features, 1)`, what a linear head with a bias multiplies its weights with -> [B, D + 1]."""
    return F.pad(at_least_float32(features), (0, 1), value=1.0)


def fishr_penalty(
    logits: Tensor, features: Tensor, labels: Tensor, environments: Tensor, num_environments: int
) -> Tensor:
    """Mean over environments and coordinates of `(v_e - mean_e v_e)^2` -> [], v_e the population variance of
    the samples' gradients in a linear head's weight and bias.

    Source: Rame et al. 2022, arXiv:2109.02934, equations 3 and 4, the mean over coordinates as in its
    code.
    """
    residuals, inputs = head_gradient_factors(logits, features, labels)
    counts = _counts(environments, num_environments, logits)
    sums = environment_products(residuals, inputs, environments, num_environments)
    squares = environment_products(residuals.square(), inputs.square(), environments, num_environments)
    return variance_distance(feature_variances(counts, sums, squares), counts)


def variance_distance(variances: Tensor, counts: Tensor) -> Tensor:
    """Mean over environments and coordinates of `(v_e - mean_e v_e)^2` for variances [E, ...] -> []."""
    return mean_over_present(squared_deviations(variances, counts), counts) / variances[0].numel()


def _counts(environments: Tensor, num_environments: int, like: Tensor) -> Tensor:
    ones = torch.ones_like(environments, dtype=at_least_float32(like).dtype)
    return environment_sums(ones, environments, num_environments)
