"""Several objects of one clip, each with name, colour and prompts, as immutable values with a history.

Every change gives a new value, so undo and redo are a matter of keeping the old ones. Deliberately absent:
masks; `segmentation.tracks` makes them from a project.

What the user said about one object on one frame, as an immutable value that can be compared and kept.

A prompt is clicks and a box, a given mask, or clicks that correct a given mask. Masks in it are packed,
so that a long history of prompts costs little memory.

Masks made elsewhere become objects of a project, every frame of them confirmed as it is.

What was selected and how, as plain JSON values for a record of the work.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from segmentation.base import FrameMask, SegmentationSession
from segmentation.clicks import Box, Click, Selection, check_selection
from segmentation.errors import FramesError, SelectionError


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


Colour = tuple[int, int, int]
"""RGB, each in [0, 255]."""

COLOURS: tuple[Colour, ...] = (
    (139, 92, 246),
    (245, 158, 11),
    (16, 185, 129),
    (236, 72, 153),
    (14, 165, 233),
    (250, 204, 21),
    (239, 68, 68),
    (132, 204, 22),
)
"""Of the first objects; they repeat after the last."""

MOST_OBJECTS = 255
"""So that the number of an object fits an 8-bit picture."""

MOST_STEPS = 200
"""Steps that can be taken back."""


@dataclass(frozen=True)
class TrackedObject:
    """One object of a clip.

    Attributes:
        number: from 1, never used again within a project.
        name: for people.
        colour: RGB.
        prompts: at most one for each frame, in the order in which they were last changed.
        last_change: number of the edit that last changed a prompt; where objects overlap, a pixel belongs
            to the one with the higher number.
    """

    number: int
    name: str
    colour: Colour
    prompts: tuple[Prompt, ...] = ()
    last_change: int = 0

    def prompt_on(self, frame_index: int) -> Prompt | None:
        """What was said on a frame; None where nothing was."""
        return next((prompt for prompt in self.prompts if prompt.frame_index == frame_index), None)

    @property
    def confirmed_frames(self) -> tuple[int, ...]:
        """The frames with a prompt, ascending."""
        return tuple(sorted(prompt.frame_index for prompt in self.prompts))


@dataclass(frozen=True)
class Project:
    """All objects of a clip.

    Attributes:
        num_frames, height, width: of the clip.
        objects: in the order in which they were added.
        used_numbers: of all objects ever added.
        num_changes: prompts ever changed.
    """

    num_frames: int
    height: int
    width: int
    objects: tuple[TrackedObject, ...] = ()
    used_numbers: frozenset[int] = frozenset()
    num_changes: int = 0

    def object(self, number: int) -> TrackedObject:
        """The object of a number.

        Raises:
            SelectionError: if there is none.
        """
        for candidate in self.objects:
            if candidate.number == number:
                return candidate
        known = ", ".join(str(candidate.number) for candidate in self.objects) or "none yet; add one first"
        raise SelectionError(f"there is no object {number}; the objects are: {known}")

    def add_object(
        self, name: str | None = None, *, colour: Colour | None = None, number: int | None = None
    ) -> Self:
        """A copy with one more object, the last of `objects`, without prompts.

        Args:
            name: for people; "Object N" where it is None or blank.
            colour: RGB; the next of the usual ones where it is None.
            number: one that no object has had yet; the lowest of these where it is None.

        Raises:
            SelectionError: if there were `MOST_OBJECTS` already, or the number or the colour is none.
        """
        free = sorted(set(range(1, MOST_OBJECTS + 1)) - self.used_numbers)
        if not free:
            raise SelectionError(f"there were {MOST_OBJECTS} objects already; open the clip anew")
        if number is None:
            number = free[0]
        elif number not in free:
            raise SelectionError(
                f"an object cannot have the number {number!r}; leave it out, or choose one from 1 to "
                f"{MOST_OBJECTS} that no object has had"
            )
        chosen = COLOURS[(number - 1) % len(COLOURS)] if colour is None else _checked_colour(colour)
        label = (name or "").strip() or f"Object {number}"
        added = TrackedObject(number, label, chosen)
        return replace(self, objects=(*self.objects, added), used_numbers=self.used_numbers | {number})

    def remove_object(self, number: int) -> Self:
        """A copy without an object."""
        removed = self.object(number)
        return replace(self, objects=tuple(each for each in self.objects if each is not removed))

    def restyled(self, number: int, *, name: str | None = None, colour: Colour | None = None) -> Self:
        """A copy with another name or colour of an object; None keeps what it is."""
        old = self.object(number)
        new_name = old.name if name is None or not name.strip() else name.strip()
        new_colour = old.colour if colour is None else _checked_colour(colour)
        return self._with(replace(old, name=new_name, colour=new_colour))

    def with_prompt(self, number: int, prompt: Prompt) -> Self:
        """A copy in which an object has this prompt instead of any earlier one on the same frame.

        Args:
            number: of the object.
            prompt: an empty one takes the earlier one away.

        Raises:
            SelectionError: if there is no such object, or the prompt does not fit the clip: a frame beyond
                it, a click outside, only negative clicks where there is nothing to correct.
            FramesError: if a given mask has another size than the clip.
        """
        if prompt.is_empty:
            return self.without_prompt(number, prompt.frame_index)
        self._check(prompt)
        old = self.object(number)
        others = tuple(each for each in old.prompts if each.frame_index != prompt.frame_index)
        return self._with_prompts(old, (*others, prompt))

    def without_prompt(self, number: int, frame_index: int) -> Self:
        """A copy in which nothing is said about an object on a frame."""
        old = self.object(number)
        return self._with_prompts(old, tuple(p for p in old.prompts if p.frame_index != frame_index))

    def cleared(self) -> Self:
        """A copy without objects."""
        return replace(self, objects=())

    def _with_prompts(self, old: TrackedObject, prompts: tuple[Prompt, ...]) -> Self:
        change = self.num_changes + 1
        changed = self._with(replace(old, prompts=prompts, last_change=change))
        return replace(changed, num_changes=change)

    def _with(self, changed: TrackedObject) -> Self:
        objects = tuple(changed if each.number == changed.number else each for each in self.objects)
        return replace(self, objects=objects)

    def _check(self, prompt: Prompt) -> None:
        given, size = prompt.given, (self.height, self.width)
        if given is not None and (given.height, given.width) != size:
            raise FramesError(
                f"the mask is {(given.height, given.width)} but the frames are {size}; pass the same size"
            )
        if given is not None and prompt.selection.is_empty and prompt.frame_index < self.num_frames:
            return
        check_selection(
            prompt.selection,
            num_frames=self.num_frames,
            height=self.height,
            width=self.width,
            may_only_remove=given is not None,
        )


@dataclass(frozen=True)
class History:
    """A project with what it was before and what was taken back.

    Attributes:
        present: the project as it is.
        past: earlier ones, the latest last; at most `MOST_STEPS`.
        future: those taken back, the next one last.
    """

    present: Project
    past: tuple[Project, ...] = ()
    future: tuple[Project, ...] = ()

    def do(self, change: Callable[[Project], Project]) -> Self:
        """A copy with a change made, for example ``history.do(Project.add_object)``.

        A change that changes nothing leaves no step behind.
        """
        changed = change(self.present)
        if changed == self.present:
            return self
        return replace(self, present=changed, past=(*self.past, self.present)[-MOST_STEPS:], future=())

    def undo(self) -> Self:
        """A copy one step back; itself where there is none."""
        if not self.past:
            return self
        return replace(self, present=self.past[-1], past=self.past[:-1], future=(*self.future, self.present))

    def redo(self) -> Self:
        """A copy one step forward again; itself where there is none."""
        if not self.future:
            return self
        return replace(
            self, present=self.future[-1], past=(*self.past, self.present), future=self.future[:-1]
        )


def _checked_colour(colour: Colour) -> Colour:
    is_colour = len(colour) == 3 and all(isinstance(level, int) and 0 <= level <= 255 for level in colour)
    if not is_colour:
        raise SelectionError(f"the colour is {colour!r}; pass red, green and blue as whole numbers to 255")
    return colour


_NO_NAMES: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True)
class AddedObjects:
    """A project with the objects of some given masks.

    Attributes:
        project: with these objects.
        numbers: what they are called in it, by their numbers in the masks.
    """

    project: Project
    numbers: Mapping[int, int]


def add_given_objects(
    project: Project, *, masks: Mapping[int, NDArray[np.bool_]], names: Mapping[int, str] = _NO_NAMES
) -> AddedObjects:
    """Add objects whose masks were made elsewhere.

    Every frame is a prompt of its own, also where the object is not there, so that nothing is followed and
    a correction changes its own frame alone. Objects about which nothing was said yet make way.

    Args:
        project: of the clip.
        masks: (F, H, W) bool by the numbers of the objects, taken one after the other.
        names: of the objects, by their numbers in the masks.

    Returns:
        The project, in which an object keeps its number where no other has had it.

    Raises:
        FramesError: if the masks are of another clip.
        SelectionError: if these are too many objects.
    """
    expected = (project.num_frames, project.height, project.width)
    project = _without_untouched(project)
    numbers: dict[int, int] = {}
    for given, mask in masks.items():
        if mask.shape != expected:
            raise FramesError(
                f"the masks are of a clip of {mask.shape} frames, height and width but this one has "
                f"{expected}; pass masks of this clip"
            )
        is_free = given not in project.used_numbers
        project = project.add_object(names.get(given), number=given if is_free else None)
        numbers[given] = project.objects[-1].number
        for index, frame in enumerate(mask):
            project = project.with_prompt(numbers[given], Prompt.of_mask(index, frame))
    return AddedObjects(project, numbers)


def _without_untouched(project: Project) -> Project:
    kept = tuple(tracked for tracked in project.objects if tracked.prompts)
    untouched = {tracked.number for tracked in project.objects if not tracked.prompts}
    return replace(project, objects=kept, used_numbers=project.used_numbers - untouched)


def describe_project(project: Project) -> dict[str, Any]:
    """Names and prompts of all objects about which something was said.

    Returns:
        ``{"objects": [{"number", "name", "prompts": [...]}]}``, prompts in the order of their frames, each
        ``{"frame_index", "clicks", "box", "mask"}``. A mask that was given or corrected is not in it, only
        its area in pixels and the SHA-256 of its bits, row by row, eight in a byte.
    """
    return {
        "objects": [
            {
                "number": tracked.number,
                "name": tracked.name,
                "prompts": [
                    _describe(prompt)
                    for prompt in sorted(tracked.prompts, key=lambda prompt: prompt.frame_index)
                ],
            }
            for tracked in project.objects
            if tracked.prompts
        ]
    }


def _describe(prompt: Prompt) -> dict[str, Any]:
    given = None if prompt.given is None else _describe_mask(prompt.given)
    return prompt.selection.to_dict() | {"mask": given}


def _describe_mask(mask: PackedMask) -> dict[str, Any]:
    bits = np.packbits(mask.unpacked()).tobytes()
    return {"area": mask.area, "sha256": hashlib.sha256(bits).hexdigest()}
