"""Between a frame and its smaller copies: pictures, masks and selections."""

from __future__ import annotations

import cv2
import numpy as np

from segmentation.base import Frame, FrameMask
from segmentation.clicks import Box, Click, Selection


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
