"""What `hf-ood shift --pairs_of` measured between the environments of a data set, for its card."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..names import markdown


def shift_told(table: Path, command: str) -> str:
    """For each environment the means over its pairs with all others, as Markdown.

    `table`: the `shift.csv` that the command wrote.
    """
    measured = pd.read_csv(table)
    sides = measured["name"].str.split(" / ", expand=True)
    both = pd.concat([measured.assign(environment=sides[side]) for side in (0, 1)])
    columns = [f"{kind}_{what}" for kind in ("diversity", "correlation") for what in ("value", "null")]
    means = both.groupby("environment", sort=False)[columns].mean()
    rows = [
        f"| {markdown(str(name))} | {diversity:.2f} ({no_diversity:.2f}) | {correlation:.2f} ({none:.2f}) |"
        for name, (diversity, no_diversity, correlation, none) in zip(
            means.index, means.to_numpy(), strict=True
        )
    ]
    return "\n".join(
        [
            "Measured between every two environments of the training split, from 0 (no shift) to 1, "
            "averaged over the pairs of each, with what the same rows read without any shift in brackets "
            f"(`{command}`):",
            "",
            "| environment | diversity shift | correlation shift |",
            "|---|---|---|",
            *rows,
        ]
    )
