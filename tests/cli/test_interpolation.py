"""The choice of a point between the starting and the trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hf_ood.evaluation import environment_report
from hf_ood.reporting.tables import interpolation_table
from hf_ood.runs.interpolation_with_start import check_line, interpolate_and_choose, selection_on_line
from hf_ood.runs.spec import MethodSpec, NetworkSpec, RunSpec


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

    line = interpolate_and_choose(model, network(1.0), [0.0, 0.3, 1.0], report)
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


def test_a_regression_ends_where_its_validation_error_is_lowest() -> None:
    """The network is w x - w; of the targets -x + 1 and 3 x - 3 at x = 3, the errors are (2 w + 2)^2 and
    (2 w - 6)^2, whose mean is lowest where w = 1, a quarter of the way."""
    model, given, targets = network(4.0), torch.tensor([[3.0], [3.0]]), np.array([-2.0, 6.0], np.float32)

    def report(split: str) -> dict[str, dict[str, Any]]:
        values = (model(given) if split == "validation" else 2 * model(given)).detach().numpy()
        return environment_report(values, targets, np.array([0, 1]), ["a", "b"])

    line = interpolate_and_choose(model, network(0.0), [0.0, 0.25, 0.5, 1.0], report)
    assert [point["share"] for point in line if point["chosen"]] == [0.25]
    assert model.weight.item() == 1.0
    assert [point["validation_mean_squared_error"] for point in line] == [
        pytest.approx(((2 * w + 2) ** 2 + (2 * w - 6) ** 2) / 2) for w in (0.0, 1.0, 2.0, 4.0)
    ]
    assert line[3] == {
        "share": 1.0,
        "validation_mean_squared_error": pytest.approx(52.0),
        "mean_squared_error": pytest.approx(((16 + 2) ** 2 + (16 - 6) ** 2) / 2),
        "chosen": False,
    }
    table = interpolation_table(line)
    assert [column.header for column in table.columns] == [
        "share",
        "validation mean squared error",
        "mean squared error",
    ]
    assert list(table.columns[1].cells) == ["20.000", "16.000", "20.000", "52.000"]


def test_a_line_that_leads_nowhere_is_refused() -> None:
    def asks(start_from: str, *shares: float) -> RunSpec:
        return RunSpec(
            network=NetworkSpec(start_from=start_from), method=MethodSpec(interpolate_with_start=list(shares))
        )

    check_line(asks("previous", 0.5, 1.0), Path("1-pretrain"), has_validation=True)
    check_line(asks("folder", 0.5), None, has_validation=False)
    check_line(RunSpec(), None, has_validation=False)
    for arguments, previous, message in (
        (asks("previous", 0.5), None, "starts from random weights"),
        (asks("scratch", 0.5), None, "starts from random weights"),
        (asks("scratch", 0.5), Path("1-pretrain"), "starts from random weights"),
        (asks("folder", 1.5), None, "shares lie in 0..1, 1.5 does not"),
        (asks("folder", 0.5, 1.0), None, "give one share only"),
    ):
        with pytest.raises(ValueError, match=message):
            check_line(arguments, previous, has_validation=previous is not None)
