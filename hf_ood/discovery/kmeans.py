"""Environments as clusters of a reference model's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ..data.targets import CLASSIFICATION, task_of
from ..options import option
from .base import EnvironmentInference, Reference


@dataclass
class KMeansEnvironments(EnvironmentInference):
    """Clusters of the reference model's features within each class; environment 0 holds the largest of each
    class, environment 1 the next.

    Within classes, because clusters of all features are the classes again. Source: Sohoni et al. 2020,
    arXiv:2011.12945, with k-means for their Gaussian mixtures.

    Requirements:
        A reference model that ends in a linear layer, classes, and as many samples of each class as there are
        clusters.

    Relations:
        `EIIL` looks at the reference's errors instead of its features; `RandomEnvironments` is the control.

    Examples:
        >>> import torch
        >>> from hf_ood import KMeansEnvironments
        >>> from hf_ood.discovery import Reference
        >>> features = torch.tensor([[0.0], [0.1], [9.0], [0.0], [9.0], [9.1]])
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])
        >>> KMeansEnvironments().infer(Reference(torch.zeros(6, 2), labels, features), seed=0).tolist()
        [0, 0, 1, 1, 0, 0]
    """

    num_environments: int = option(2, "Clusters of each class.")
    iterations: int = option(100, "At most so many of Lloyd's iterations.")

    name: ClassVar[str] = "kmeans"
    citation: ClassVar[str] = """\
@inproceedings{sohoni2020subclass,
  title = {No Subclass Left Behind: Fine-Grained Robustness in Coarse-Grained Classification Problems},
  author = {Sohoni, Nimit and Dunnmon, Jared and Angus, Geoffrey and Gu, Albert and R{\\'e}, Christopher},
  booktitle = {Advances in Neural Information Processing Systems},
  note = {arXiv:2011.12945},
  year = {2020}
}"""
    needs_features: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.num_environments < 2:
            raise ValueError(f"kmeans.num_environments must be at least 2, not {self.num_environments}.")

    @property
    def number(self) -> int:
        return self.num_environments

    def infer(self, reference: Reference, seed: int) -> Tensor:
        if reference.features is None:
            raise ValueError("kmeans clusters features: give Reference(logits, labels, features).")
        if (task := task_of(reference.labels)) != CLASSIFICATION:
            raise ValueError(f"kmeans clusters features within classes, and a {task} has none: use eiil.")
        generator = torch.Generator().manual_seed(seed)
        return clusters_within_classes(reference.features, reference.labels, self, generator)


class Clustering(Protocol):
    """What asks for clusters."""

    name: ClassVar[str]
    num_environments: int
    iterations: int


def clusters_within_classes(
    points: Tensor, labels: Tensor, asked: Clustering, generator: torch.Generator
) -> Tensor:
    """The cluster of each of the `points` [N, D] among those of its class, the largest of a class first ->
    int64 [N]. Raises `ValueError` for a class with fewer samples than clusters."""
    environments, number = torch.zeros(len(labels), dtype=torch.long), asked.num_environments
    for label in labels.unique():
        rows = (labels == label).nonzero().squeeze(1)
        if len(rows) < number:
            raise ValueError(
                f"{asked.name}: class {int(label)} has {len(rows)} samples for {number} clusters; lower "
                f"{asked.name}.num_environments."
            )
        clusters = kmeans(points[rows], number, generator, asked.iterations)
        by_size = clusters.bincount(minlength=number).argsort(descending=True, stable=True)
        environments[rows] = by_size.argsort()[clusters]
    return environments


def kmeans(points: Tensor, number: int, generator: torch.Generator, iterations: int = 100) -> Tensor:
    """Lloyd's algorithm from k-means++ seeds: the cluster of each of the `points` [N, D] -> int64 [N].

    Source: Arthur & Vassilvitskii 2007. A cluster that loses all its points keeps its centre.
    """
    centers = _seeds(points, number, generator)
    clusters = torch.full((len(points),), -1)
    for _ in range(iterations):
        nearest = torch.cdist(points, centers).argmin(1)
        if torch.equal(nearest, clusters):
            break
        clusters = nearest
        counts = clusters.bincount(minlength=number)[:, None]
        sums = torch.zeros_like(centers).index_add(0, clusters, points)
        centers = torch.where(counts > 0, sums / counts.clamp_min(1), centers)
    return clusters


def _seeds(points: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Points far from one another: each drawn in proportion to its squared distance to the nearest before."""
    chosen = [int(torch.randint(len(points), (), generator=generator))]
    distances = torch.full((len(points),), torch.inf, dtype=points.dtype)
    while len(chosen) < number:
        distances = torch.minimum(distances, (points - points[chosen[-1]]).square().sum(1))
        weights = distances if distances.sum() > 0 else torch.ones_like(distances)
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
    return points[chosen]
