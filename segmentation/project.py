"""Several objects of one clip, each with name, colour and prompts, as immutable values with a history.

Every change gives a new value, so undo and redo are a matter of keeping the old ones. Deliberately absent:
masks; `segmentation.tracks` makes them from a project.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from segmentation.clicks import check_selection
from segmentation.errors import FramesError, SelectionError
from segmentation.prompts import Prompt

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
