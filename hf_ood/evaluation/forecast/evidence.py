"""What models say of a site without labels, and what every estimator makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..modules.environment_report.environment_measures import environment_measures
from .agreement import agreement_on_the_line
from .calibration import probabilities, temperature
from .confidence import difference_of_confidences
from .expected import expected_measures
from .importance import importance_weighting
from .threshold import average_thresholded_confidence

MEASURES = ("accuracy", "macro_f1", "worst_group")
ESTIMATORS = {
    "in_domain": "as on held-out samples of the training environments",
    "confidence": "mean confidence at the temperature of held-out samples (Guo et al. 2017)",
    "doc": "in-domain, less what the confidence falls by (Guillory et al. 2021)",
    "atc": "share of samples above a threshold of confidence (Garg et al. 2022)",
    "agreement": "how often models of several seeds agree (Baek et al. 2022)",
    "importance": "in-domain, weighted by a classifier of the environment (Bickel et al. 2009)",
    "leave_one_out": "mean over the training environments, each left out in turn",
}
Estimates = dict[str, dict[str, float]]  # measure -> estimator -> value


@dataclass(frozen=True)
class Evidence:
    """Held-out samples of the training environments, and the samples of a site.

    `logits`, `target_logits`: of the model and of further seeds of it, [N, C] and [M, C] each. `labels`: int
    [N]. `features`, `target_features`: what the model's last layer sees, [N, D] and [M, D]; None where it has
    no such layer.
    """

    logits: Sequence[np.ndarray]
    labels: np.ndarray
    target_logits: Sequence[np.ndarray]
    features: np.ndarray | None = None
    target_features: np.ndarray | None = None


def seen_measures(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The `MEASURES` of logits [N, C] and labels int [N], all samples together."""
    found = environment_measures(logits.argmax(1), labels, np.zeros(len(labels), np.int64), 1)
    return {name: float(found[name][0]) for name in MEASURES}


def estimates(evidence: Evidence) -> Estimates:
    """Each measure of the site by each estimator that there is evidence for; not `leave_one_out`, which is
    of other sites alone."""
    logits, labels, target = evidence.logits[0], evidence.labels, evidence.target_logits[0]
    seen = seen_measures(logits, labels)
    expected = expected_measures(probabilities(target, temperature(logits, labels)))
    found = {name: {"in_domain": seen[name], "confidence": expected[name]} for name in MEASURES}
    accuracy = found["accuracy"]
    accuracy["doc"] = difference_of_confidences(logits, labels, target)
    accuracy["atc"] = average_thresholded_confidence(logits, labels, target)
    if len(evidence.logits) > 1:
        accuracy["agreement"] = agreement_on_the_line(evidence.logits, labels, evidence.target_logits)
    if evidence.features is not None and evidence.target_features is not None:
        right = (logits.argmax(1) == labels).astype(float)
        accuracy["importance"] = importance_weighting(right, evidence.features, evidence.target_features)
    return found
