"""The shifts by a classifier that tells split and class from the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .estimate import Estimate
from .sample import Sample

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse regularisation, from stiff to supple
SMALLEST = 1e-12
RESAMPLES = 1000


@dataclass(frozen=True)
class ClassifierPlugIn:
    """Probabilities of split and class from one logistic regression, put into the definitions.

    The regression is quadratic in the features, thus exact when every class of every split is normal. Each
    row is judged by a model that has not seen it (`folds`), regularised as the likelihood of those
    unseen rows asks for. What is left of its uncertainty biases the values upwards: compare them with
    their null.
    """

    measures: ClassVar[tuple[str, ...]] = ("diversity", "correlation", "correlation_l1")
    folds: int = 5
    seed: int = 0

    @property
    def least_rows(self) -> int:
        return self.folds

    def prepare(self, sample: Sample) -> ClassifierPlugIn:
        return self

    def estimate(self, sample: Sample) -> Estimate:
        joint, strength = self.joint_probabilities(sample)
        right = (joint[:, 1].sum(1) > 0.5) == (sample.splits == 1)
        diagnostics = {"split_accuracy": float(right.mean()), "inverse_regularisation": strength}
        return Estimate(plug_in(joint), diagnostics)

    def joint_probabilities(self, sample: Sample) -> tuple[np.ndarray, float]:
        """P(split, class | features) of every row [N, 2, K], and the inverse regularisation chosen."""
        from sklearn import config_context
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import PolynomialFeatures, StandardScaler

        quadratic = make_pipeline(PolynomialFeatures(2, include_bias=False), StandardScaler())
        features = quadratic.fit_transform(sample.features)
        groups = sample.splits * sample.num_classes + sample.labels
        splitter = StratifiedKFold(self.folds, shuffle=True, random_state=self.seed)
        folds = list(splitter.split(features, groups))
        # The next strength starts where the last one ended.
        models = [LogisticRegression(max_iter=1000, warm_start=True) for _ in folds]
        best, chosen, lowest = np.empty((0, 0)), 0.0, np.inf
        for strength in STRENGTHS:
            joint = np.empty((len(groups), 2 * sample.num_classes))
            with config_context(assume_finite=True, skip_parameter_validation=True):
                for model, (seen, unseen) in zip(models, folds, strict=True):
                    model.set_params(C=strength).fit(features[seen], groups[seen])
                    joint[unseen] = model.predict_proba(features[unseen])
            loss = -np.log(np.maximum(joint[np.arange(len(groups)), groups], SMALLEST)).mean()
            if loss >= lowest:
                break
            best, chosen, lowest = joint, strength, loss
        return best.reshape(len(groups), 2, sample.num_classes), chosen

    def interval(
        self, sample: Sample, estimate: Estimate, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """95 % bootstrap interval [3], [3] of the mean over rows, the classifier held fixed."""
        from scipy.stats import bootstrap

        found = bootstrap(
            (estimate.terms,),
            np.mean,
            n_resamples=RESAMPLES,
            batch=50,
            method="percentile",
            rng=rng,
        )
        return found.confidence_interval.low, found.confidence_interval.high


def plug_in(joint: np.ndarray) -> np.ndarray:
    """Each row's share in diversity, correlation and correlation_l1: P(split, class | z) [N, 2, K] -> [N, 3].

    With r = P(test | z), a = P(y | z, train), b = P(y | z, test) and w = 2 sqrt(r (1 - r)), over the balanced
    mixture: diversity = 1 - E[w], correlation = E[w/2 sum_y (sqrt a - sqrt b)^2], correlation_l1 =
    E[w/2 sum_y |a - b|]. The first two add up to the squared Hellinger distance between the joint
    distributions of features and class. `correlation_l1` is the form of Ye et al. 2022, section 3.
    """
    train, test = joint[:, 0], joint[:, 1]
    r = np.clip(test.sum(1), SMALLEST, 1 - SMALLEST)
    overlap = 2 * np.sqrt(r * (1 - r))
    correlation = overlap - 2 * np.sqrt(train * test).sum(1)
    odds = np.sqrt(r / (1 - r))[:, None]
    correlation_l1 = np.abs(test / odds - train * odds).sum(1)
    return np.stack([1 - overlap, np.maximum(correlation, 0), correlation_l1], axis=1)
