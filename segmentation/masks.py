"""Masks that exist: changed (box, holes, inverse, steadiness), painted, and described in plain words.

Pure functions. Growing, shrinking and feathering belong to the code that uses the masks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask, Frames, Masks, check_same_size
from segmentation.errors import FramesError
from segmentation.vision import chained, optical_flow, sample


def fill_box(masks: Masks) -> Masks:
    """Every (F, H, W) mask filled to the tight upright box round it; empty ones stay empty."""
    _check_masks(masks)
    rows, columns = (_between_first_and_last(np.asarray(masks.any(axis=axis))) for axis in (2, 1))
    return rows[:, :, None] & columns[:, None, :]


def fill_holes(masks: Masks) -> Masks:
    """Every (F, H, W) mask without holes: what it encloses on its frame belongs to it."""
    _check_masks(masks)
    filled = np.zeros(masks.shape, np.uint8)
    for mask, result in zip(masks, filled, strict=True):
        outer, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(result, outer, -1, 1, cv2.FILLED)
    return np.asarray(filled > 0, dtype=np.bool_)


def invert(masks: Masks) -> Masks:
    """Everything but the object, (F, H, W)."""
    _check_masks(masks)
    return ~masks


def smooth_in_time(
    masks: Masks, *, frames: Frames | None = None, reach: int = 1, within: range | None = None
) -> Masks:
    """(F, H, W) bool masks that flicker less: each pixel goes with most of its frame and those round it.

    Neighbouring masks are first brought to the frame along the motion between the frames, so that a moving
    object keeps its outline; without `frames`, (F, H, W, 3) uint8 RGB, pixels at the same place are compared.
    Frames without an object neither vote nor change. Where votes are equal, the frame's own mask decides.
    `reach` frames before and after vote, from 1. Raises `FramesError` if masks, frames or reach do not fit.
    """
    _check_masks(masks)
    if frames is not None:
        check_same_size(masks.shape, frames.shape[:3])
    if reach < 1:
        raise FramesError(f"the reach is {reach}; pass a whole number of frames from 1")
    smoothed = masks.copy()
    for index in range(len(masks)) if within is None else within:
        if masks[index].any():
            smoothed[index] = _majority(masks, frames, index, reach)
    return smoothed


def paint_mask(
    frame: Frame,
    mask: FrameMask,
    *,
    colour: tuple[int, int, int] = (30, 144, 255),
    opacity: float = 0.45,
    outline: int = 2,
) -> Frame:
    """A copy of an (H, W, 3) uint8 RGB frame with the object of an (H, W) bool mask tinted and outlined.

    `colour` is RGB in [0, 255], `opacity` of the tint from 0 to 1, `outline` the width in pixels of the solid
    line along the inside of the rim, 0 for none. Pixels outside the mask do not change. Raises `FramesError`
    if the mask does not fit the frame.
    """
    check_same_size(mask.shape, frame.shape[:2])
    painted = frame.copy()
    tint = np.asarray(colour, dtype=np.float32)
    painted[mask] = np.rint(frame[mask] * (1 - opacity) + tint * opacity).astype(np.uint8)
    if outline:
        kernel = np.ones((2 * outline + 1, 2 * outline + 1), np.uint8)
        core = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        painted[mask & (core == 0)] = np.asarray(colour, dtype=np.uint8)
    return painted


def describe_problem(mask: FrameMask) -> str | None:
    """One sentence with a next step about a mask, (H, W) or (F, H, W) bool, that looks wrong; else None."""
    share = float(mask.mean()) if mask.size else 0.0
    if share == 0:
        return "Nothing was selected. Click on the middle of the object, or draw a box round it."
    if share > 0.95:
        return "Nearly the whole frame was selected. Add a negative click beside the object, or draw a box."
    if mask.sum() < 16:
        return "Only a few pixels were selected. Add another click on the object, or draw a box round it."
    return None


def _check_masks(masks: NDArray[np.generic]) -> None:
    if masks.ndim != 3 or masks.dtype != np.bool_:
        raise FramesError(
            f"the masks have shape {masks.shape} and type {masks.dtype}; pass (frames, height, width) bool"
        )


def _majority(masks: Masks, frames: Frames | None, index: int, reach: int) -> NDArray[np.bool_]:
    votes, num_votes = masks[index].astype(np.float32), 1
    for step in (-1, 1):
        flow: NDArray[np.float32] | None = None
        for other in range(index + step, index + step * (reach + 1), step):
            if not 0 <= other < len(masks) or not masks[other].any():
                break
            vote = masks[other].astype(np.float32)
            if frames is not None:
                # One frame after the other, because flow over several frames is less sure.
                next_flow = optical_flow(frames[other - step], frames[other])
                flow = next_flow if flow is None else chained(flow, next_flow)
                vote = sample(vote, flow)
            votes, num_votes = votes + (vote > 0.5), num_votes + 1
    is_tie = votes * 2 == num_votes
    return np.asarray(np.where(is_tie, masks[index], votes * 2 > num_votes), dtype=np.bool_)


def _between_first_and_last(lines: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(F, N): whether a line lies between the first and the last true one of its frame."""
    begun = np.logical_or.accumulate(lines, axis=1)
    unfinished = np.logical_or.accumulate(lines[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(begun & unfinished, dtype=np.bool_)
