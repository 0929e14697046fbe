"""The colours an object can have, and which of them a measured colour is closest to."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.15, 0.15),
    "orange": (0.97, 0.53, 0.10),
    "yellow": (0.97, 0.84, 0.16),
    "green": (0.22, 0.67, 0.26),
    "teal": (0.10, 0.66, 0.66),
    "blue": (0.16, 0.36, 0.88),
    "purple": (0.52, 0.24, 0.74),
    "pink": (0.97, 0.50, 0.71),
    "white": (0.95, 0.95, 0.95),
    "black": (0.13, 0.13, 0.15),
}
"""sRGB in [0, 1]."""


def to_lab(rgb: ArrayLike) -> NDArray[np.float32]:
    """CIELAB (L in [0, 100]) of sRGB colours.

    Args:
        rgb: (..., 3) in [0, 1].
    """
    colours = np.asarray(rgb, dtype=np.float32)
    return cv2.cvtColor(colours.reshape(-1, 1, 3), cv2.COLOR_RGB2LAB).reshape(colours.shape)


def nearest_colour(rgb: ArrayLike) -> str:
    """The name of the palette colour with the smallest CIELAB distance to one sRGB colour in [0, 1]."""
    distances = np.linalg.norm(to_lab(list(COLOURS.values())) - to_lab(rgb), axis=-1)
    return list(COLOURS)[int(distances.argmin())]
