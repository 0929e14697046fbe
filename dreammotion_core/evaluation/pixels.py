"""Metrics that read pixels and masks alone: background, flicker of colour, SSIM, PSNR and outlines.

The checks of clips and masks that every metric shares come first.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import MaskError, MetricError, VideoError
from dreammotion_core.finishing import max_difference_outside, structural_similarity
from dreammotion_core.values import Frames, Mask, check_mask_shape

WINDOW = 1.5  # standard deviation of SSIM's Gaussian neighbourhood in pixels, as its authors chose it


def check_frames(frames: Frames, *, fewest: int = 1) -> None:
    """Raise `VideoError` unless frames are (F, H, W, 3) uint8 RGB, at least `fewest`; floats may hide NaN."""
    shape, dtype = np.shape(frames), getattr(frames, "dtype", type(frames))
    if len(shape) != 4 or shape[-1] != 3 or dtype != np.uint8 or 0 in shape:
        raise VideoError(
            f"frames have shape {shape} and type {dtype}; "
            "pass a non-empty (frames, height, width, 3) uint8 RGB array"
        )
    if shape[0] < fewest:
        raise VideoError(f"the clip has {shape[0]} frames; this metric needs at least {fewest}")


def check_pair(source: Frames, *, edited: Frames, fewest: int = 1) -> None:
    """Raise `VideoError` for two clips that cannot be compared frame by frame."""
    check_frames(source, fewest=fewest)
    check_frames(edited, fewest=fewest)
    if source.shape != edited.shape:
        one, other = (f"{c.shape[0]} frames of {c.shape[2]}x{c.shape[1]}" for c in (source, edited))
        raise VideoError(
            f"the source has {one} and the edit {other}; cut and scale both to the same frames and size first"
        )


def check_mask(mask: NDArray[np.generic], *, frames: Frames) -> Mask:
    """The mask of a clip as (F, H, W) bool, from one of (F, H, W) or (H, W). Raises `MaskError`."""
    mask = np.asarray(mask)
    check_mask_shape(mask.shape, num_frames=len(frames), size=frames.shape[1:3])
    if mask.dtype != np.bool_:
        raise MaskError(f"the mask has type {mask.dtype}; pass bool, True where the object is")
    return np.broadcast_to(mask, frames.shape[:3])


@dataclass(frozen=True)
class BackgroundProof:
    """The pixels outside the mask, before and after an edit.

    Attributes:
        num_pixels: pixels outside the mask, over all frames.
        num_changed: how many of them differ in any colour.
        max_difference: largest absolute difference in 8-bit levels; None when nothing lies outside.
        source_sha256: digest of the source's bytes outside the mask, frame by frame, row by row, RGB.
        edited_sha256: the same of the edit; equal exactly if nothing changed.
    """

    num_pixels: int
    num_changed: int
    max_difference: int | None
    source_sha256: str
    edited_sha256: str

    @property
    def is_unchanged(self) -> bool:
        """Whether every pixel outside the mask is the source's."""
        return self.num_changed == 0


def background_proof(source: Frames, *, edited: Frames, mask: Mask) -> BackgroundProof:
    """Compare all pixels of (F, H, W, 3) clips outside the (F, H, W) mask, or raise `InputError`."""
    check_pair(source, edited=edited)
    mask = check_mask(mask, frames=source)
    before, after = source[~mask], edited[~mask]
    return BackgroundProof(
        num_pixels=len(before),
        num_changed=int((before != after).any(axis=-1).sum()),
        max_difference=max_difference_outside(source, edited, mask),
        source_sha256=hashlib.sha256(before.tobytes()).hexdigest(),
        edited_sha256=hashlib.sha256(after.tobytes()).hexdigest(),
    )


def colour_jitter(frames: Frames, *, mask: Mask) -> float:
    """Mean distance in CIELAB between the mean colours inside the mask of consecutive frames, >= 0.

    A difference of about 1 is the least that an eye notices side by side. The metric is from no paper: it is
    the plainest form of the complaint that an edited object flickers. Compare it with the source's own
    figure, which holds the changes of the light.

    Frames, (F, H, W, 3) uint8 RGB, in which the mask is empty are skipped; two are needed, or it raises
    `InputError`.
    """
    check_frames(frames)
    means = [
        cv2.cvtColor(frame[None, inside].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0].mean(axis=0)
        for frame, inside in zip(frames, check_mask(mask, frames=frames), strict=True)
        if inside.any()
    ]
    if len(means) < 2:
        raise MetricError(f"the mask selects something on {len(means)} frames; flicker shows on two or more")
    return float(np.linalg.norm(np.diff(means, axis=0), axis=-1).mean())


def psnr(source: Frames, *, edited: Frames, region: Mask) -> float:
    """Peak signal-to-noise ratio in decibels over all pixels of a region; infinite where nothing changed.

    Clips are (F, H, W, 3) uint8 RGB and the region (F, H, W) bool, not empty, or it raises `InputError`.
    """
    inside = _checked_region(source, edited, region)
    squares = sum(
        cv2.norm(a, b, cv2.NORM_L2SQR, where.view(np.uint8))
        for a, b, where in zip(source, edited, inside, strict=True)
    )
    error = squares / (3 * np.count_nonzero(inside))
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(source: Frames, *, edited: Frames, region: Mask) -> float:
    """Mean structural similarity of luminance over the pixels of a region, in [-1, 1]; 1 where equal.

    Clips are (F, H, W, 3) uint8 RGB and the region (F, H, W) bool, not empty, or it raises `InputError`.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity (2004).
    """
    inside = _checked_region(source, edited, region)
    # A change outside the region would reach over its rim, through the neighbourhoods.
    within = np.where(inside[..., None], edited, source)
    kept = [structural_similarity(a, other=b, window=WINDOW) for a, b in zip(source, within, strict=True)]
    return float(np.stack(kept)[inside].mean(dtype=np.float64))


def _checked_region(source: Frames, edited: Frames, region: Mask) -> Mask:
    check_pair(source, edited=edited)
    inside = check_mask(region, frames=source)
    if not inside.any():
        raise MetricError("the region holds no pixel, so nothing can be compared in it")
    return inside


def region_similarity(mask: NDArray[np.bool_], *, truth: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks, in [0, 1]; 1 where both are empty. Raises `MaskError`.

    Masks are bool, (H, W), or (F, H, W) for a clip as a whole.

    Source: J of Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object
    Segmentation (CVPR 2016).
    """
    if mask.shape != truth.shape:
        raise MaskError(
            f"the masks have shapes {mask.shape} and {truth.shape}; pass two masks of the same frames"
        )
    union = int((mask | truth).sum())
    return int((mask & truth).sum()) / union if union else 1.0
