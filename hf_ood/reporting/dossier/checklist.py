"""What reporting guidelines and duties ask for, what a dossier has of it, and what its reader must add.

TRIPOD-Cluster: Debray et al. 2023, BMJ 380:e071018, for models that are developed or validated on clustered
data. EU AI Act: Regulation (EU) 2024/1689, for systems of high risk. The rows name topics in our words; the
texts themselves are what counts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .known import COMMIT, FINGERPRINT, GROUPS, IN_TURN, WORDS


@dataclass(frozen=True)
class Item:
    """`asked`: by `source`. `covered`: where the dossier has it, if the results know what it `needs`. `add`:
    what it cannot know."""

    source: str
    asked: str
    covered: str
    add: str
    needs: tuple[str, ...] = ()

    def covered_by(self, known: Collection[str]) -> str:
        """What a dossier has of it where `known` is known."""
        missing = [WORDS[name] for name in self.needs if name not in known]
        return f"Not here: {', '.join(missing)}." if missing else self.covered


CHECKLIST = (
    Item(
        "TRIPOD-Cluster",
        "Who and what the model is for: population, setting, outcome",
        "Classes and environments by name; the use, where it was stated.",
        "Population, eligibility, how outcomes were assessed, and by whom.",
    ),
    Item(
        "TRIPOD-Cluster",
        "Clusters: how many there are, and their sizes",
        "Every environment with its number of samples.",
        "How the clusters were chosen, and how they differ in care, devices and case mix.",
    ),
    Item(
        "TRIPOD-Cluster",
        "Internal-external validation: each cluster left out in turn",
        "The forest plot, one model for each environment that was left out, made by the same settings.",
        "Whether the next site is like these: time, country, device.",
        needs=(IN_TURN,),
    ),
    Item(
        "TRIPOD-Cluster",
        "Heterogeneity of performance between clusters",
        "Random-effects mean, variance between environments, prediction interval for a new site.",
        "Reasons for the differences.",
    ),
    Item(
        "TRIPOD-Cluster",
        "Discrimination and calibration in each cluster",
        "AUROC, calibration error and confidence against accuracy of each environment.",
        "Clinical utility: costs of either error at the threshold that is used.",
        needs=("ece", "confidence"),
    ),
    Item(
        "TRIPOD-Cluster",
        "Missing data, and dependence of samples",
        "Nothing: intervals of an environment take its samples as independent.",
        "How missing values arose; groups of samples, such as patients, that belong together.",
    ),
    Item(
        "EU AI Act, Art. 11",
        "Technical documentation: how the system was developed, validated and tested (Annex IV)",
        "Settings, commit, versions, data fingerprint, and the results of each run.",
        "Origin of the data and how they were labelled, risk management, human oversight, signed reports.",
        needs=(COMMIT, FINGERPRINT),
    ),
    Item(
        "EU AI Act, Art. 13",
        "Instructions for use: accuracy with its metrics, known circumstances that change it",
        "Accuracy with intervals, environments in which it fails, warnings of sites outside the data.",
        "Intended purpose, specifications of inputs, measures of human oversight, maintenance.",
    ),
    Item(
        "EU AI Act, Art. 13",
        "Performance for the persons or groups that the system is used on",
        "Each class in each environment; which of them are too few to say.",
        "Groups of persons, such as by sex or age: an environment column of them gives their figures.",
        needs=(GROUPS,),
    ),
    Item(
        "EU AI Act, Art. 15",
        "An appropriate level of accuracy, declared with its metrics",
        "The levels that were measured, with intervals.",
        "Which level is appropriate, and who decided so.",
    ),
    Item(
        "EU AI Act, Art. 15",
        "Robustness, and consistent performance over the lifecycle",
        "Performance under the shifts between these environments; forecasts for sites without labels.",
        "Monitoring in use; errors of inputs and of other systems; feedback loops; cybersecurity.",
    ),
)


def checklist(known: Collection[str]) -> list[dict[str, str]]:
    """The rows of the page's table for results that know this much."""
    return [
        {"source": item.source, "asked": item.asked, "covered": item.covered_by(known), "add": item.add}
        for item in CHECKLIST
    ]
