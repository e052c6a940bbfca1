"""What the results behind a dossier know, and what they do not."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .environments import OPTIONAL, Left

CLASSES, GROUPS, SHIFT, IN_DOMAIN = "classes", "groups", "shift", "in_domain"
IN_TURN, FINGERPRINT, COMMIT = "in_turn", "fingerprint", "commit"
# What a reader would look for, by what has to be known for it.
WORDS = {
    CLASSES: "the names of the classes",
    IN_TURN: "accuracy in each of its environments, left out in turn",
    IN_DOMAIN: "accuracy on new samples of the training environments, and so which environments are failures",
    "macro_f1": "macro-F1 of each environment",
    "worst_group": "the worst class of each environment",
    "ece": "calibration error of each environment",
    "confidence": "confidence against accuracy",
    GROUPS: "accuracy of each class in each environment",
    SHIFT: "diversity and correlation shift of each environment",
    FINGERPRINT: "the fingerprint of the data",
    COMMIT: "the commit of the code",
}


def known(environments: Sequence[Left], further: Collection[str]) -> set[str]:
    """Which of `WORDS` are known: what every environment has, and `further`."""
    found = {name for name in OPTIONAL if all(name in one.measures for one in environments)}
    if all(one.measures.get("groups") for one in environments):
        found.add(GROUPS)
    if all(one.distance is not None for one in environments):
        found.add(SHIFT)
    if all(one.in_domain is not None for one in environments):
        found.add(IN_DOMAIN)
    return found | set(further)


def unknown(known: Collection[str]) -> list[str]:
    """The rest of `WORDS`, in words."""
    return [words for name, words in WORDS.items() if name not in known]
