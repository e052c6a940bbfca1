"""Environments as clusters of what a model says early in its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..data.targets import CLASSIFICATION, task_of
from ..options import option
from .base import EnvironmentInference, Reference
from .kmeans import clusters_within_classes


@dataclass
class SPARE(EnvironmentInference):
    """Clusters of an early model's logits within each class; environment 0 holds the largest of each class,
    environment 1 the next.

    Reference: Yang et al. 2024, arXiv:2305.18761: simple features are learnt first, so early in training a
    model's outputs tell apart who has the shortcut of a class and who has not. The reference model is a stage
    of few steps; the paper then draws samples by the sizes of their clusters, here
    `environment_proportions: groups` (recipe `spare`). The number of clusters is given, where the paper
    chooses it by silhouettes.

    Requirements:
        A briefly trained reference model, classes, and as many samples of each class as there are clusters.

    Relations:
        `KMeansEnvironments` clusters the features of a model at the end of its training. `EIIL` and JTT go by
        the errors of a model, this by how it spreads a class.

    Examples:
        >>> import torch
        >>> from hf_ood import SPARE
        >>> from hf_ood.discovery import Reference
        >>> logits = torch.tensor([[2.0, 0.0], [2.1, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 2.1], [1.5, 0.0]])
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])  # the third and the last lack what others lean on
        >>> SPARE().infer(Reference(logits, labels), seed=0).tolist()
        [0, 0, 1, 0, 0, 1]
    """

    num_environments: int = option(2, "Clusters of each class (the paper chooses them by silhouettes).")
    iterations: int = option(100, "At most so many of Lloyd's iterations.")

    name: ClassVar[str] = "spare"
    equation: ClassVar[str] = (
        r"\min_{c} \sum_y \sum_{i : y_i = y} \left\lVert f_t(x_i) - \mu_{y, c_i} \right\rVert^2, \quad "
        r"f_t \text{ the logits early in training}"
    )
    citation: ClassVar[str] = """\
@inproceedings{yang2024identifying,
  title = {Identifying Spurious Biases Early in Training through the Lens of Simplicity Bias},
  author = {Yang, Yu and Gan, Eric and Dziugaite, Gintare Karolina and Mirzasoleiman, Baharan},
  booktitle = {International Conference on Artificial Intelligence and Statistics},
  note = {arXiv:2305.18761},
  year = {2024}
}"""

    def __post_init__(self) -> None:
        if self.num_environments < 2:
            raise ValueError(f"spare.num_environments must be at least 2, not {self.num_environments}.")

    @property
    def number(self) -> int:
        return self.num_environments

    def infer(self, reference: Reference, seed: int) -> Tensor:
        if (task := task_of(reference.labels)) != CLASSIFICATION:
            raise ValueError(f"spare clusters logits within classes, and a {task} has none: use eiil.")
        generator = torch.Generator().manual_seed(seed)
        return clusters_within_classes(reference.logits, reference.labels, self, generator)
