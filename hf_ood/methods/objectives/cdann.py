"""Class-conditional domain-adversarial training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from ...options import option
from .base import Outputs, Sums, labels_of
from .dann import DANN
from .functional import environment_means, environment_sums, mean_over_present


@dataclass
class CDANN(DANN):
    """DANN whose discriminator knows the class: features are to hide the environment within each class.

    Reference: Li et al. 2018, "Deep domain generalization via conditional invariant adversarial networks",
    in DomainBed's variant: one discriminator, which sees the features plus a learnt vector of the class,
    and whose loss is the mean over classes of its mean in each class. Options and defaults are DANN's.

    Requirements:
        As `DANN`; and classes, so neither a regression nor mixed samples.

    Relations:
        `DANN` where environments hold the classes in equal shares; this where they do not, so that hiding the
        environment would hide the class.

    Examples:
        >>> import torch
        >>> from hf_ood import CDANN
        >>> from hf_ood.methods.objectives import Outputs
        >>> objective = CDANN(width=8)
        >>> objective.build(feature_size=2, num_labels=2, present=torch.tensor([True, True]))
        >>> features = torch.randn(4, 2, requires_grad=True)
        >>> labels, where = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> outputs = Outputs(features, labels, where, 2, features)
        >>> objective.sums(outputs)["class_count"].tolist()  # of each environment and class
        [[1.0, 1.0], [1.0, 1.0]]
    """

    name: ClassVar[str] = "cdann"
    equation: ClassVar[str] = (
        r"\frac{1}{n} \sum_i \ell_i - \lambda \min_{d, v} \frac{1}{C} \sum_c "
        r"\operatorname{mean}_{i : y_i = c} \left( -\log d_{e_i}(z_i + v_c) \right)"
    )
    citation: ClassVar[str] = """\
@inproceedings{li2018deep,
  title = {Deep Domain Generalization via Conditional Invariant Adversarial Networks},
  author = {Li, Ya and Tian, Xinmei and Gong, Mingming and Liu, Yajing and Liu, Tongliang and Zhang, Kun
            and Tao, Dacheng},
  booktitle = {European Conference on Computer Vision},
  year = {2018}
}"""
    needs_classes: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    conditional: ClassVar[bool] = True

    class_balanced: bool = option(
        True, "Weigh classes the same in the discriminator's loss (DomainBed); else environments, as DANN."
    )

    def discriminator_sums(self, outputs: Outputs, losses: Tensor) -> Sums:
        """Losses and samples by environment and class, [E, C] each."""
        where = (outputs.environments, outputs.num_environments)
        classes = F.one_hot(labels_of(outputs), outputs.logits.shape[1]).to(losses)
        return {
            "discriminator": environment_sums(losses[:, None] * classes, *where),
            "class_count": environment_sums(classes, *where),
        }

    def discriminator_risk(self, totals: Sums) -> Tensor:
        """Mean of the discriminator's risk over classes, or over environments -> []."""
        over = 0 if self.class_balanced else 1
        losses, counts = totals["discriminator"].sum(over), totals["class_count"].sum(over)
        return mean_over_present(environment_means(losses, counts), counts)
