"""The clip that a visitor works on, with what is selected on it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from dreammotion_core import Video
from segmentation import (
    FrameHealth,
    History,
    Project,
    Prompt,
    Segmenter,
    TrackedObject,
    Tracks,
    review_object,
)
from web.encoding import encode_frames
from web.kept_files import KeptFile
from web.preparing import FramePreparer
from web.form import Refinement
from web.snapshots import Snapshot

MOST_REMARKS = 8
"""That are remembered, each of several sentences."""

MOST_REVIEWS = 32
"""Objects, or states of one, whose health is remembered."""


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
        kept: keeps the file at `path` while the clip is open or edited; None where nobody deletes it.
        history: the objects with their prompts, and what they were before.
        left_alone: numbers of the objects that the edit does not change.
        refinement: what is done to the masks before the edit.
        changing: held while the objects are changed, so that no change overwrites another.
        following: held while masks are made, which only one job may do at a time.
        preparer: gets the frame that is shown ready for a click.
    """

    path: Path
    video: Video
    tracks: Tracks
    segmenter: str
    start_frame: int = 0
    number: int = 1
    kept: KeptFile | None = None
    history: History = field(init=False)
    left_alone: frozenset[int] = frozenset()
    refinement: Refinement = field(default_factory=Refinement)
    changing: threading.Lock = field(default_factory=threading.Lock)
    following: threading.Lock = field(default_factory=threading.Lock)
    preparer: FramePreparer = field(init=False)
    _picked: int = 1
    _remarks: list[tuple[Project, tuple[str, ...]]] = field(default_factory=list)
    _reviews: dict[tuple[Prompt, ...], tuple[FrameHealth, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.history = History(self.tracks.new_project().add_object())
        self.preparer = _preparer_of(self)

    def reopen(self, segmenter: Segmenter) -> None:
        """Go on with another segmenter: what was said stays, what was followed has to be followed anew."""
        tracks = Tracks(segmenter.open(self.video.frames), self.video.frames)
        # What is seen now stays until there is something to see in its place.
        for tracked in self.project.objects:
            for prompt in tracked.prompts:
                tracks.preview(prompt)
        with self.changing:
            self.tracks, self.segmenter = tracks, segmenter.spec.name
        # Another segmenter prepares anew.
        self.preparer = _preparer_of(self)
        self._reviews.clear()

    @property
    def project(self) -> Project:
        """The objects as they are now."""
        return self.history.present

    @property
    def picked(self) -> TrackedObject:
        """The object that clicks are about."""
        objects = self.project.objects
        return next((each for each in objects if each.number == self._picked), objects[-1])

    def pick(self, number: int) -> None:
        """Let clicks be about another object.

        Raises:
            SelectionError: if there is no such object.
        """
        self._picked = self.project.object(number).number

    def change(self, change: Callable[[Project], Project]) -> None:
        """Change the objects, as one step that can be taken back; only while `changing` is held."""
        before = {tracked.number for tracked in self.project.objects}
        self.history = self.history.do(change)
        # After an undo a number may come again; what was said of the object before is not said of this one.
        self.left_alone -= {tracked.number for tracked in self.project.objects} - before

    def snapshot(self) -> Snapshot:
        """What is selected now, for what takes longer than until the next click."""
        with self.changing:
            return Snapshot(
                video=self.video,
                project=self.project,
                tracks=self.tracks,
                segmenter=self.segmenter,
                left_alone=self.left_alone,
                refinement=self.refinement,
            )

    @property
    def is_followed(self) -> bool:
        """Whether something is selected, and every mask that follows from it is known."""
        return self.snapshot().is_followed

    def remark(self, texts: Sequence[str]) -> None:
        """Say something about the objects as they are now; it is gone when they are taken back."""
        self._remarks = [*self._remarks[1 - MOST_REMARKS :], (self.project, tuple(texts))]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was said about the objects as they are now or were before."""
        states = (*self.history.past, self.project)
        said = (texts for about, texts in self._remarks if any(about is state for state in states))
        return tuple(dict.fromkeys(text for texts in said for text in texts))

    def review(self, number: int) -> tuple[FrameHealth, ...]:
        """The health of an object's masks, once they are all known; made once for the same prompts."""
        prompts = self.project.object(number).prompts
        if prompts not in self._reviews:
            while len(self._reviews) >= MOST_REVIEWS:
                del self._reviews[next(iter(self._reviews))]
            self._reviews[prompts] = review_object(self.tracks, project=self.project, number=number)
        return self._reviews[prompts]

    @cached_property
    def source_uris(self) -> tuple[str, ...]:
        """Its frames as the player shows them."""
        return tuple(encode_frames(self.video.frames))


def _preparer_of(clip: Clip) -> FramePreparer:
    """A preparer that holds the clip only weakly, so that a clip and its file go as soon as it is closed."""
    held = weakref.ref(clip)

    def prepare(frame_index: int) -> None:
        clip = held()
        # Following comes by every frame itself, and would only be slowed down.
        if clip is not None and not clip.following.locked():
            clip.tracks.prepare(frame_index)

    return FramePreparer(prepare)


def carry_over(old: Clip, new: Clip) -> int:
    """Take the objects of a clip, and what was said about them, to another reading of the same file.

    Args:
        old: as it was read.
        new: perhaps from another moment, at another rate or length; changed.

    Returns:
        On how many frames something was said that the other reading does not have.
    """
    project, lost = new.tracks.new_project(), set()
    for tracked in old.project.objects:
        project = project.add_object(tracked.name, colour=tracked.colour, number=tracked.number)
        for prompt in tracked.prompts:
            index = _same_moment(prompt.frame_index, old, new)
            if index is None:
                lost.add(prompt.frame_index)
                continue
            moved = replace(prompt, selection=replace(prompt.selection, frame_index=index))
            project = project.with_prompt(tracked.number, moved)
            new.tracks.preview(moved)
    new.history = History(project)
    new.left_alone = old.left_alone
    new.pick(old.picked.number)
    return len(lost)


def _same_moment(frame_index: int, old: Clip, new: Clip) -> int | None:
    """The number in another reading of a frame; None where that reading shows other moments."""
    place = (old.start_frame + frame_index) * new.video.fps / old.video.fps - new.start_frame
    index = round(place)
    # Rates such as 30000/1001 are no exact numbers.
    return index if abs(place - index) < 1e-6 and 0 <= index < len(new.video) else None
