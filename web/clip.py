"""The clip that a visitor works on, with what is selected on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dreammotion_core import Video
from segmentation import History, Project, Segmenter, Tracks
from web.encoding import encode_frames


@dataclass(eq=False)
class Clip:
    """An opened clip. It starts with one object on which nothing has been said yet.

    Attributes:
        path: the file that it was read from.
        video: its frames.
        tracks: the masks of its objects.
        segmenter: name of what makes them.
        start_frame: where in the file it begins, in frames at its own rate.
        number: grows with every clip that a visitor opens, so that late answers can be told apart.
        history: the objects with their prompts, and what they were before.
    """

    path: Path
    video: Video
    tracks: Tracks
    segmenter: str
    start_frame: int = 0
    number: int = 1
    history: History = field(init=False)

    def __post_init__(self) -> None:
        self.history = History(self.tracks.new_project().add_object())

    def reopen(self, segmenter: Segmenter) -> None:
        """Go on with another segmenter: what was said stays, what was followed has to be followed anew."""
        self.tracks = Tracks(segmenter.open(self.video.frames), self.video.frames)
        self.segmenter = segmenter.spec.name

    @property
    def project(self) -> Project:
        """The objects as they are now."""
        return self.history.present

    @property
    def has_selection(self) -> bool:
        """Whether anything was said about any object."""
        return any(tracked.prompts for tracked in self.project.objects)

    @property
    def is_followed(self) -> bool:
        """Whether something is selected, and every mask that follows from it is known."""
        return self.has_selection and self.tracks.num_missing(self.project) == 0

    def union(self) -> NDArray[np.bool_]:
        """(F, H, W) bool: all objects together, as far as they are known."""
        masks = np.zeros(self.video.frames.shape[:3], np.bool_)
        for index, mask in enumerate(masks):
            mask[:] = self.tracks.labels(self.project, frame_index=index) > 0
        return masks

    @cached_property
    def source_uris(self) -> tuple[str, ...]:
        """Its frames as the player shows them."""
        return tuple(encode_frames(self.video.frames))
