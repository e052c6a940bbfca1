"""Random environments: the control that every inference has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..options import option
from .base import EnvironmentInference, Reference


@dataclass
class RandomEnvironments(EnvironmentInference):
    """Environments of equal size, drawn at random: a control without information.

    Requirements:
        None.

    Relations:
        What `EIIL` and `KMeansEnvironments` have to beat: it knows nothing.

    Examples:
        >>> import torch
        >>> from hf_ood import RandomEnvironments
        >>> from hf_ood.discovery import Reference
        >>> reference = Reference(torch.zeros(6, 2), torch.zeros(6).long())
        >>> environments = RandomEnvironments().infer(reference, seed=0)
        >>> environments.bincount().tolist()
        [3, 3]
    """

    num_environments: int = option(2, "How many environments.")

    name: ClassVar[str] = "random"
    needs_reference: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.num_environments < 2:
            raise ValueError(f"random.num_environments must be at least 2, not {self.num_environments}.")

    @property
    def number(self) -> int:
        return self.num_environments

    def infer(self, reference: Reference, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(len(reference.labels), generator=generator) % self.num_environments
