"""The choice of a point between the starting and the trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hf_ood.cli.interpolation import check_line, end_on_line, selection_on_line
from hf_ood.cli.parser import RunArguments


def network(weight: float) -> nn.Linear:
    linear = nn.Linear(1, 1)
    nn.init.constant_(linear.weight, weight)
    nn.init.constant_(linear.bias, -weight)
    return linear


def test_the_validation_set_chooses_the_share() -> None:
    model = network(3.0)

    def report(split: str) -> dict[str, dict[str, Any]]:
        """Two environments; the validation accuracy is highest where the weight is 1.5, the test's at 3."""
        weight = model.weight.item()
        accuracy = 1 - abs(weight - 1.5) / 4 if split == "validation" else weight / 4
        return {"a": {"accuracy": accuracy}, "b": {"accuracy": accuracy / 2}}

    line = end_on_line(model, network(1.0), [0.0, 0.3, 1.0], report)
    assert [point["share"] for point in line if point["chosen"]] == [0.3]
    torch.testing.assert_close(model.weight, torch.tensor([[1.6]]))
    torch.testing.assert_close(model.bias, torch.tensor([-1.6]))
    assert [point["mean_accuracy"] for point in line] == pytest.approx([0.1875, 0.3, 0.5625])
    assert [point["worst_accuracy"] for point in line] == pytest.approx([0.125, 0.2, 0.375])
    assert (
        selection_on_line("last step", line)
        == "last step, then 0.3 of the way to it from the starting weights"
    )
    assert line[1]["validation_mean_accuracy"] == pytest.approx(0.75 * (1 - 0.1 / 4))


def test_a_line_that_leads_nowhere_is_refused() -> None:
    def asks(start_from: str, *shares: float) -> RunArguments:
        return RunArguments(start_from=start_from, interpolate_with_start=list(shares))

    check_line(asks("previous", 0.5, 1.0), Path("1-pretrain"), has_validation=True)
    check_line(asks("folder", 0.5), None, has_validation=False)
    check_line(RunArguments(), None, has_validation=False)
    for arguments, previous, message in (
        (asks("previous", 0.5), None, "starts from random weights"),
        (asks("scratch", 0.5), None, "starts from random weights"),
        (asks("scratch", 0.5), Path("1-pretrain"), "starts from random weights"),
        (asks("folder", 1.5), None, "shares lie in 0..1, 1.5 does not"),
        (asks("folder", 0.5, 1.0), None, "give one share only"),
    ):
        with pytest.raises(ValueError, match=message):
            check_line(arguments, previous, has_validation=previous is not None)
