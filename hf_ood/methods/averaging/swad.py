"""Stochastic weight averaging, densely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ...options import Search, option
from .base import Averaging, Weights, copied, move, prefixed, unprefixed


class Segment(NamedTuple):
    """The mean of the weights after a number of consecutive steps."""

    mean: Weights
    steps: int


def loss_valley(
    losses: Sequence[float], n_converge: int, n_tolerance: int, tolerance_ratio: float, over: bool = True
) -> range:
    """The evaluations that make up the valley of a curve of validation losses.

    The valley begins with the first loss that none of the next `n_converge - 1` undercuts; these together
    have the mean m. It ends before the first of `n_tolerance` losses in a row above
    `(1 + tolerance_ratio) * m`. While the training is not `over`, only evaluations of which this is decided
    already. Without a valley an empty range, at the earliest place where one may still begin.
    """
    for start in range(len(losses) - n_converge + 1):
        first = losses[start : start + n_converge]
        if first[0] > min(first):
            continue
        highest = (1 + tolerance_ratio) * sum(first) / n_converge
        end = start + 1 + max(n_converge - n_tolerance, 0)  # the paper looks for an end from the next loss on
        while end < len(losses) and (over or end + n_tolerance <= len(losses)):
            if min(losses[end : end + n_tolerance]) > highest:
                break
            end += 1
        return range(start, end)
    earliest = max(len(losses) - n_converge + 1, 0)
    return range(earliest, earliest)


@dataclass
class SWAD(Averaging):
    """The mean of the weights after every step between the evaluations that begin and end the valley of the
    validation loss.

    Reference: Cha et al. 2021, arXiv:2102.08604, algorithm 1 with their code's defaults. It chooses by the
    loss of the weights as they are, so evaluations while training are of these, and the average comes in at
    the end; no checkpoint is chosen besides. A curve that reaches no valley leaves the mean over the steps
    before its last evaluation. Evaluate often: `--eval_strategy steps`. Statistics of BatchNorm are
    averaged along. Undecided parts of the average wait in the memory of the CPU.

    Requirements:
        A validation set that is measured often, as with `eval_strategy="steps"`. Networks divided by FSDP are
        refused.

    Relations:
        `SWA` averages over a fixed part of the training. `SAM` looks for flat minima by gradients. It goes
        with every objective: `erm+swad`, `coral+swad`.

    Examples:
        >>> from hf_ood.methods.averaging.swad import loss_valley
        >>> losses = [0.9, 0.5, 0.3, 0.28, 0.29, 0.3, 0.31, 0.6, 0.7]
        >>> loss_valley(losses, n_converge=3, n_tolerance=2, tolerance_ratio=0.3)
        range(3, 7)
    """

    name: ClassVar[str] = "swad"
    equation: ClassVar[str] = (
        r"\bar\theta = \frac{1}{t_e - t_s + 1} \sum_{t=t_s}^{t_e} \theta_t, \quad "
        r"t_s, t_e \text{ the ends of the valley of the validation loss}"
    )
    citation: ClassVar[str] = """\
@inproceedings{cha2021swad,
  title = {{SWAD}: Domain Generalization by Seeking Flat Minima},
  author = {Cha, Junbum and Chun, Sanghyuk and Lee, Kyungjae and Cho, Han-Cheol and Park, Seunghyun and
            Lee, Yunsung and Park, Sungrae},
  booktitle = {Advances in Neural Information Processing Systems},
  note = {arXiv:2102.08604},
  year = {2021}
}"""
    selection: ClassVar[str] = "mean of weights over the valley of the validation loss (swad)"
    needs_validation: ClassVar[bool] = True

    n_converge: int = option(3, "Evaluations of which the first must be lowest to begin (paper: 3).")
    n_tolerance: int = option(6, "Evaluations in a row above the tolerance that end it (paper: 6).")
    tolerance_ratio: float = option(
        0.3,
        "Tolerated rise over the mean loss at the beginning (paper: 0.3, on VLCS 0.2).",
        search=Search(0.2, 0.3, "the paper's two values"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_converge", "n_tolerance"):
            if getattr(self, name) < 1:
                raise ValueError(f"swad.{name} must be at least 1, not {getattr(self, name)}.")

    def reset(self) -> None:
        super().reset()
        self.running: Weights = {}  # the mean of `count` weights since the last evaluation
        self.losses: list[float] = []
        # The mean before an evaluation and of how many, where it may still become part of the valley.
        self.segments: dict[int, Segment] = {}
        self.valley = Segment({}, 0)  # as far as it is decided

    def update(self, weights: Mapping[str, Tensor], step: int, max_steps: int) -> None:
        self.count += 1
        if self.running:
            move(self.running, weights, 1 / self.count)
        else:
            self.running = copied(weights)

    def evaluated(self, loss: float) -> None:
        if not self.running:
            return
        self.segments[len(self.losses)] = _on_cpu(self.running, self.count)
        self.running, self.count = {}, 0
        self.losses.append(loss)
        decided = self._valley(over=False)
        self.valley = self._with_segments(decided)
        ended = decided and decided.stop + self.n_tolerance <= len(self.losses)
        self.segments = {n: s for n, s in self.segments.items() if n >= decided.stop and not ended}

    @property
    def final(self) -> Weights:
        if not self.losses:
            return self.running
        valley = self._with_segments(self._valley(over=True))
        return valley.mean or self.segments[len(self.losses) - 1].mean

    def state_dict(self) -> dict[str, Tensor]:
        parts = {f"segment {number}": segment for number, segment in self.segments.items()}
        parts |= {"running": Segment(self.running, self.count), "valley": self.valley}
        state = {"losses": torch.tensor(self.losses, dtype=torch.float64)}
        for part, segment in parts.items():
            state |= {f"{part}/": torch.tensor(segment.steps), **prefixed(part, segment.mean)}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.losses = state["losses"].tolist()
        parts = {
            name.removesuffix("/"): Segment(unprefixed(name.removesuffix("/"), state), int(count))
            for name, count in state.items()
            if name.endswith("/")
        }
        self.running, self.count = parts.pop("running")
        self.valley = _on_cpu(*parts.pop("valley"))
        self.segments = {int(name.removeprefix("segment ")): _on_cpu(*part) for name, part in parts.items()}

    def _valley(self, over: bool) -> range:
        return loss_valley(self.losses, self.n_converge, self.n_tolerance, self.tolerance_ratio, over)

    def _with_segments(self, evaluations: range) -> Segment:
        """The valley so far, with those segments of these evaluations that are not in it yet."""
        mean, total = copied(self.valley.mean), self.valley.steps
        for number in evaluations:
            if number in self.segments:
                weights, steps = self.segments[number]
                total += steps
                mean = mean or copied(weights)
                move(mean, weights, steps / total)
        return Segment(mean, total)


def _on_cpu(mean: Weights, steps: int) -> Segment:
    return Segment({name: value.cpu() for name, value in mean.items()}, steps)
