"""Masks for people: paint one over a frame, say in plain words what is wrong with one."""

from __future__ import annotations

import cv2
import numpy as np

from segmentation.base import Frame, FrameMask
from segmentation.errors import FramesError


def paint_mask(
    frame: Frame,
    mask: FrameMask,
    *,
    colour: tuple[int, int, int] = (30, 144, 255),
    opacity: float = 0.45,
    outline: int = 2,
) -> Frame:
    """A copy of a frame with the object tinted and outlined.

    Args:
        frame: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, True on the object.
        colour: RGB in [0, 255].
        opacity: of the tint, from 0 (none) to 1 (solid).
        outline: width in pixels of the solid line along the inside of the rim; 0 draws none.

    Returns:
        (H, W, 3) uint8 RGB; pixels outside the mask are untouched.

    Raises:
        FramesError: if the mask does not fit the frame.
    """
    if mask.shape != frame.shape[:2]:
        raise FramesError(
            f"the mask is {mask.shape} but the frame {frame.shape[:2]}; pass one of the same size"
        )
    painted = frame.copy()
    tint = np.asarray(colour, dtype=np.float32)
    painted[mask] = np.rint(frame[mask] * (1 - opacity) + tint * opacity).astype(np.uint8)
    if outline:
        kernel = np.ones((2 * outline + 1, 2 * outline + 1), np.uint8)
        core = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        painted[mask & (core == 0)] = np.asarray(colour, dtype=np.uint8)
    return painted


def describe_problem(mask: FrameMask) -> str | None:
    """What a person should know about the mask that their click gave.

    Args:
        mask: (H, W) bool, or (F, H, W) for a whole clip.

    Returns:
        One sentence with a next step; None where the mask looks usable.
    """
    share = float(mask.mean()) if mask.size else 0.0
    if share == 0:
        return "Nothing was selected. Click on the middle of the object, or draw a box round it."
    if share > 0.95:
        return "Nearly the whole frame was selected. Add a negative click beside the object, or draw a box."
    if mask.sum() < 16:
        return "Only a few pixels were selected. Add another click on the object, or draw a box round it."
    return None
