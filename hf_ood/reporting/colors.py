"""One colour for each method, wherever it is drawn, from a colour-blind safe palette."""

from __future__ import annotations

# Okabe & Ito, "Color universal design".
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
METHOD_COLORS = {
    "ERM": "#000000",
    "IRM": "#0072B2",
    "RSC": "#D55E00",
    "IRM+RSC": "#CC79A7",
    "V-REx": "#009E73",
    "RSC improved": "#E69F00",
    "ERM with edges": "#56B4E9",
}


def arm_colors(arms: list[str]) -> dict[str, str]:
    """Arms named after a method get its colour; others take the palette in order."""
    return {arm: METHOD_COLORS.get(arm, COLORS[number % len(COLORS)]) for number, arm in enumerate(arms)}
