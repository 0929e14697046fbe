"""What a picture, a mask and the motion between two frames consist of. Pure functions over arrays."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask
from segmentation.clicks import Box, Click, Selection

Flow = NDArray[np.float32]  # (H, W, 2), displacement in pixels, x right then y down.
FLOW_LONG_SIDE = 480
_SMALLEST_FLOW_SIDE = 16
_HISTOGRAM_BINS = 6
_STRONG_EDGE = 40.0
_TYPICAL_AREA = 0.07


def reduction(image: NDArray[np.generic], long_side: int) -> float:
    """The factor, at most 1, that brings the long side of an image to at most `long_side` pixels."""
    return float(min(1.0, long_side / max(image.shape[:2])))


def reduced(image: Frame, long_side: int, *, interpolation: int = cv2.INTER_AREA) -> Frame:
    """A copy of an (H, W, 3) or (H, W) uint8 image with a long side of at most `long_side` pixels."""
    scale = reduction(image, long_side)
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), dtype=np.uint8)


def resized(mask: FrameMask, image: Frame | FrameMask) -> FrameMask:
    """The mask in the size of an image or of another mask, (h, w) bool."""
    size = image.shape[1], image.shape[0]
    return np.asarray(cv2.resize(mask.astype(np.float32), size) > 0.5, dtype=np.bool_)


def scaled(selection: Selection, frame: Frame, image: Frame) -> Selection:
    """A selection on a frame, (H, W, 3), in pixels of its reduced copy, (h, w, 3)."""
    across, down = image.shape[1] / frame.shape[1], image.shape[0] / frame.shape[0]
    clicks = tuple(Click(each.x * across, each.y * down, each.is_positive) for each in selection.clicks)
    box = selection.box
    if box is not None:
        box = Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)
    return Selection(selection.frame_index, clicks, box)


def optical_flow(source: Frame, target: Frame) -> Flow:
    """Dense displacement of every pixel of `source` towards `target`, by DIS on a reduced copy.

    (H, W, 2) float32 in pixels of the frame; zero where a frame is too small to compare.
    """
    return enlarged(reduced_flow(source, target), source.shape[:2])


def reduced_flow(source: Frame, target: Frame) -> Flow:
    """The flow on the reduced copy itself: (h, w, 2) float32 in pixels of the copy."""
    small = [reduced(frame, FLOW_LONG_SIDE) for frame in (source, target)]
    height, width = small[0].shape[:2]
    if min(height, width) < _SMALLEST_FLOW_SIDE:
        return np.zeros((height, width, 2), np.float32)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in small]
    # Present since OpenCV 4, absent from its type stubs.
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    return np.asarray(estimator.calc(grey[0], grey[1], None), dtype=np.float32)


def enlarged(flow: Flow, size: tuple[int, int]) -> Flow:
    """A flow brought to another size of its frames (height and width), in pixels of that size."""
    (rows, columns), (height, width) = flow.shape[:2], size
    if (rows, columns) == (height, width):
        return flow
    interpolation = cv2.INTER_AREA if height < rows else cv2.INTER_LINEAR
    resampled = cv2.resize(flow, (width, height), interpolation=interpolation)
    return np.asarray(resampled * np.array([width / columns, height / rows], np.float32), dtype=np.float32)


def sample(values: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """`values`, (H, W) or (H, W, C) float32, looked up where an (H, W, 2) flow points; 0 beyond the frame."""
    x, y = pixel_places(*flow.shape[:2])
    sampled = cv2.remap(values, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderValue=0)
    return np.asarray(sampled, dtype=np.float32).reshape(values.shape)


def chained(first: Flow, then: Flow) -> Flow:
    """The flow over two steps in time; both (H, W, 2), `then` from the frame that `first` leads to."""
    return np.asarray(first + sample(then, first), dtype=np.float32)


def flow_disagreement(there: Flow, back: Flow) -> NDArray[np.float32]:
    """(H, W) distance in pixels between a pixel and where both flows, one after the other, bring it."""
    return lengths(there + sample(back, there))


def lengths(flow: Flow) -> NDArray[np.float32]:
    """(H, W) distance that each pixel moves."""
    return np.asarray(cv2.magnitude(*cv2.split(flow)), dtype=np.float32)


def describe_region(image: Frame, mask: FrameMask) -> NDArray[np.float64]:
    """Four numbers that tell an object, where the mask is (not empty), from a patch of something.

    Mean edge strength along the outline in [0, 1]; share of the outline on the frame's rim; squared log of
    the area against a typical one; colour difference to the ring round it in [0, 1].
    """
    region, kernel = mask.astype(np.uint8), np.ones((3, 3), np.uint8)
    rim = (region - cv2.erode(np.pad(region, 1), kernel)[1:-1, 1:-1]) > 0
    at_frame = np.zeros_like(mask)
    at_frame[[0, -1], :] = at_frame[:, [0, -1]] = True
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    step = cv2.dilate(lab, kernel).astype(np.float32) - cv2.erode(lab, kernel)
    edges = np.minimum(np.linalg.norm(step, axis=-1), _STRONG_EDGE) / _STRONG_EDGE
    outline, ring = rim & ~at_frame, ring_round(mask)
    colours = [colour_histogram(image, part) for part in (region, ring)]
    return np.array(
        [
            float(edges[outline].mean()) if outline.any() else 0.0,
            float((rim & at_frame).sum() / rim.sum()),
            float(np.log(mask.mean() / _TYPICAL_AREA) ** 2),
            1 - likeness(*colours) if ring.any() else 0.0,
        ]
    )


def ring_round(mask: FrameMask) -> NDArray[np.uint8]:
    """(H, W) uint8: 1 on what surrounds a mask, about a third of its breadth wide, else 0."""
    region = mask.astype(np.uint8)
    reach = max(2, round(0.35 * float(region.sum()) ** 0.5))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(region, kernel) - region, dtype=np.uint8)


def colour_histogram(image: Frame, mask: NDArray[np.generic]) -> NDArray[np.float32]:
    """The colours of an image where a mask is not 0: (6, 6, 6) shares; all 0 where the part is empty."""
    bins, ranges = [_HISTOGRAM_BINS] * 3, [0, 256] * 3
    counts = cv2.calcHist([image], [0, 1, 2], mask.astype(np.uint8), bins, ranges)
    return np.asarray(counts / max(1.0, float(counts.sum())), dtype=np.float32)


def likeness(histogram: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Overlap of two colour histograms, from 0 to 1."""
    return float(np.minimum(histogram, other).sum())


def signed_depth(mask: FrameMask) -> NDArray[np.float32]:
    """(H, W) distance to the outline in pixels, positive inside."""
    inside = mask.astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return np.asarray(depth, dtype=np.float32)


def window_round(mask: FrameMask, margin: int) -> tuple[slice, slice]:
    """The rows and columns of a mask, which is not empty, with `margin` pixels on each side."""
    spans = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(max(0, int(span[0]) - margin), int(span[-1]) + 1 + margin) for span in spans)
    return rows, columns


def pixel_places(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The x and the y of every pixel, (H, W) float32 each."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x, y
