"""The clip that a visitor works on: its frames, the objects selected on it, and their masks.

`Clip` goes on changing while its visitor clicks; edits and exports are made from a `Snapshot`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreammotion_core import Video, VideoError
from segmentation import (
    FrameHealth,
    History,
    Project,
    Prompt,
    Segmenter,
    TrackedObject,
    Tracks,
    describe_project,
    fill_box,
    fill_holes,
    invert,
    review_object,
    smooth_in_time,
)
from web.encoding import encode_frames
from web.form import Refinement

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What is selected on a clip at one moment; everything that comes of an edit is about these objects.

    The edit does not change the objects whose numbers are in `left_alone`.
    """

    video: Video
    project: Project
    tracks: Tracks
    segmenter: str
    left_alone: frozenset[int]
    refinement: Refinement

    @property
    def selected(self) -> tuple[TrackedObject, ...]:
        """The objects with prompts, the latest change at the end."""
        objects = [each for each in self.project.objects if each.prompts]
        return tuple(sorted(objects, key=lambda each: each.last_change))

    @property
    def chosen(self) -> tuple[TrackedObject, ...]:
        """The selected objects that the edit changes, the latest change at the end."""
        return tuple(each for each in self.selected if each.number not in self.left_alone)

    @property
    def is_followed(self) -> bool:
        """Whether something is selected, and every mask that follows from it is known."""
        return bool(self.selected) and self.tracks.num_missing(self.project) == 0

    def record(self) -> dict[str, Any]:
        """The prompts of the objects, and what the edit makes of them, as plain JSON values."""
        edited = [tracked.number for tracked in self.chosen]
        return describe_project(self.project) | {"edited": edited, "refinement": asdict(self.refinement)}


PAUSE = 0.25  # Seconds on a frame before it is prepared; to find and click something takes longer.


class FramePreparer:
    """Gets the frame that a visitor looks at ready for a click, in the background.

    Only a frame on which the visitor stays for `pause` seconds is prepared, and one at a time: playing a clip
    prepares nothing. `prepare` takes a 0-based frame number, on a thread of its own.
    """

    def __init__(self, prepare: Callable[[int], None], *, pause: float = PAUSE) -> None:
        self._prepare = prepare
        self._pause = pause
        self._guard, self._working = threading.Lock(), threading.Lock()
        self._wanted: int | None = None
        self._timer: threading.Timer | None = None

    def look_at(self, frame_index: int) -> None:
        """Take note of the frame that is shown; returns at once."""
        with self._guard:
            if frame_index == self._wanted:
                return
            if self._timer is not None:
                self._timer.cancel()
            self._wanted = frame_index
            self._timer = threading.Timer(self._pause, self._work, (frame_index,))
            self._timer.daemon = True
            self._timer.start()

    def _work(self, frame_index: int) -> None:
        # A failure comes again with the click that needs the frame, and is told there.
        with self._working, suppress(Exception):
            if frame_index == self._wanted:
                self._prepare(frame_index)


_FOLDERS = "dreammotion-page-"
_SECONDS_TO_LOCK = 60


def own_temporary_folder() -> Path:
    """A new folder for the temporary files of this process, gone with it; removes those of dead processes.

    A lock on the folder says that its process lives; the system takes it back however that ends.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _SECONDS_TO_LOCK and _lock(folder):
                shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDERS))
    _lock(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _lock(folder: Path) -> bool:
    """Whether the lock of a folder was free; it stays with this process."""
    if sys.platform == "win32":
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    return True


class KeptFile:
    """A second name for an upload at `path`, or a copy; removed with the last reference to this object.

    Gradio deletes uploads after an hour, open or not. Raises `VideoError` if the file is gone or cannot be
    copied.
    """

    def __init__(self, original: Path) -> None:
        folder = Path(tempfile.mkdtemp(prefix="dreammotion-clip-"))
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = folder / original.name
        try:
            _link_or_copy(original, self.path)
        except OSError as error:
            self._remove()
            raise VideoError(f"{original.name} cannot be kept ({error.strerror}); send it again") from error


def _link_or_copy(original: Path, path: Path) -> None:
    try:
        os.link(original, path)
    except OSError:
        # Another disk, or one without links.
        shutil.copyfile(original, path)


MOST_REMARKS = 8  # Number of remarks that are remembered, each of several sentences.
MOST_REVIEWS = 32  # Number of objects, or states of one, whose health is remembered.


@dataclass(eq=False)
class Clip:
    """An opened clip. It starts with one object without prompts.

    Attributes:
        segmenter: name of what makes them.
        start_frame: where in the file it begins, in frames at its own rate.
        number: grows with every clip that a visitor opens, so that late answers can be told apart.
        kept: keeps the file at `path` while the clip is open or edited; None where nobody deletes it.
        rooms: pixels of room by target prompt, of an example; see `Example`.
        left_alone: numbers of the objects that the edit does not change.
        changing: held while the objects are changed, so that no change overwrites another.
        following: held while masks are made, which only one job may do at a time.
    """

    path: Path
    video: Video
    tracks: Tracks
    segmenter: str
    start_frame: int = 0
    number: int = 1
    kept: KeptFile | None = None
    rooms: Mapping[str, int] = field(default_factory=dict)
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
        """Go on with another segmenter: prompts stay, masks that were followed are made anew."""
        tracks = Tracks(segmenter.open(self.video.frames), self.video.frames)
        # Masks that are shown stay until new ones take their place.
        for tracked in self.project.objects:
            for prompt in tracked.prompts:
                tracks.preview(prompt)
        with self.changing:
            self.tracks, self.segmenter = tracks, segmenter.spec.name
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
        """Let clicks be about another object; a `SelectionError` if there is none of this number."""
        self._picked = self.project.object(number).number

    def change(self, change: Callable[[Project], Project]) -> None:
        """Change the objects, as one step that can be undone; the caller holds `changing`."""
        before = {tracked.number for tracked in self.project.objects}
        self.history = self.history.do(change)
        # After an undo a number may come again, for another object.
        self.left_alone -= {tracked.number for tracked in self.project.objects} - before

    def snapshot(self) -> Snapshot:
        """What is selected now; it stays the same during the next clicks."""
        with self.changing:
            return Snapshot(
                self.video, self.project, self.tracks, self.segmenter, self.left_alone, self.refinement
            )

    @property
    def is_followed(self) -> bool:
        """Whether something is selected, and every mask that follows from it is known."""
        return self.snapshot().is_followed

    def remark(self, texts: Sequence[str]) -> None:
        """Add a remark about the objects as they are now; undoing them removes it."""
        self._remarks = [*self._remarks[1 - MOST_REMARKS :], (self.project, tuple(texts))]

    @property
    def remarks(self) -> tuple[str, ...]:
        """The remarks about the objects as they are now or were before."""
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
    """With a weak reference, so that a closed clip and its file go at once."""
    held = weakref.ref(clip)

    def prepare(frame_index: int) -> None:
        clip = held()
        # Following prepares every frame itself.
        if clip is not None and not clip.following.locked():
            clip.tracks.prepare(frame_index)

    return FramePreparer(prepare)


def carry_over(old: Clip, new: Clip) -> int:
    """Take the objects of a clip and their prompts to another reading of the same file, which is changed.

    Gives the number of frames with prompts that the other reading does not have.
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
    """None where that reading shows other moments."""
    place = (old.start_frame + frame_index) * new.video.fps / old.video.fps - new.start_frame
    index = round(place)
    # Rates such as 30000/1001 are rounded.
    return index if abs(place - index) < 1e-6 and 0 <= index < len(new.video) else None


def refined_masks(snapshot: Snapshot, *, number: int, within: range) -> NDArray[np.bool_]:
    """An object's masks, filled and steadied: (frames of `within`, H, W) bool."""
    reach = snapshot.refinement.steady
    wide = range(max(0, within.start - reach), min(len(snapshot.video), within.stop + reach))
    shown = range(within.start - wide.start, within.stop - wide.start)
    project, tracks = snapshot.project, snapshot.tracks
    masks = np.stack([tracks.mask(project, number=number, frame_index=index) for index in wide])
    if reach:
        frames = snapshot.video.frames[wide.start : wide.stop]
        masks = smooth_in_time(masks, frames=frames, reach=reach, within=shown)
    masks = masks[shown.start : shown.stop]
    match snapshot.refinement.fill:
        case "none":
            return masks
        case "holes":
            return fill_holes(masks)
        case "box":
            return fill_box(masks)


def edited_masks(snapshot: Snapshot) -> NDArray[np.bool_]:
    """(F, H, W) bool: the chosen objects together, or everything else, before growing and feathering."""
    together = np.zeros(snapshot.video.frames.shape[:3], np.bool_)
    for tracked in snapshot.chosen:
        together |= refined_masks(snapshot, number=tracked.number, within=range(len(snapshot.video)))
    return invert(together) if snapshot.refinement.is_inverted else together
