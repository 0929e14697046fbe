"""Means over the pairs of a study, and how far they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its bootstrap confidence interval.

    Attributes:
        mean: infinite if any value is.
        low, high: ends of the interval; the mean itself where it is infinite or there is one value.
        count: values behind it.
    """

    mean: float
    low: float
    high: float
    count: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; infinite ones as text."""
        return {k: v if math.isfinite(v) else str(v) for k, v in asdict(self).items()}


def bootstrap_mean(values: Sequence[float], *, seed: int = 0) -> Estimate | None:
    """The mean and its percentile bootstrap interval at 95 %; None for no values.

    Args:
        values: one a pair.
        seed: of the resampling.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    if not len(values):
        return None
    sample = np.asarray(values, np.float64)
    mean = float(sample.mean())
    if len(sample) == 1 or not math.isfinite(mean):
        return Estimate(mean, mean, mean, len(sample))
    draws = np.random.default_rng(seed).integers(len(sample), size=(RESAMPLES, len(sample)))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(sample[draws].mean(axis=1), (tail, 100 - tail))
    return Estimate(mean, float(low), float(high), len(sample))


def bootstrap_difference(values: Sequence[float], *, base: Sequence[float]) -> Estimate | None:
    """The mean of paired differences ``values - base`` with its interval, without those that are infinite."""
    pairs = [(v, b) for v, b in zip(values, base, strict=True) if math.isfinite(v) and math.isfinite(b)]
    return bootstrap_mean([v - b for v, b in pairs])
