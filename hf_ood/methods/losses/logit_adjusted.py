"""Cross-entropy of logits that are told how frequent the classes are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import SampleLoss, along
from .class_weights import class_counts, unprepared
from .closed_forms import at_least_float32, sample_losses, sample_residuals


@dataclass
class LogitAdjusted(SampleLoss):
    """Cross-entropy of `z + tau log prior`: the logits z need not learn which classes are frequent.

    References: Menon et al. 2021, arXiv:2007.07314, equation 10; with `tau=1` the balanced softmax of Ren et
    al. 2020, arXiv:2007.10740. The prior is each class's share of the training samples, which takes
    `prepare`; a class without a sample counts as one with a single sample. Predictions use z as it is, as if
    the classes were equally frequent. A slope is that in a scale on z, which leaves the prior alone.

    Requirements:
        Classes, in batches that hold them as the training data do: where a sampler balances them already
        (`environment_proportions` groups or classes) it is
        refused.

    Relations:
        `CrossEntropy(class_weights="balanced")` has the same minimiser of the balanced error in theory and
        moves hardly anything once every sample is fitted; the prior still does. `LDAM` gives rare classes a
        margin instead.

    Examples:
        >>> import torch
        >>> from hf_ood import LogitAdjusted
        >>> labels = torch.tensor([0] * 9 + [1])
        >>> loss = LogitAdjusted().prepare(labels, num_labels=2)
        >>> both = loss(torch.zeros(2, 2), torch.tensor([0, 1]))  # as probable as the classes are frequent
        >>> [round(value, 1) for value in both.neg().exp().tolist()]
        [0.9, 0.1]
    """

    name: ClassVar[str] = "logit_adjusted"
    equation: ClassVar[str] = r"\ell = -\log \operatorname{softmax}(z + \tau \log \pi)_y, \quad " + (
        r"\pi_k = \frac{n_k}{n}"
    )
    citation: ClassVar[str] = """\
@inproceedings{menon2021long,
  title = {Long-tail Learning via Logit Adjustment},
  author = {Menon, Aditya Krishna and Jayasumana, Sadeep and Rawat, Ankit Singh and Jain, Himanshu
            and Veit, Andreas and Kumar, Sanjiv},
  booktitle = {International Conference on Learning Representations},
  note = {arXiv:2007.07314},
  year = {2021}
}"""
    regression: ClassVar[bool | None] = False

    tau: float = option(
        1.0,
        "Weight of the logarithm of the classes' shares (paper: 1).",
        search=Search(0.25, 4.0, "ours, around the paper's", log=True),
    )
    log_prior: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    """Logarithm of each class's share, float [C], once `prepare` knows it."""

    def __post_init__(self) -> None:
        if self.tau <= 0:
            raise ValueError(f"loss.tau must be positive, not {self.tau:g}: 0 is cross_entropy.")

    @property
    def counts_classes(self) -> bool:
        return True

    def prepare(self, labels: Tensor, num_labels: int) -> LogitAdjusted:
        counts = class_counts(labels, num_labels).clamp_min(1)
        prepared = replace(self)
        prepared.log_prior = (counts / counts.sum()).log()
        return prepared

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sample_losses(self._adjusted(logits), labels)

    def residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sample_residuals(self._adjusted(logits), labels)

    def slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        return along(self.residuals(logits, labels), at_least_float32(logits))

    def _adjusted(self, logits: Tensor) -> Tensor:
        if self.log_prior is None:
            raise unprepared("logit_adjusted needs the classes' shares of the training labels")
        logits = at_least_float32(logits)
        return logits + self.tau * self.log_prior.to(logits)
