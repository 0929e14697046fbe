"""What every segmenter promises: slow work once per clip, fast answers per click, streamed following."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from segmentation.clicks import Selection, check_frame_index, check_selection
from segmentation.errors import FramesError, SelectionError

Frame = NDArray[np.uint8]  # (H, W, 3) RGB, values in [0, 255].
Frames = NDArray[np.uint8]  # (F, H, W, 3) RGB, values in [0, 255].
FrameMask = NDArray[np.bool_]  # (H, W), True where the object is.
Masks = NDArray[np.bool_]  # (F, H, W), True where the object is.


class Readiness(StrEnum):
    """What stands between a user and a segmenter."""

    READY = "ready"
    DOWNLOADABLE = "not ready: downloaded on first use"
    UNAVAILABLE = "not available here"


@dataclass(frozen=True)
class SegmenterSpec:
    """What a user should know before choosing a segmenter.

    Attributes:
        name: short stable identifier, as `load_segmenter` takes it.
        licence: of the weights; for a segmenter without weights, of its code.
        size_bytes: of the download; 0 without a download.
        source: where it comes from, an address or plain words.
        checkpoint: the file with its weights; None if it needs none.
    """

    name: str
    label: str
    licence: str
    size_bytes: int
    source: str
    description: str
    checkpoint: Path | None = None
    requires: tuple[str, ...] = ()

    def is_ready(self) -> bool:
        """Whether it runs without a download."""
        return self.readiness() is Readiness.READY

    def readiness(self) -> Readiness:
        """Whether it runs at once, after a download, or not on this machine."""
        if self._missing_packages():
            return Readiness.UNAVAILABLE
        is_here = self.checkpoint is None or os.path.isfile(self.checkpoint)
        return Readiness.READY if is_here else Readiness.DOWNLOADABLE

    def describe_readiness(self) -> str:
        """The readiness in words, with what to install if a package is missing."""
        if missing := ", ".join(self._missing_packages()):
            return f"{Readiness.UNAVAILABLE}: install {missing}, in the versions of requirements.txt"
        return str(self.readiness())

    def _missing_packages(self) -> tuple[str, ...]:
        return tuple(package for package in self.requires if find_spec(package) is None)


class Segmenter(Protocol):
    """Something that turns clicks into masks."""

    spec: SegmenterSpec

    def open(self, frames: Frames) -> SegmentationSession:
        """Prepare a clip of (F, H, W, 3) uint8 RGB frames, which must not change while the session is in use.

        Raises `FramesError` if the frames have another shape or type, or there are none.
        """


class SegmentationSession(Protocol):
    """One clip, opened for clicking. Safe to use from several threads."""

    def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
        """The object on the frame that was clicked, (H, W) bool.

        The selection corrects `prior`, the (H, W) bool mask until now, so negative clicks alone are enough;
        None starts anew. The result may be empty or full: `describe_problem` says so in plain words. Raises
        `SelectionError` if the selection is empty or does not fit the clip.
        """

    def propagate(self, selection: Selection) -> Iterator[tuple[int, FrameMask]]:
        """The object on every frame, as masks become known: 0-based number and (H, W) bool, each once.

        The clicked frame comes first, then the frames after it in order, then those before it backwards. A
        lost object leaves empty masks until it is found again; image models also leave them beyond a scene
        cut, with a `SceneCutWarning`. Closing the iterator cancels the work. Raises `SelectionError` on the
        call, not on the first step, as in `mask_at`.
        """

    def follow(
        self, start: int, mask: FrameMask, *, within: range | None = None
    ) -> Iterator[tuple[int, FrameMask]]:
        """Follow an (H, W) bool mask, drawn or imported, as `propagate` follows that of a selection.

        `within` are the frames to follow it through, the 0-based `start` among them; no other frame costs
        anything. None is the whole clip. Raises on the call, `SelectionError` if the clip or the range has no
        frame `start`, and `FramesError` if the mask has another size than the frames.
        """


@runtime_checkable
class PreparingSession(Protocol):
    """A session that can do the slow part of a frame's first answer ahead of the click."""

    def prepare(self, frame_index: int) -> None:
        """Do now what the first click on a frame (0-based) would wait for."""


def follow_selection(
    session: SegmentationSession, *, frames: Frames, selection: Selection
) -> Iterator[tuple[int, FrameMask]]:
    """Implement `SegmentationSession.propagate` by `mask_at` and `follow`; it raises on the call."""
    check_selection(selection, shape=frames.shape[:3])

    def walk() -> Iterator[tuple[int, FrameMask]]:
        yield from session.follow(selection.frame_index, session.mask_at(selection))

    return walk()


def check_frames(frames: Frames) -> None:
    """Raise `FramesError` unless `frames` is a non-empty (F, H, W, 3) uint8 array."""
    shape, dtype = np.shape(frames), getattr(frames, "dtype", type(frames).__name__)
    if len(shape) != 4 or shape[-1] != 3 or dtype != np.uint8 or 0 in shape:
        raise FramesError(
            f"frames have shape {shape} and type {dtype}; "
            "pass a non-empty (frames, height, width, 3) uint8 RGB array"
        )


def check_same_size(mask: tuple[int, ...], frame: tuple[int, ...]) -> None:
    """Raise `FramesError` unless masks have the size of the frames: height and width, or frames first."""
    if mask != frame:
        raise FramesError(f"the mask is {mask} but the clip {frame}; pass a mask of the same size")


def check_walk(frames: Frames, start: int, mask: FrameMask, *, within: range | None) -> range:
    """Give `within`, None as the whole clip, if a mask can be followed; see `SegmentationSession.follow`.

    Raises `SelectionError` if the clip has no frame `start`, or the range does not lie in the clip, goes in
    steps, or does not contain `start`, and `FramesError` if the mask has another size than the frames.
    """
    num_frames = len(frames)
    check_frame_index(start, num_frames)
    check_same_size(mask.shape, frames.shape[1:3])
    if within is None:
        return range(num_frames)
    if within.step != 1 or within.start < 0 or within.stop > num_frames or start not in within:
        raise SelectionError(
            f"the frames to follow through are {within}; pass a range within 0 to {num_frames} "
            f"that contains frame {start}, in steps of 1"
        )
    return within
