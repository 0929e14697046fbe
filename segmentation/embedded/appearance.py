"""The look of an object against the rest: learned on one frame, kept up to date along a clip.

Pixels are told apart by kernel ridge regression with random Fourier features (Rahimi and Recht, NIPS 2007),
which is solved at once and takes new frames as they come.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame
from segmentation.embedded.motion import Motion

PixelFeatures = NDArray[np.float32]
"""(N, C) or (H, W, C): C is 13 from `describe_pixels`, up to 19 from `describe_frame`."""

BREADTHS = (2.0, 5.0, 10.0)  # Of the surroundings whose mean colour counts, in pixels at scale 1.
TEXTURE_BREADTH = 3.0
USUAL_SIDE = 512.0  # Long side in pixels of images whose breadths are taken at scale 1.
MOTION_BREADTH = 1 / 64  # Breadth of the surroundings whose mean motion counts, of the long side.
KERNEL_WIDTH = 0.5
NUM_WAVES = 512
RIDGE = 0.01  # Share of the mean squared feature; limits the trust in rare colours.
NEWS_SHARE = 0.2
"""Weight of all frames since the first against the first, which is known where the others are estimates."""
MEMORY = 0.8  # Share of their weight that a new frame leaves to the frames between it and the first.
SMOOTH_WAVES = 64
"""Few, so that what is learned from a rough guess does not learn its errors: a part of the object that the
guess leaves out still looks like the object."""
SMOOTH_KERNEL_WIDTH = 1.2
GUESS_SAMPLES = 1200
_SMALLEST_BREADTH = 0.3


def describe_pixels(image: Frame, *, scale: float = 1.0) -> PixelFeatures:
    """The colour of every pixel, the mean colours round it, and how rough its surroundings are.

    (H, W, 13) float32, in 8-bit Lab levels. `scale` of the breadths follows the size of the object, so that
    an object that comes nearer or goes away keeps its look.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    means = [_blurred(lab, breadth * scale) for breadth in BREADTHS]
    light = np.ascontiguousarray(lab[..., 0])
    breadth = TEXTURE_BREADTH * scale
    spread = _blurred(light * light, breadth) - _blurred(light, breadth) ** 2
    return np.concatenate([lab, *means, np.sqrt(np.maximum(spread, 0))[..., None]], axis=-1)


def describe_frame(image: Frame, *, motion: Motion | None) -> PixelFeatures:
    """Colours and motion of every pixel of an (H, W, 3) uint8 image, in standard deviations over the frame.

    (H, W, 19) float32, or (H, W, 13) without motion; for sides of at most a few hundred pixels.
    """
    side = max(image.shape[:2])
    colours = describe_pixels(image, scale=side / USUAL_SIDE)
    # A level of grey, or a third of the background's noise, is no difference.
    parts = [_standardised(colours, 1.0)]
    if motion is not None:
        moves = _standardised(motion.features, 0.3)
        around = cv2.GaussianBlur(moves, (0, 0), MOTION_BREADTH * side)
        parts += [moves, np.asarray(around, dtype=np.float32)]
    return np.concatenate(parts, axis=-1)


def resemblance_to(
    features: PixelFeatures, inside: NDArray[np.float32], outside: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How much each pixel looks like the inside of a guess, by (H, W) weights as examples of either side.

    (H, W) about 1 on the object, about -1 beside it; 0 everywhere if either side has no example.
    """
    flat = features.reshape(-1, features.shape[-1])
    rng = np.random.default_rng(0)
    examples = []
    for weights in (inside, outside):
        counting = np.flatnonzero(weights > 0)
        if not len(counting):
            return np.zeros(features.shape[:2], np.float32)
        shares = weights.ravel()[counting].astype(np.float64)
        count = min(GUESS_SAMPLES, 2 * len(counting))
        examples.append(flat[rng.choice(counting, count, p=shares / shares.sum())])
    look = Appearance(*examples, num_waves=SMOOTH_WAVES, kernel_width=SMOOTH_KERNEL_WIDTH)
    return look.resemblance(flat).reshape(features.shape[:2])


class Appearance:
    """Tells an object's pixels, (N, C) features, from those of what lies round it, (M, C); both at least one.

    Fewer random features (`num_waves`) and a wider `kernel_width`, in standard deviations of a feature times
    the root of their number, are smoother.
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
        # Solved when first asked: many frames are learned and never asked about.
        self._weights: NDArray[np.float32] | None = None

    def add(self, inside: PixelFeatures, outside: PixelFeatures) -> None:
        """Learn from one more frame: (N, C) features of the object and (M, C) of the rest."""
        products, means = self._moments(inside, outside)
        if self._news is not None:
            products = self._memory * self._news[0] + (1 - self._memory) * products
            means = self._memory * self._news[1] + (1 - self._memory) * means
        self._news, self._weights = (products, means), None

    def resemblance(self, features: PixelFeatures) -> NDArray[np.float32]:
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
        # Symmetric and, by its ridge, positive: half the work of a general system.
        _, weights = cv2.solve(products + ridge, means[:, None], flags=cv2.DECOMP_CHOLESKY)
        return np.asarray(weights[:, 0], dtype=np.float32)

    def _respond(self, features: PixelFeatures) -> NDArray[np.float32]:
        waves = np.cos(((features - self._centre) / self._spread) @ self._waves + self._phases)
        return np.concatenate([waves, np.ones((len(features), 1), np.float32)], axis=1)

    def _moments(
        self, inside: PixelFeatures, outside: PixelFeatures
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Second moments, and the difference of the means; both sides have the same weight at any size."""
        ours, others = self._respond(inside), self._respond(outside)
        # A matrix times its own transpose takes half the time, but only without a factor in between.
        products = (ours.T @ ours) * (0.5 / len(ours)) + (others.T @ others) * (0.5 / len(others))
        means = 0.5 * ours.mean(axis=0) - 0.5 * others.mean(axis=0)
        return products.astype(np.float64), means.astype(np.float64)


def _blurred(values: NDArray[np.float32], breadth: float) -> NDArray[np.float32]:
    blurred = cv2.GaussianBlur(values, (0, 0), max(_SMALLEST_BREADTH, breadth))
    return np.asarray(blurred, dtype=np.float32)


def _standardised(values: NDArray[np.float32], least: float) -> NDArray[np.float32]:
    flat = values.reshape(-1, values.shape[-1])
    return np.asarray((values - flat.mean(axis=0)) / (flat.std(axis=0) + least), dtype=np.float32)
