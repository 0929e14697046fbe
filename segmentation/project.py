"""What the user said: objects of a clip with names, colours and prompts, and the history of changes.

Immutable values: every change gives a new project, so undo and redo keep the old ones. `segmentation.tracks`
makes masks from a project.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from segmentation.base import FrameMask, Masks, check_same_size
from segmentation.clicks import Box, Click, Selection, check_frame_index, check_selection
from segmentation.errors import FramesError, SelectionError

Colour = tuple[int, int, int]  # RGB, each in [0, 255].
COLOURS: tuple[Colour, ...] = (
    *((139, 92, 246), (245, 158, 11), (16, 185, 129), (236, 72, 153)),
    *((14, 165, 233), (250, 204, 21), (239, 68, 68), (132, 204, 22)),
)
"""Default colours, in the order of the objects; they repeat after the last."""

MOST_OBJECTS = 255  # At most, so that the number of an object fits an 8-bit picture.
MOST_STEPS = 200  # Changes that can be taken back, at most.


@dataclass(frozen=True)
class PackedMask:
    """A mask in a few kilobytes; two of the same pixels are equal.

    `area` counts the pixels of the object; `data` has one bit a pixel, row by row, compressed.
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

    @property
    def bits(self) -> bytes:
        """One bit a pixel, row by row, eight in a byte."""
        return zlib.decompress(self.data)

    def unpacked(self) -> FrameMask:
        """(H, W) bool, a fresh copy."""
        flat = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=self.height * self.width)
        return np.asarray(flat.reshape(self.height, self.width), dtype=np.bool_)


@dataclass(frozen=True)
class Prompt:
    """What the user said about one object on one frame: clicks and a box, a mask, or clicks on a mask.

    The clicks of `selection` correct the `given` mask; without clicks it counts as it is, and an empty one
    says that the object is not on this frame. None starts from the clicks.
    """

    selection: Selection
    given: PackedMask | None = None

    @classmethod
    def of_mask(cls, frame_index: int, mask: FrameMask) -> Self:
        """A prompt that takes an (H, W) bool mask as it is; an empty one says that the object is absent."""
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
        """Whether its clicks or box correct a mask."""
        return self.given is not None and not self.selection.is_empty

    def with_click(self, click: Click) -> Self:
        """A copy with one more click."""
        return replace(self, selection=self.selection.with_click(click))

    def with_box(self, box: Box) -> Self:
        """A copy that starts anew from a box, without clicks and given mask."""
        return replace(self, selection=self.selection.cleared().with_box(box), given=None)

    def undo(self) -> Self:
        """A copy without the latest click; if there is none, without the box; else without the mask."""
        if self.selection.is_empty:
            return replace(self, given=None)
        return replace(self, selection=self.selection.undo())

    def is_stage_of(self, other: Prompt) -> bool:
        """Whether it differs from another prompt only by some of the latest clicks."""
        clicks, others = self.selection.clicks, other.selection.clicks
        shared = min(len(clicks), len(others))
        return (
            self.frame_index == other.frame_index
            and clicks[:shared] == others[:shared]
            and (self.selection.box, self.given) == (other.selection.box, other.given)
            and (shared > 0 or self.selection.box is not None or self.given is not None)
        )


@dataclass(frozen=True)
class TrackedObject:
    """One object of a clip.

    Attributes:
        number: from 1, never used again within a project.
        prompts: at most one for each frame, the one changed last at the end.
        last_change: number of the latest change of a prompt; where objects overlap, a pixel belongs to the
            one with the higher number.
    """

    number: int
    name: str
    colour: Colour
    prompts: tuple[Prompt, ...] = ()
    last_change: int = 0

    def prompt_on(self, frame_index: int) -> Prompt | None:
        """The prompt on a frame, if any."""
        return next((prompt for prompt in self.prompts if prompt.frame_index == frame_index), None)

    @property
    def confirmed_frames(self) -> tuple[int, ...]:
        """The frames with a prompt, ascending."""
        return tuple(sorted(prompt.frame_index for prompt in self.prompts))


@dataclass(frozen=True)
class Project:
    """All objects of a clip, in the order in which they were added.

    `used_numbers` are of all objects ever added, `num_changes` counts those of prompts.
    """

    num_frames: int
    height: int
    width: int
    objects: tuple[TrackedObject, ...] = ()
    used_numbers: frozenset[int] = frozenset()
    num_changes: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of frames, height and width of the clip."""
        return self.num_frames, self.height, self.width

    def object(self, number: int) -> TrackedObject:
        """The object with this number. Raises `SelectionError` if there is none."""
        if found := next((each for each in self.objects if each.number == number), None):
            return found
        known = ", ".join(str(each.number) for each in self.objects) or "none yet; add one first"
        raise SelectionError(f"there is no object {number}; the objects are: {known}")

    def add_object(
        self, name: str | None = None, *, colour: Colour | None = None, number: int | None = None
    ) -> Self:
        """A copy with one more object, the last of `objects`, without prompts.

        None or a blank name becomes "Object N", no colour one of `COLOURS`, no number the lowest free one up
        to `MOST_OBJECTS`. Raises `SelectionError` if all numbers are used, or the number or the colour is not
        valid.
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
        """A copy in which an object has another name or colour; None keeps the old one."""
        old = self.object(number)
        new_name = old.name if name is None or not name.strip() else name.strip()
        new_colour = old.colour if colour is None else _checked_colour(colour)
        return self._with(replace(old, name=new_name, colour=new_colour))

    def with_prompt(self, number: int, prompt: Prompt) -> Self:
        """A copy with this prompt of an object; it replaces the one on its frame, an empty one removes it.

        Raises `SelectionError` if there is no such object, or the prompt does not fit the clip: a frame
        beyond it, a click outside, only negative clicks without a mask to correct. Raises `FramesError` if a
        given mask has another size than the clip.
        """
        if prompt.is_empty:
            return self.without_prompt(number, prompt.frame_index)
        given = prompt.given
        if given is not None:
            check_same_size((given.height, given.width), (self.height, self.width))
        if given is not None and prompt.selection.is_empty:
            check_frame_index(prompt.frame_index, self.num_frames)
        else:
            check_selection(prompt.selection, shape=self.shape, may_only_remove=given is not None)
        old = self.object(number)
        others = tuple(each for each in old.prompts if each.frame_index != prompt.frame_index)
        return self._with_prompts(old, (*others, prompt))

    def without_prompt(self, number: int, frame_index: int) -> Self:
        """A copy without the prompt of an object on a frame."""
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


@dataclass(frozen=True)
class History:
    """A project with its earlier states, the latest last, at most `MOST_STEPS`, and those taken back."""

    present: Project
    past: tuple[Project, ...] = ()
    future: tuple[Project, ...] = ()

    def do(self, change: Callable[[Project], Project]) -> Self:
        """A copy with a change made, as in ``history.do(Project.add_object)``; an equal one is no step."""
        changed = change(self.present)
        if changed == self.present:
            return self
        return replace(self, present=changed, past=(*self.past, self.present)[-MOST_STEPS:], future=())

    def undo(self) -> Self:
        """A copy one step back; itself if there is no earlier state."""
        if not self.past:
            return self
        return replace(self, present=self.past[-1], past=self.past[:-1], future=(*self.future, self.present))

    def redo(self) -> Self:
        """A copy one step forward again; itself if nothing was taken back."""
        if not self.future:
            return self
        return replace(
            self, present=self.future[-1], past=(*self.past, self.present), future=self.future[:-1]
        )


@dataclass(frozen=True)
class AddedObjects:
    """A project to which masks were added as objects; `numbers` are theirs, by their numbers in the masks."""

    project: Project
    numbers: Mapping[int, int]


def add_given_objects(
    project: Project, *, masks: Mapping[int, Masks], names: Mapping[int, str] = MappingProxyType({})
) -> AddedObjects:
    """Add objects whose masks were made elsewhere, (F, H, W) bool by number, read one after the other.

    Every frame becomes a prompt, also where the object is absent: nothing is followed, and a correction
    changes its own frame alone. Objects without prompts are removed, and their numbers are free again. An
    object keeps its number if no other has had it. Raises `FramesError` if the masks are of another clip, and
    `SelectionError` if there are too many objects.
    """
    untouched = {tracked.number for tracked in project.objects if not tracked.prompts}
    kept = tuple(tracked for tracked in project.objects if tracked.prompts)
    project = replace(project, objects=kept, used_numbers=project.used_numbers - untouched)
    numbers: dict[int, int] = {}
    for given, mask in masks.items():
        if mask.shape != project.shape:
            raise FramesError(
                f"the masks are of a clip of {mask.shape} frames, height and width but this one has "
                f"{project.shape}; pass masks of this clip"
            )
        is_free = given not in project.used_numbers
        project = project.add_object(names.get(given), number=given if is_free else None)
        numbers[given] = project.objects[-1].number
        for index, frame in enumerate(mask):
            project = project.with_prompt(numbers[given], Prompt.of_mask(index, frame))
    return AddedObjects(project, numbers)


def describe_project(project: Project) -> dict[str, Any]:
    """Names and prompts of all objects that have prompts, the latter in the order of their frames.

    ``{"objects": [{"number", "name", "prompts": [...]}]}``, prompts ``{"frame_index", "clicks", "box",
    "mask"}``. "mask" is None, or the area in pixels and the SHA-256 of `PackedMask.bits` of a mask that was
    given or corrected.
    """
    return {
        "objects": [
            {
                "number": tracked.number,
                "name": tracked.name,
                "prompts": [_describe(p) for p in sorted(tracked.prompts, key=lambda p: p.frame_index)],
            }
            for tracked in project.objects
            if tracked.prompts
        ]
    }


def _describe(prompt: Prompt) -> dict[str, Any]:
    given = prompt.given
    digest = None if given is None else {"area": given.area, "sha256": hashlib.sha256(given.bits).hexdigest()}
    return prompt.selection.to_dict() | {"mask": digest}


def _checked_colour(colour: Colour) -> Colour:
    is_colour = len(colour) == 3 and all(isinstance(level, int) and 0 <= level <= 255 for level in colour)
    if not is_colour:
        raise SelectionError(f"the colour is {colour!r}; pass red, green and blue as whole numbers to 255")
    return colour
