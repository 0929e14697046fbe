"""Proof that an edit left everything outside its mask as it was."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from dreammotion_core.composite import max_difference_outside
from dreammotion_core.evaluation.pixels import check_mask, check_pair
from dreammotion_core.values import Frames, Mask


@dataclass(frozen=True)
class BackgroundProof:
    """What is outside the mask, before and after.

    Attributes:
        num_pixels: pixels outside the mask, over all frames.
        num_changed: how many of them differ in any colour.
        max_difference: largest absolute difference in 8-bit levels; None when nothing lies outside.
        source_sha256: of the source's bytes outside the mask, frame by frame, row by row, RGB.
        edited_sha256: likewise of the edit's; equal exactly if nothing changed.
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
    """Compare all pixels outside the mask.

    Args:
        source: (F, H, W, 3) uint8 RGB.
        edited: (F, H, W, 3) uint8 RGB.
        mask: (F, H, W) bool, what the edit could change.

    Raises:
        InputError: if the clips or the mask do not fit one another.
    """
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
