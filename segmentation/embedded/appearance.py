"""What an object looks like and what lies round it: learned on one frame, kept up to date along a clip.

Pixels are described by colours at several breadths and told apart by kernel ridge regression with random
Fourier features (Rahimi and Recht, NIPS 2007), which is solved at once and takes new frames as they come.
Deliberately absent: places, outlines and motion.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame

PixelFeatures = NDArray[np.float32]
"""(N, 13) or (H, W, 13), as `describe_pixels` gives them."""

BREADTHS = (2.0, 5.0, 10.0)
"""Standard deviations of the surroundings whose mean colour counts, in pixels at scale 1."""
TEXTURE_BREADTH = 3.0

KERNEL_WIDTH = 0.5
NUM_WAVES = 512
RIDGE = 0.01
"""Of the mean squared feature; keeps rare colours from being believed without limit."""

NEWS_SHARE = 0.2
"""How much the frames since the first count against it: the first is known, the others only believed."""
MEMORY = 0.8
"""What a new frame leaves of the weight of those between it and the first."""

_SMALLEST_BREADTH = 0.3


def describe_pixels(image: Frame, *, scale: float = 1.0) -> PixelFeatures:
    """The colour of every pixel, the mean colours round it, and how rough its surroundings are.

    Args:
        image: (H, W, 3) uint8 RGB.
        scale: size of the object against the one that the breadths are meant for, so that an object that
            comes nearer or goes away keeps its look.

    Returns:
        (H, W, 13) float32, in 8-bit Lab levels.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    means = [_blurred(lab, breadth * scale) for breadth in BREADTHS]
    light = np.ascontiguousarray(lab[..., 0])
    breadth = TEXTURE_BREADTH * scale
    spread = _blurred(light * light, breadth) - _blurred(light, breadth) ** 2
    return np.concatenate([lab, *means, np.sqrt(np.maximum(spread, 0))[..., None]], axis=-1)


def _blurred(values: NDArray[np.float32], breadth: float) -> NDArray[np.float32]:
    blurred = cv2.GaussianBlur(values, (0, 0), max(_SMALLEST_BREADTH, breadth))
    return np.asarray(blurred, dtype=np.float32)


class Appearance:
    """Tells an object's pixels from those round it.

    Args:
        inside: (N, 13) features of the object, N > 0.
        outside: (M, 13) features of what lies round it, M > 0. Both may have any other number of features.
        num_waves: random features; fewer are smoother.
        kernel_width: of the Gaussian kernel, in standard deviations of a feature times the root of their
            number; wider is smoother.
        news_share: how much the frames since the first count against it.
        memory: what a new frame leaves of the weight of those between it and the first.
    """

    def __init__(
        self,
        inside: PixelFeatures,
        outside: PixelFeatures,
        *,
        num_waves: int = NUM_WAVES,
        kernel_width: float = KERNEL_WIDTH,
        news_share: float = NEWS_SHARE,
        memory: float = MEMORY,
    ) -> None:
        self._news_share, self._memory = news_share, memory
        known = np.concatenate([inside, outside])
        self._centre, self._spread = known.mean(axis=0), known.std(axis=0) + 1e-3
        rng = np.random.default_rng(0)
        count = known.shape[1]
        waves = rng.normal(size=(count, num_waves)) / (kernel_width * count**0.5)
        self._waves = waves.astype(np.float32)
        self._phases = rng.uniform(0, 2 * np.pi, num_waves).astype(np.float32)
        self._first = self._moments(inside, outside)
        self._news: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        # Solved only when it is asked, as many frames are learned and never asked about.
        self._weights: NDArray[np.float32] | None = None

    def add(self, inside: PixelFeatures, outside: PixelFeatures) -> None:
        """Learn from one more frame; the arguments are as at the start."""
        products, means = self._moments(inside, outside)
        if self._news is not None:
            products = self._memory * self._news[0] + (1 - self._memory) * products
            means = self._memory * self._news[1] + (1 - self._memory) * means
        self._news, self._weights = (products, means), None

    def lean(self, features: PixelFeatures) -> NDArray[np.float32]:
        """(N,) how much pixels look like the object: about 1 on it, about -1 beside it."""
        if self._weights is None:
            self._weights = self._solved()
        return np.asarray(self._respond(features) @ self._weights, dtype=np.float32)

    def _solved(self) -> NDArray[np.float32]:
        products, means = self._first
        if self._news is not None:
            first_share = 1 - self._news_share
            products = first_share * products + self._news_share * self._news[0]
            means = first_share * means + self._news_share * self._news[1]
        ridge = RIDGE * float(np.trace(products)) / len(products) * np.eye(len(products))
        # Symmetric and, by its ridge, positive: half the work of a general system, to the same bits here.
        _, weights = cv2.solve(products + ridge, means[:, None], flags=cv2.DECOMP_CHOLESKY)
        return np.asarray(weights[:, 0], dtype=np.float32)

    def _respond(self, features: PixelFeatures) -> NDArray[np.float32]:
        waves = np.cos(((features - self._centre) / self._spread) @ self._waves + self._phases)
        return np.concatenate([waves, np.ones((len(features), 1), np.float32)], axis=1)

    def _moments(
        self, inside: PixelFeatures, outside: PixelFeatures
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Second moments, and the difference of the means; both sides count alike, whatever their size."""
        ours, others = self._respond(inside), self._respond(outside)
        # A matrix by its own transpose takes half the time, but only if nothing stands between.
        products = (ours.T @ ours) * (0.5 / len(ours)) + (others.T @ others) * (0.5 / len(others))
        means = 0.5 * ours.mean(axis=0) - 0.5 * others.mean(axis=0)
        return products.astype(np.float64), means.astype(np.float64)
