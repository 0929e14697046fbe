"""Dense optical flow between two frames: how far each pixel moves, and what it brings along.

Pure functions over arrays. Deliberately absent: masks and any decision about objects.

Between a frame and its smaller copies: pictures, masks and selections.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask
from segmentation.clicks import Box, Click, Selection

_NO_BOX = (0, 0, 0, 0)
_HISTOGRAM_BINS = 6
_STRONG_EDGE = 40.0
_TYPICAL_AREA = 0.07


def describe_region(image: Frame, mask: FrameMask) -> NDArray[np.float64]:
    """What tells an object from a patch: edge, frame contact, size, colour contrast.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, not empty.

    Returns:
        (4,): mean edge strength along the outline in [0, 1]; share of the outline on the frame's rim;
        squared log of the area against a typical one; colour difference to a ring round it in [0, 1].
    """
    region = mask.astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    padded = np.pad(region, 1)
    rim = (region - cv2.erode(padded, kernel)[1:-1, 1:-1]) > 0
    at_frame = np.zeros_like(mask)
    at_frame[[0, -1], :] = at_frame[:, [0, -1]] = True
    outline = rim & ~at_frame
    edges = np.minimum(_edge_strength(image), _STRONG_EDGE) / _STRONG_EDGE
    edge = float(edges[outline].mean()) if outline.any() else 0.0
    contact = float((rim & at_frame).sum() / rim.sum())
    size = float(np.log(mask.mean() / _TYPICAL_AREA) ** 2)
    return np.array([edge, contact, size, _contrast(image, region)])


def _edge_strength(image: Frame) -> NDArray[np.float32]:
    """(H, W) colour step across each pixel, in 8-bit Lab levels."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    kernel = np.ones((3, 3), np.uint8)
    step = cv2.dilate(lab, kernel).astype(np.float32) - cv2.erode(lab, kernel)
    return np.asarray(np.linalg.norm(step, axis=-1), dtype=np.float32)


def _contrast(image: Frame, region: NDArray[np.uint8]) -> float:
    """1 minus the overlap of the colour histograms of a region and of the ring round it."""
    ring = _ring(region)
    if not ring.any():
        return 0.0
    return 1 - likeness(colour_histogram(image, region), colour_histogram(image, ring))


def _ring(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) 1 on what lies round a region, about a third of its breadth wide."""
    reach = max(2, round(0.35 * float(region.sum()) ** 0.5))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(region, kernel) - region, dtype=np.uint8)


def colour_histogram(image: Frame, mask: NDArray[np.generic]) -> NDArray[np.float32]:
    """The colours of a part of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W), true or above 0 on the part.

    Returns:
        (6, 6, 6) shares that add up to 1; all 0 where the part is empty.
    """
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


Flow = NDArray[np.float32]
"""(H, W, 2), displacement in pixels, x right then y down."""

FLOW_LONG_SIDE = 480
_SMALLEST_FLOW_SIDE = 16


def optical_flow(source: Frame, target: Frame) -> Flow:
    """Dense displacement of every pixel of `source` towards `target`, by DIS on a reduced copy.

    Args:
        source: (H, W, 3) uint8 RGB.
        target: (H, W, 3) uint8 RGB.

    Returns:
        (H, W, 2) float32 in pixels of the frame; zero where a frame is too small to compare.
    """
    return enlarged(reduced_flow(source, target), source.shape[:2])


def reduced_flow(source: Frame, target: Frame) -> Flow:
    """The same on the reduced copy itself: (h, w, 2) float32 in pixels of the copy."""
    height, width = source.shape[:2]
    scale = min(1.0, FLOW_LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if min(size) < _SMALLEST_FLOW_SIDE:
        return np.zeros((size[1], size[0], 2), np.float32)
    grey = [
        cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        for image in (source, target)
    ]
    # Present since OpenCV 4, absent from its type stubs.
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    return np.asarray(estimator.calc(grey[0], grey[1], None), dtype=np.float32)


def enlarged(flow: Flow, size: tuple[int, int]) -> Flow:
    """A flow in pixels of another size of its frames.

    Args:
        flow: (h, w, 2) in pixels of a copy of the frames.
        size: height and width wanted.
    """
    (rows, columns), (height, width) = flow.shape[:2], size
    if (rows, columns) == (height, width):
        return flow
    smaller = height < rows
    resampled = cv2.resize(
        flow, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    return np.asarray(resampled * np.array([width / columns, height / rows], np.float32), dtype=np.float32)


def flow_disagreement(there: Flow, back: Flow) -> NDArray[np.float32]:
    """(H, W) how many pixels away from its start a pixel comes to lie that follows both flows."""
    return lengths(there + sample(back, there))


def lengths(flow: Flow) -> NDArray[np.float32]:
    """(H, W) how far each pixel moves."""
    return np.asarray(cv2.magnitude(*cv2.split(flow)), dtype=np.float32)


def sample(values: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """`values` looked up where the flow points; 0 beyond the frame.

    Args:
        values: (H, W) or (H, W, C) float32 of one frame.
        flow: (H, W, 2) from another frame to that one, as `optical_flow` gives it.

    Returns:
        As `values`, but lying where they are on the other frame.
    """
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    sampled = cv2.remap(values, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderValue=0)
    return np.asarray(sampled, dtype=np.float32).reshape(values.shape)


def chained(first: Flow, then: Flow) -> Flow:
    """The flow over two steps in time; both (H, W, 2), `then` from the frame that `first` leads to."""
    return np.asarray(first + sample(then, first), dtype=np.float32)


def reduced(frame: Frame, long_side: int) -> Frame:
    """A copy whose long side is at most so many pixels.

    Args:
        frame: (H, W, 3) uint8 RGB.
        long_side: in pixels, from 1.
    """
    height, width = frame.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def resized(mask: FrameMask, image: Frame | FrameMask) -> FrameMask:
    """The mask in the size of an image.

    Args:
        mask: (H, W) bool.
        image: (h, w, 3) uint8 RGB or (h, w) bool; only its size counts.

    Returns:
        (h, w) bool.
    """
    size = image.shape[1], image.shape[0]
    return np.asarray(cv2.resize(mask.astype(np.float32), size) > 0.5, dtype=np.bool_)


def scaled(selection: Selection, frame: Frame, image: Frame) -> Selection:
    """The selection in pixels of a reduced copy of its frame.

    Args:
        selection: in pixels of the frame.
        frame: (H, W, 3) uint8 RGB.
        image: (h, w, 3) uint8 RGB, the copy.
    """
    clicks = tuple(scaled_click(click, frame, image) for click in selection.clicks)
    box = None if selection.box is None else scaled_box(selection.box, frame, image)
    return Selection(selection.frame_index, clicks, box)


def scaled_click(click: Click, frame: Frame, image: Frame) -> Click:
    """The click in pixels of a reduced copy of its frame; the arguments are as in `scaled`."""
    across, down = image.shape[1] / frame.shape[1], image.shape[0] / frame.shape[0]
    return Click(click.x * across, click.y * down, click.is_positive)


def scaled_box(box: Box, frame: Frame, image: Frame) -> Box:
    """The box in pixels of a reduced copy of its frame; the arguments are as in `scaled`."""
    across, down = image.shape[1] / frame.shape[1], image.shape[0] / frame.shape[0]
    return Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)
