"""What the card of Colored MNIST says that the data do not."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..dataset_card import CardText
from . import coloring
from .configurations import CONFIGURATIONS

SHIFTS = Path(__file__).parent / "assets" / "shift.csv"
_CITATION = """\
@article{lecun1998gradient,
  title   = {Gradient-based learning applied to document recognition},
  author  = {LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
  journal = {Proceedings of the IEEE}, volume = {86}, number = {11}, pages = {2278--2324}, year = {1998}
}"""
_CITATION_LABEL_NOISE = """
@article{arjovsky2019invariant,
  title   = {Invariant Risk Minimization},
  author  = {Arjovsky, Martin and Bottou, L{\\'e}on and Gulrajani, Ishaan and Lopez-Paz, David},
  journal = {arXiv:1907.02893}, year = {2019}
}"""


def colored_mnist_text(configurations: Sequence[str], options: Mapping[str, Any]) -> CardText:
    """Colours, options, command, licence and citation of Colored MNIST."""
    command = ["hf-ood", "datasets", "--dataset_config", *configurations]
    for name, value in options.items():
        command += [f"--{name}", *map(str, value if isinstance(value, (list, tuple)) else [value])]
    palette = ", ".join(f"{name} {' '.join(map(str, rgb))}" for name, rgb in coloring.PALETTE.items())
    given = ", ".join(f"`{name}={value}`" for name, value in options.items())
    seed = options.get("seed", 0)
    return CardText(
        title="Colored MNIST under distribution shift",
        license="cc-by-sa-3.0",
        introduction="Real MNIST digits in colour. Every image belongs to an `environment`, which tells how "
        "its colours were chosen: a model is trained in some environments and tested in others.",
        details=f"Colours (RGB): {palette}. A pair is written `<digit>_on_<background>`. Seed {seed}; "
        f"options: {given or 'the defaults'}. Columns: `image`, `label`, `environment`, `digit` (0-9), "
        "`digit_color`, `background_color`, `source_index` (position in MNIST, training images first). The "
        "split `validation` is held out from the training environments.",
        descriptions=CONFIGURATIONS if options else with_shifts(CONFIGURATIONS),
        command=shlex.join(command),
        license_notice="CC BY-SA 3.0, as MNIST, made by Yann LeCun and Corinna Cortes from NIST's databases.",
        citation=_CITATION + (_CITATION_LABEL_NOISE if "label_noise_shortcut" in configurations else ""),
    )


def with_shifts(descriptions: Mapping[str, str]) -> dict[str, str]:
    """Descriptions of the default configurations, each with the shifts that were measured in it.

    Source of `assets/shift.csv`: `hf-ood shift --all --max_samples 1000`.
    """
    measured = pd.read_csv(SHIFTS, index_col="name")
    told = {}
    for name, text in descriptions.items():
        diversity, correlation = measured.loc[name, ["diversity_value", "correlation_value"]]
        told[name] = (
            f"{text} Measured from train to test on reduced pixels, 0 (none) to 1: diversity shift "
            f"{diversity:.2f}, correlation shift {correlation:.2f}."
        )
    return told
