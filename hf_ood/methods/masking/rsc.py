"""Representation self-challenging: suppress the features that the prediction leans on most.

Huang et al. 2020, "Self-Challenging Improves Cross-Domain Generalization", ECCV, arXiv:2007.02454; the
report, sections 4.1, 4.4, 5.3 and 5.4. Features are maps [B, C, H, W] of any size. Vectors [B, D] count as
D channels of one cell, sequences [B, T, D] as D channels of T cells: a spatial mask suppresses tokens, a
channel mask hidden units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import FeatureTransform, Head

MASKS = ("channel", "spatial", "either", "combined")
SPATIAL_IMPORTANCE = ("cam", "gradient")
ABSOLUTE, SIGNED = IMPORTANCE = ("absolute", "signed")
RESTORATION = ("share", "threshold", "none")
SCHEDULES = ("constant", "linear", "cosine")


def channel_importance(gradients: Tensor, signed: bool = False) -> Tensor:
    """Mean absolute gradient of each channel: [B, C, H, W] -> [B, C] (report, equation 2).

    `signed`: the mean with its sign, as the authors' code.
    """
    return (gradients if signed else gradients.abs()).mean(dim=(2, 3))


def spatial_importance(gradients: Tensor, signed: bool = False) -> Tensor:
    """Mean absolute gradient of each cell, or with `signed` the mean with its sign: [B, C, H, W] ->
    [B, H, W] (report, equation 3)."""
    return (gradients if signed else gradients.abs()).mean(dim=1)


def cam_importance(gradients: Tensor, features: Tensor) -> Tensor:
    """Class activation map, channels weighted by their mean gradient: [B, C, H, W] twice -> [B, H, W].

    Report, equation 4 (Grad-CAM, Selvaraju et al. 2017); the authors' code keeps negative values too.
    """
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * features).sum(1).relu()


def challenge_mask(importance: Tensor, drop_rate: float, places: Tensor | None = None) -> Tensor:
    """0 on the ceil(drop_rate * K) largest of each row, else 1: [B, K] -> [B, K] (report, section 4.1.4).

    `places`: bool [B, K], which may be dropped; K is then their number in the row. All by default.
    """
    # The small slack keeps 1/3 * 9 at 3: a product one rounding above an integer is that integer.
    if places is not None:
        order = importance.masked_fill(~places, -torch.inf).argsort(dim=1, descending=True)
        rank = torch.arange(importance.shape[1], device=importance.device)
        each = (drop_rate * places.sum(1, keepdim=True).double() - 1e-9).ceil()
        return torch.ones_like(importance).scatter_(1, order, rank.ge(each).to(importance))
    dropped = min(math.ceil(drop_rate * importance.shape[1] - 1e-9), importance.shape[1])
    mask = torch.ones_like(importance)
    if dropped == 0:
        return mask
    return mask.scatter_(1, importance.topk(dropped, dim=1, sorted=False).indices, 0.0)


def true_class_gradient(features: Tensor, head: Head, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of each sample's true-class logit in its own features (report, equation 1), and the logits.

    Works under `no_grad` and inside a DDP forward: the features are detached and no parameter gets a
    gradient.
    """
    with torch.enable_grad():
        leaf = features.detach().requires_grad_()
        logits = head(leaf)
        (gradients,) = torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), leaf)
    return gradients, logits.detach()


@dataclass
class RSC(FeatureTransform):
    """The RSC feature transform; evaluation never masks.

    Defaults are the authors' code (coin per batch, class activation for cells) with the paper's 1/3 for
    both the share of features that is dropped and the share of the batch that stays challenged, but for
    `importance`: by default a gradient counts by its size, as in the report's equations 2 and 3, so that
    features which speak against the true class are suppressed too. The authors' code and DomainBed take the
    signed gradient, which suppresses only what speaks for it.

    Requirements:
        Labels that are classes, and a model whose features can be found: any of this package, and most of
        transformers (`feature_layer` names the layer otherwise).

    Relations:
        Combines with every objective, as in `irm+rsc`. `SD` works against reliance on few features through
        the logits. `MixStyle` also changes features on their way, without looking at the prediction.

    Examples:
        >>> import torch
        >>> from hf_ood import RSC
        >>> transform = RSC(drop_rate=0.5, mask="channel", restoration="none")
        >>> head = torch.nn.Linear(4, 2, bias=False)
        >>> _ = head.weight.data.copy_(torch.tensor([[4.0, 3.0, 0.2, 0.1], [0.0, 0.0, 0.0, 0.0]]))
        >>> transform(torch.ones(1, 4), head, torch.tensor([0]))  # the class leans on the first two
        tensor([[0., 0., 1., 1.]])
    """

    name: ClassVar[str] = "rsc"
    needs_classes: ClassVar[bool] = True
    equation: ClassVar[str] = (
        r"\tilde z = m \odot z, \quad m_k = 0 \text{ on the share } p \text{ of features on which } "
        r"\partial f_y / \partial z \text{ is strongest, else } 1"
    )
    citation: ClassVar[str] = """\
@inproceedings{huang2020self,
  title = {Self-Challenging Improves Cross-Domain Generalization},
  author = {Huang, Zeyi and Wang, Haohan and Xing, Eric P. and Huang, Dong},
  booktitle = {European Conference on Computer Vision},
  note = {arXiv:2007.02454},
  year = {2020}
}"""

    drop_rate: float = option(
        1 / 3,
        "Share of channels or cells that is suppressed (paper: 1/3).",
        search=Search(0.0, 0.5, "DomainBed"),
    )
    mask: str = option(
        "either",
        "channel | spatial | either (one coin per batch, as the authors) | combined (alpha * spatial + "
        "(1 - alpha) * channel; report, equation 16).",
    )
    alpha: float = option(0.3, "Weight of the spatial mask in 'combined' (report: 0.3).")
    spatial_importance: str = option(
        "cam", "cam (class activation, as the authors; report, equation 4) | gradient (report, equation 3)."
    )
    importance: str = option(
        ABSOLUTE,
        "Of gradients, for channels and for cells by gradient: absolute (report) | signed (the authors' "
        "code, DomainBed).",
    )
    restoration: str = option(
        "share",
        "Which samples get their features back: share (all but the batch_share with the largest confidence "
        "drop, as the authors) | threshold (a drop below tau; report 4.1.5) | none.",
    )
    batch_share: float = option(
        1 / 3,
        "Share of the batch that stays challenged with 'share' (paper: 1/3).",
        search=Search(0.0, 0.5, "DomainBed"),
    )
    tau: float = option(1e-4, "Smallest significant drop of the true class's probability with 'threshold'.")
    restoration_strength: float = option(
        1.0, "How far a restored mask moves to 1: 1 is a full reset, 0.5 half-way (report: 'closer to 1')."
    )
    suppressed_value: float = option(0.0, "What a suppressed feature is multiplied by (report 5.4).")
    amplified_value: float = option(1.0, "What the other features are multiplied by (report 5.4).")
    schedule: str = option(
        "constant",
        "Drop rate over the training: constant | linear | cosine, the last two falling to 0 (report 5.3).",
    )

    def __post_init__(self) -> None:
        for value, options, name in (
            (self.mask, MASKS, "mask"),
            (self.spatial_importance, SPATIAL_IMPORTANCE, "spatial_importance"),
            (self.importance, IMPORTANCE, "importance"),
            (self.restoration, RESTORATION, "restoration"),
            (self.schedule, SCHEDULES, "schedule"),
        ):
            if value not in options:
                raise ValueError(f"rsc.{name} must be one of {', '.join(options)}, not {value!r}.")
        for name in ("drop_rate", "alpha", "batch_share", "restoration_strength"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"rsc.{name} must lie in 0..1, not {getattr(self, name)}.")

    def __call__(
        self, features: Tensor, head: Head, labels: Tensor | None, places: Tensor | None = None
    ) -> Tensor:
        if labels is None:
            raise ValueError("RSC challenges the true class's features: it needs labels.")
        gradients, logits = true_class_gradient(features, head, labels)
        with torch.no_grad():
            mask = self._challenge(gradients, features.detach(), places)
            if (self.suppressed_value, self.amplified_value) != (0, 1):
                mask = self.suppressed_value + (self.amplified_value - self.suppressed_value) * mask
            mask = self._restore(mask, features.detach(), logits, head, labels)
        return features * mask

    def current_drop_rate(self) -> float:
        match self.schedule:
            case "linear":
                return self.drop_rate * (1 - self.progress)
            case "cosine":
                return self.drop_rate * (1 + math.cos(math.pi * self.progress)) / 2
        return self.drop_rate

    def _challenge(self, gradients: Tensor, features: Tensor, places: Tensor | None) -> Tensor:
        """The mask, broadcastable to the features."""
        dimensions = features.dim()
        if dimensions == 2:
            importance = gradients if self.importance == SIGNED else gradients.abs()
            return challenge_mask(importance, self.current_drop_rate())
        if dimensions == 3:  # [B, T, D] -> [B, D, T, 1]
            gradients, features = (each.transpose(1, 2)[..., None] for each in (gradients, features))
        kind = self.mask
        if kind == "either":
            kind = "channel" if torch.rand(()) < 0.5 else "spatial"
        match kind:
            case "channel":
                mask = self._channel_mask(gradients)
            case "spatial":
                mask = self._spatial_mask(gradients, features, places)
            case _:
                spatial = self._spatial_mask(gradients, features, places)
                mask = self.alpha * spatial + (1 - self.alpha) * self._channel_mask(gradients)
        return mask if dimensions == 4 else mask.squeeze(3).transpose(1, 2)

    def _channel_mask(self, gradients: Tensor) -> Tensor:
        importance = channel_importance(gradients, self.importance == SIGNED)
        return challenge_mask(importance, self.current_drop_rate())[:, :, None, None]

    def _spatial_mask(self, gradients: Tensor, features: Tensor, places: Tensor | None) -> Tensor:
        if self.spatial_importance == "cam":
            importance = cam_importance(gradients, features)
        else:
            importance = spatial_importance(gradients, self.importance == SIGNED)
        mask = challenge_mask(importance.flatten(1), self.current_drop_rate(), places)
        return mask.view_as(importance)[:, None]

    def _restore(self, mask: Tensor, features: Tensor, logits: Tensor, head: Head, labels: Tensor) -> Tensor:
        """Move the masks of samples whose confidence hardly dropped back to 1 (report, section 4.1.5)."""
        if self.restoration == "none":
            return mask
        drop = _confidence(logits, labels) - _confidence(head(features * mask), labels)
        if self.restoration == "threshold":
            challenged = drop >= self.tau
        else:
            kept = math.ceil(self.batch_share * len(drop) - 1e-9)
            challenged = torch.zeros_like(drop, dtype=torch.bool)
            challenged[drop.topk(kept).indices] = True
        strength = self.restoration_strength
        restored = mask + strength * (1 - mask) if strength < 1 else mask.new_ones(())
        return torch.where(challenged.view(-1, *[1] * (mask.dim() - 1)), mask, restored)


def _confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """Probability of the true class -> [B]."""
    return logits.float().softmax(1).gather(1, labels[:, None]).squeeze(1)
