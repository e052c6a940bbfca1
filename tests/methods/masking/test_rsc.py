"""RSC against the report's equations and the authors' rules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hf_ood.methods.masking import RSC, rsc


@pytest.fixture
def maps() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 5, 3, 2, generator=generator), torch.randn(4, 5, 3, 2, generator=generator)


def make_head(features: int = 30, classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, classes))


def test_importances_are_the_reports_equations(maps: tuple[Tensor, Tensor]) -> None:
    gradients, features = maps
    channel, spatial, cam = torch.zeros(4, 5), torch.zeros(4, 3, 2), torch.zeros(4, 3, 2)
    for b in range(4):
        for c in range(5):
            channel[b, c] = sum(abs(gradients[b, c, h, w]) for h in range(3) for w in range(2)) / 6
        for h in range(3):
            for w in range(2):
                spatial[b, h, w] = sum(abs(gradients[b, c, h, w]) for c in range(5)) / 5
                cam[b, h, w] = max(0.0, sum(gradients[b, c].mean() * features[b, c, h, w] for c in range(5)))
    torch.testing.assert_close(rsc.channel_importance(gradients), channel)
    torch.testing.assert_close(rsc.spatial_importance(gradients), spatial)
    torch.testing.assert_close(rsc.cam_importance(gradients, features), cam)


def test_signed_importances_are_the_authors(maps: tuple[Tensor, Tensor]) -> None:
    gradients, _ = maps
    torch.testing.assert_close(rsc.channel_importance(gradients, signed=True), gradients.mean(3).mean(2))
    torch.testing.assert_close(rsc.spatial_importance(gradients, signed=True), gradients.mean(1))


@pytest.mark.parametrize("mask", ["channel", "spatial"])
def test_a_feature_against_the_true_class_is_suppressed_by_its_size_only(mask: str) -> None:
    """Of two channels, or cells, one speaks for the class with 1 and the other against it with 3."""
    size = (2, 1, 1) if mask == "channel" else (1, 2, 1)
    weight = torch.tensor([[1.0, -3.0], [0.0, 0.0]])
    found = {}
    for importance in ("absolute", "signed"):
        method = RSC(
            drop_rate=0.5,
            mask=mask,
            spatial_importance="gradient",
            restoration="none",
            importance=importance,
        )
        labels = torch.zeros(3, dtype=torch.long)
        masked = method(torch.ones(3, *size), lambda features: features.flatten(1) @ weight.T, labels)
        found[importance] = masked.flatten(1)[0].tolist()
    assert found == {"absolute": [1.0, 0.0], "signed": [0.0, 1.0]}
    with pytest.raises(ValueError, match=r"rsc\.importance must be one of absolute, signed, not 'square'"):
        RSC(importance="square")


@pytest.mark.parametrize(
    ("size", "rate", "dropped"),
    [(49, 1 / 3, 17), (9, 1 / 3, 3), (16, 0.3, 5), (10, 0.0, 0), (10, 1.0, 10), (1, 0.01, 1), (25, 0.2, 5)],
)
def test_challenge_mask_drops_the_ceil_share_of_the_largest(size: int, rate: float, dropped: int) -> None:
    importance = torch.rand(7, size, generator=torch.Generator().manual_seed(size))
    mask = rsc.challenge_mask(importance, rate)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert (mask == 0).sum(1).tolist() == [dropped] * 7
    if 0 < dropped < size:
        for row, kept in zip(importance, mask, strict=True):
            assert row[kept == 0].min() >= row[kept == 1].max()


def test_gradient_is_of_the_true_class_logit(maps: tuple[Tensor, Tensor]) -> None:
    _, features = maps
    head, labels = make_head(), torch.tensor([0, 1, 2, 0])
    gradients, logits = rsc.true_class_gradient(features, head, labels)
    for b in range(4):
        leaf = features[b : b + 1].clone().requires_grad_()
        head(leaf)[0, labels[b]].backward()
        torch.testing.assert_close(gradients[b], leaf.grad[0])
    torch.testing.assert_close(logits, head(features).detach())


def test_masking_leaves_no_gradient_in_the_head(maps: tuple[Tensor, Tensor]) -> None:
    head = make_head()
    with torch.no_grad():
        RSC()(maps[1], head, torch.tensor([0, 1, 2, 0]))
    assert all(parameter.grad is None for parameter in head.parameters())


@pytest.mark.parametrize("spatial_importance", ["cam", "gradient"])
@pytest.mark.parametrize("mask", ["channel", "spatial", "either", "combined"])
@pytest.mark.parametrize("shape", [(5, 3, 2), (1, 1, 1), (2, 7, 7), (64, 1, 1)])
def test_any_shape_and_any_mask(shape: tuple[int, int, int], mask: str, spatial_importance: str) -> None:
    features = torch.rand(6, *shape) + 0.1
    head = make_head(shape[0] * shape[1] * shape[2])
    method = RSC(mask=mask, spatial_importance=spatial_importance, restoration="none")
    masked = method(features, head, torch.randint(0, 3, (6,)))
    assert masked.shape == features.shape
    assert not torch.equal(masked, features)


def test_channel_masks_whole_channels_and_spatial_masks_whole_cells() -> None:
    features, head, labels = torch.rand(6, 5, 3, 2) + 0.1, make_head(), torch.randint(0, 3, (6,))
    channel = RSC(mask="channel", restoration="none", drop_rate=0.4)(features, head, labels) / features
    assert torch.equal(channel, channel[:, :, :1, :1].expand_as(channel))
    assert (channel[:, :, 0, 0] == 0).sum(1).tolist() == [2] * 6
    spatial = RSC(mask="spatial", restoration="none", drop_rate=0.5)(features, head, labels) / features
    assert torch.equal(spatial, spatial[:, :1].expand_as(spatial))
    assert (spatial[:, 0] == 0).sum((1, 2)).tolist() == [3] * 6


def test_either_tosses_one_coin_per_batch() -> None:
    features, head, labels = torch.rand(6, 5, 3, 2) + 0.1, make_head(), torch.randint(0, 3, (6,))
    kinds = set()
    for seed in range(20):
        torch.manual_seed(seed)
        mask = RSC(mask="either", restoration="none")(features, head, labels) / features
        whole_channels = torch.equal(mask, mask[:, :, :1, :1].expand_as(mask))
        whole_cells = torch.equal(mask, mask[:, :1].expand_as(mask))
        assert whole_channels != whole_cells
        kinds.add(whole_channels)
    assert kinds == {True, False}


def test_combined_is_the_weighted_sum_of_both_masks() -> None:
    features, head, labels = torch.rand(6, 5, 3, 2) + 0.1, make_head(), torch.randint(0, 3, (6,))

    def mask(kind: str) -> Tensor:
        return RSC(mask=kind, alpha=0.3, restoration="none")(features, head, labels) / features

    torch.testing.assert_close(mask("combined"), 0.3 * mask("spatial") + 0.7 * mask("channel"))


def confidence(head: nn.Module, features: Tensor, labels: Tensor) -> Tensor:
    return head(features).softmax(1).gather(1, labels[:, None]).squeeze(1).detach()


def test_share_keeps_the_mask_of_the_samples_that_lose_most_confidence() -> None:
    features, head, labels = torch.rand(9, 5, 3, 2) + 0.1, make_head(), torch.randint(0, 3, (9,))
    challenged = RSC(mask="channel", restoration="none")(features, head, labels)
    drop = confidence(head, features, labels) - confidence(head, challenged, labels)
    result = RSC(mask="channel", restoration="share", batch_share=1 / 3)(features, head, labels)
    still_masked = (result != features).flatten(1).any(1)
    assert sorted(still_masked.nonzero().squeeze(1).tolist()) == sorted(drop.topk(3).indices.tolist())


def test_threshold_restores_insignificant_drops_partially_on_request() -> None:
    features, head, labels = torch.rand(9, 5, 3, 2) + 0.1, make_head(), torch.randint(0, 3, (9,))
    challenged = RSC(mask="channel", restoration="none")(features, head, labels)
    drop = confidence(head, features, labels) - confidence(head, challenged, labels)
    tau = drop.median().item()
    result = RSC(mask="channel", restoration="threshold", tau=tau, restoration_strength=0.5)(
        features, head, labels
    )
    significant = drop >= tau
    torch.testing.assert_close(result[significant], challenged[significant])
    torch.testing.assert_close(result[~significant], (challenged + features)[~significant] / 2)


def test_soft_masks_suppress_and_amplify() -> None:
    features, head, labels = torch.rand(6, 5, 3, 2) + 0.1, make_head(), torch.randint(0, 3, (6,))
    method = RSC(mask="channel", restoration="none", suppressed_value=0.2, amplified_value=1.5)
    factors = method(features, head, labels) / features
    torch.testing.assert_close(factors.unique().round(decimals=3).unique(), torch.tensor([0.2, 1.5]))


def test_schedules_decay_to_zero() -> None:
    for schedule, middle in (("constant", 0.5), ("linear", 0.25), ("cosine", 0.25)):
        method = RSC(drop_rate=0.5, schedule=schedule)
        rates = []
        for method.progress in (0.0, 0.5, 1.0):
            rates.append(method.current_drop_rate())
        assert rates == pytest.approx([0.5, middle, 0.5 if schedule == "constant" else 0.0])


def test_feature_vectors_are_channels() -> None:
    features, labels = torch.rand(6, 30) + 0.1, torch.randint(0, 3, (6,))
    masked = RSC(mask="either", restoration="none", drop_rate=0.2)(features, make_head(), labels)
    assert (masked == 0).sum(1).tolist() == [6] * 6


def test_gradient_reaches_the_body_only_through_kept_features() -> None:
    features = (torch.rand(6, 5, 3, 2) + 0.1).requires_grad_()
    masked = RSC(mask="channel", restoration="none")(features, make_head(), torch.randint(0, 3, (6,)))
    masked.sum().backward()
    assert torch.equal(features.grad == 0, masked == 0)


@pytest.mark.parametrize(
    "wrong",
    [{"mask": "chanel"}, {"drop_rate": 1.2}, {"restoration": "all"}, {"schedule": "step"}, {"alpha": -0.1}],
)
def test_wrong_options_are_named(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RSC(**wrong)


def test_labels_are_needed() -> None:
    with pytest.raises(ValueError, match="labels"):
        RSC()(torch.rand(2, 5, 3, 2), make_head(), None)
