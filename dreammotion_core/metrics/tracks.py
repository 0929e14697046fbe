"""Points followed through a clip: what a tracker gives, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import MetricError
from dreammotion_core.values import Frames

Points = NDArray[np.float64]
"""(T, 2) positions in pixels, x right then y down; whole numbers are centres of pixels."""

DEFAULT_GRID = 24
"""Points along the longer side of the grid: enough for toys of 30 pixels, and compared in a second."""


@dataclass(frozen=True, eq=False)
class PointTracks:
    """Where T points are on each of F frames.

    Attributes:
        positions: (F, T, 2) in pixels, x right then y down.
        visible: (F, T), False where the point is hidden, lost or out of the frame.
        size: (H, W) of the clip in pixels.

    Raises:
        MetricError: if the shapes do not fit.
    """

    positions: NDArray[np.float64]
    visible: NDArray[np.bool_]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if self.positions.ndim != 3 or self.positions.shape != (*self.visible.shape, 2):
            raise MetricError(
                f"tracks have positions of {self.positions.shape} and visibility of {self.visible.shape}; "
                "(frames, points, 2) and (frames, points) are needed"
            )

    def part(self, first: int, end: int | None = None) -> PointTracks:
        """The tracks of some points, by their numbers."""
        return PointTracks(self.positions[:, first:end], self.visible[:, first:end], self.size)


class PointTracker(Protocol):
    """Follows points from the first frame of a clip on."""

    name: str

    def __call__(self, frames: Frames, *, points: Points) -> PointTracks:
        """Tracks of (T, 2) points of the first frame through (F, H, W, 3) frames."""


def grid_points(size: tuple[int, int], *, mask: NDArray[np.bool_] | None, grid_size: int) -> Points:
    """A square grid of points over a frame, or over the object on it.

    Args:
        size: (H, W) of the frame in pixels.
        mask: (H, W) where the object is; the grid spans the box round it and its points outside the
            object are left out. Where that leaves none, as of a line of one pixel, up to `grid_size` of the
            object's own pixels are taken instead, evenly spread. None takes the whole frame.
        grid_size: points along the longer side, at least 1; never more than one a pixel.

    Returns:
        (T, 2) positions.

    Raises:
        MetricError: if the object is nowhere.
    """
    rows, columns = np.arange(size[0]), np.arange(size[1])
    if mask is not None:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            raise MetricError("the object is not on the first frame, so no point of it can be followed")
    top, left = rows[0], columns[0]
    height, width = rows[-1] - top + 1, columns[-1] - left + 1
    spacing = max(1.0, max(height, width) / grid_size)
    y = top + np.arange(0.5 * spacing, height, spacing)
    x = left + np.arange(0.5 * spacing, width, spacing)
    points = np.stack(np.meshgrid(x - 0.5, y - 0.5), axis=-1).reshape(-1, 2)
    if mask is not None:
        # Rounding may put the last points on the far border of the frame, which counts as outside.
        framed = np.pad(mask, ((0, 1), (0, 1)))
        points = points[framed[tuple(np.rint(points).astype(int).T[::-1])]]
        if not len(points):
            pixels = np.argwhere(mask)[:, ::-1]
            points = pixels[np.rint(np.linspace(0, len(pixels) - 1, min(len(pixels), grid_size))).astype(int)]
    return points.astype(np.float64)
