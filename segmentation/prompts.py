"""What the user said about one object on one frame, as an immutable value that can be compared and kept.

A prompt is clicks and a box, a given mask, or clicks that correct a given mask. Masks in it are packed,
so that a long history of prompts costs little memory.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from segmentation.base import FrameMask, SegmentationSession
from segmentation.clicks import Box, Click, Selection


@dataclass(frozen=True)
class PackedMask:
    """A mask in a few kilobytes, equal to any other of the same pixels.

    Attributes:
        height, width: of the frame, in pixels.
        area: pixels of the object.
        data: one bit a pixel, compressed.
    """

    height: int
    width: int
    area: int
    data: bytes

    @classmethod
    def of(cls, mask: FrameMask) -> Self:
        """Pack an (H, W) bool mask."""
        height, width = mask.shape
        return cls(height, width, int(mask.sum()), zlib.compress(np.packbits(mask).tobytes(), 1))

    def unpacked(self) -> FrameMask:
        """(H, W) bool, a fresh copy."""
        bits = np.frombuffer(zlib.decompress(self.data), np.uint8)
        flat = np.unpackbits(bits, count=self.height * self.width)
        return np.asarray(flat.reshape(self.height, self.width), dtype=np.bool_)


@dataclass(frozen=True)
class Prompt:
    """What the user said about one object on one frame.

    Attributes:
        selection: frame number, clicks, box.
        given: the mask that the clicks correct, or that counts as it is where there are none; an empty
            one without clicks says that the object is not on this frame. None starts from the clicks.
    """

    selection: Selection
    given: PackedMask | None = None

    @classmethod
    def of_mask(cls, frame_index: int, mask: FrameMask) -> Self:
        """A prompt that takes a mask as it is.

        Args:
            frame_index: 0-based.
            mask: (H, W) bool; an empty one says that the object is not there.
        """
        return cls(Selection(frame_index), PackedMask.of(mask))

    @property
    def frame_index(self) -> int:
        """0-based number of its frame."""
        return self.selection.frame_index

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return self.selection.is_empty and self.given is None

    @property
    def says_absent(self) -> bool:
        """Whether it says that the object is not on its frame."""
        return self.selection.is_empty and self.given is not None and self.given.area == 0

    @property
    def is_correction(self) -> bool:
        """Whether its clicks or box change a given mask, mostly one that was followed there."""
        return self.given is not None and not self.selection.is_empty

    def with_click(self, click: Click) -> Self:
        """A copy with one more click."""
        return replace(self, selection=self.selection.with_click(click))

    def with_box(self, box: Box) -> Self:
        """A copy that starts anew from a box: clicks and given mask go."""
        return replace(self, selection=self.selection.cleared().with_box(box), given=None)

    def undo(self) -> Self:
        """A copy without the latest click; without the box, then the given mask, where none is left."""
        if self.selection.is_empty:
            return replace(self, given=None)
        return replace(self, selection=self.selection.undo())

    def is_stage_of(self, other: Prompt) -> bool:
        """Whether it is another prompt with some of the latest clicks more or less."""
        clicks, others = self.selection.clicks, other.selection.clicks
        shared = min(len(clicks), len(others))
        return (
            self.frame_index == other.frame_index
            and clicks[:shared] == others[:shared]
            and (self.selection.box, self.given) == (other.selection.box, other.given)
            and (shared > 0 or self.selection.box is not None or self.given is not None)
        )

    def mask_from(self, session: SegmentationSession) -> FrameMask:
        """The mask that it asks for.

        Args:
            session: of its clip.

        Returns:
            (H, W) bool.

        Raises:
            SelectionError: if it says nothing, or only what does not belong to an object not yet there.
        """
        given = None if self.given is None else self.given.unpacked()
        if given is not None and self.selection.is_empty:
            return given
        return session.mask_at(self.selection, prior=given)
