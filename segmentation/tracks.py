"""The masks of all objects of a project: streamed as they become known, kept, and never made twice.

A correction costs only the frames that it answers for (`segmentation.schedule`) and is weighed against what
was seen without it (`segmentation.amending`). Works with every `SegmentationSession`.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from segmentation.amending import Amendments, blend_masks
from segmentation.base import FrameMask, Frames, PreparingSession, SegmentationSession
from segmentation.clicks import Selection, check_frame_index
from segmentation.cuts import find_cuts
from segmentation.errors import FramesError
from segmentation.project import PackedMask, Project, Prompt, TrackedObject
from segmentation.schedule import Plan, Span, plan_object

MOST_WALKS = 64  # Prompts whose masks are kept; those in use are always kept.


@dataclass(frozen=True, eq=False)
class TrackedMask:
    """A mask, (H, W) bool, that has just become known; empty where the object is lost."""

    frame_index: int
    number: int
    mask: FrameMask


@dataclass(frozen=True)
class UnreachedScene:
    """A scene, by its 0-based frames, that no prompt of an object reaches, because a cut ends following."""

    number: int
    within: range
    message: str


class Tracks:
    """The masks of one clip's projects. One `update` at a time; reading meanwhile is fine.

    `session` is the clip, opened by any segmenter, `frames` the same (F, H, W, 3) uint8 RGB.
    """

    def __init__(self, session: SegmentationSession, frames: Frames) -> None:
        self._session = session
        self.frames = frames
        self._walks = Walks(session)
        self._amendments = Amendments()

    def new_project(self) -> Project:
        """A project of this clip without objects."""
        num_frames, height, width = self.frames.shape[:3]
        return Project(num_frames=num_frames, height=height, width=width)

    @cached_property
    def cuts(self) -> tuple[int, ...]:
        """First frames of all scenes but the first; searched once, when first asked for."""
        return find_cuts(self.frames)

    def prepare(self, frame_index: int) -> None:
        """Get a frame ready for a click, if the segmenter can; may take a second."""
        if isinstance(self._session, PreparingSession):
            self._session.prepare(frame_index)

    def preview(self, prompt: Prompt) -> FrameMask:
        """The mask of a prompt on its own frame, (H, W) bool; instant if it was asked for before.

        Raises `SelectionError` if the prompt is empty, or only removes from an object that is not there.
        """
        return self._walks.preview(prompt)

    def update(self, project: Project) -> Generator[TrackedMask, None, None]:
        """Make the masks that a project still lacks. Closing the iterator cancels; what is done stays.

        The object and the prompt that were changed last come first, each from its own frame onwards and
        then backwards. Raises `FramesError`, on the call, if the project belongs to another clip.
        """
        self._check(project)
        return self._update(project)

    def _update(self, project: Project) -> Generator[TrackedMask, None, None]:
        self._walks.forget_unused({prompt for tracked in project.objects for prompt in tracked.prompts})
        for tracked in sorted(project.objects, key=lambda each: each.last_change, reverse=True):
            waiting, plan, prompts = [], self._plan(tracked), tracked.prompts
            for span in sorted(plan.walked, key=lambda each: prompts.index(each.prompt), reverse=True):
                for index in self._walks.go(span):
                    counting = plan.counting(index)
                    # Where several count, the mask is known with the last of them.
                    if span in counting and self._walks.have(counting, index):
                        mask = self._settled(tracked, index)
                        if mask is None:
                            waiting.append(index)
                        else:
                            yield TrackedMask(index, tracked.number, mask)
            for index in waiting:
                yield TrackedMask(index, tracked.number, self._mask(tracked, index))

    def missing_frames(self, project: Project, *, number: int) -> tuple[int, ...]:
        """The frames, ascending, on which `update` would make a mask of an object.

        Raises `SelectionError` if there is no such object, and `FramesError` if the project is of another
        clip.
        """
        self._check(project)
        plan = self._plan(project.object(number))
        reached = {index for span in plan.walked for index in span.within}
        return tuple(sorted(i for i in reached if not self._walks.have(plan.counting(i), i)))

    def num_missing(self, project: Project) -> int:
        """How many masks `update` would make, over all objects."""
        return sum(len(self.missing_frames(project, number=each.number)) for each in project.objects)

    def mask(self, project: Project, *, number: int, frame_index: int) -> FrameMask:
        """The object on a frame, (H, W) bool, as far as it is known.

        Where `update` has not come yet, the mask from before the latest change of a prompt; empty where
        nothing is known. Raises `SelectionError` if there is no such object or frame, and `FramesError` if
        the project belongs to another clip.
        """
        self._check(project)
        check_frame_index(frame_index, len(self.frames))
        return self._mask(project.object(number), frame_index)

    def labels(self, project: Project, *, frame_index: int) -> NDArray[np.uint8]:
        """The numbers (H, W) of all objects on a frame, 0 on the background.

        A pixel of several objects gets the one whose prompts were changed last.
        """
        self._check(project)
        check_frame_index(frame_index, len(self.frames))
        labels = np.zeros(self.frames.shape[1:3], np.uint8)
        for tracked in sorted(project.objects, key=lambda each: each.last_change):
            labels[self._mask(tracked, frame_index)] = tracked.number
        return labels

    def unreached_scenes(self, project: Project) -> tuple[UnreachedScene, ...]:
        """The scenes into which an object is not followed, in the order of objects and scenes."""
        self._check(project)
        found = []
        for tracked in project.objects:
            prompted = tracked.confirmed_frames
            for first, stop in pairwise((0, *self.cuts, len(self.frames))):
                scene = range(first, stop)
                if prompted and not any(index in scene for index in prompted):
                    message = (
                        f"Frames {first + 1} to {stop} show another scene; "
                        f"if {tracked.name} is in it, click it there once."
                    )
                    found.append(UnreachedScene(tracked.number, scene, message))
        return tuple(found)

    def _mask(self, tracked: TrackedObject, frame_index: int) -> FrameMask:
        settled = self._settled(tracked, frame_index)
        if settled is not None:
            return settled
        return self._blended(tracked, frame_index, self._plan(tracked).after(frame_index))

    def _settled(self, tracked: TrackedObject, frame_index: int) -> FrameMask | None:
        """The mask from all spans that count for a frame; None as long as more is to come."""
        plan = self._plan(tracked)
        if not self._walks.have(plan.counting(frame_index), frame_index):
            return None
        corrected = plan.corrected(frame_index)
        if not corrected:
            return self._blended(tracked, frame_index, plan.after(frame_index))
        seen = partial(self._seen, tracked)
        return self._amendments.amended(tracked.prompts, frame_index, corrected=corrected, seen=seen)

    def _seen(self, tracked: TrackedObject, frame_index: int) -> tuple[FrameMask, FrameMask] | None:
        """A frame without the corrections, and as it is followed from them too; None if unknown."""
        plan = self._plan(tracked)
        before, after = plan.before(frame_index), plan.after(frame_index)
        if not self._walks.have((*before, *after), frame_index):
            return None
        return self._blended(tracked, frame_index, before), self._blended(tracked, frame_index, after)

    def _blended(self, tracked: TrackedObject, frame_index: int, spans: tuple[Span, ...]) -> FrameMask:
        """One mask from those known of one or two spans; empty where none is known."""
        found = [(span, self._walks.known(span, frame_index, prompts=tracked.prompts)) for span in spans]
        known = [(span.prompt.frame_index, packed.unpacked()) for span, packed in found if packed is not None]
        if not known:
            return np.zeros(self.frames.shape[1:3], np.bool_)
        if len(known) == 1:
            return known[0][1]
        (first, before), (last, after) = known
        return blend_masks(before, after, share=(frame_index - first) / (last - first))

    def _plan(self, tracked: TrackedObject) -> Plan:
        return plan_object(tracked.prompts, num_frames=len(self.frames), cuts=self.cuts)

    def _check(self, project: Project) -> None:
        expected = self.frames.shape[:3]
        if project.shape != expected:
            raise FramesError(
                f"the project is of a clip of {project.shape} frames, height and width but this one has "
                f"{expected}; start from new_project()"
            )


def begin_prompt(tracks: Tracks, *, project: Project, number: int, frame_index: int) -> Prompt:
    """The prompt that a user's next click or box on a 0-based frame adds to.

    Where a followed mask is seen, it becomes part of the prompt, so that the click corrects it instead of
    selecting anew, and a negative click alone is enough. A prompt "not here" is replaced. The result is not
    part of the project until `Project.with_prompt`. Raises `SelectionError` if there is no such object or
    frame, and `FramesError` if the project belongs to another clip.
    """
    earlier = project.object(number).prompt_on(frame_index)
    if earlier is not None and not earlier.says_absent:
        return earlier
    mask = tracks.mask(project, number=number, frame_index=frame_index)
    return Prompt.of_mask(frame_index, mask) if mask.any() else Prompt(Selection(frame_index))


Walk = dict[int, PackedMask]
"""The masks that following one prompt has given so far, by frame; without gaps round its own frame."""


class Walks:
    """The masks of all prompts of a clip. While one thread follows, others may preview and look.

    A walk depends on its prompt alone, unless it was cancelled: then it goes on from the last mask that shows
    the object. A segmenter may learn its look anew there, so that the masks differ a little.
    """

    def __init__(self, session: SegmentationSession) -> None:
        self._session = session
        self._walks: dict[Prompt, Walk] = {}

    def __len__(self) -> int:
        return len(self._walks)

    def preview(self, prompt: Prompt) -> FrameMask:
        """The mask of a prompt on its own frame; see `Tracks.preview`."""
        index, given = prompt.frame_index, prompt.given
        found = self._walks.get(prompt, {}).get(index)
        if found is None:
            if given is not None and prompt.selection.is_empty:
                found = given
            else:
                prior = None if given is None else given.unpacked()
                found = PackedMask.of(self._session.mask_at(prompt.selection, prior=prior))
            # Another thread may have begun the same walk meanwhile: that one stays.
            found = self._walks.setdefault(prompt, {}).setdefault(index, found)
        return found.unpacked()

    def go(self, span: Span) -> Iterator[int]:
        """Follow a prompt through its span and yield the numbers of the frames that become known."""
        prompt, start = span.prompt, span.prompt.frame_index
        if start not in self._walks.get(prompt, {}):
            self.preview(prompt)
            yield start
        walk = self._walks[prompt]
        yield from self._go_on(walk, range(start, span.within.stop))
        yield from self._go_on(walk, range(start, span.within.start - 1, -1))

    def _go_on(self, walk: Walk, indices: range) -> Iterator[int]:
        """Follow one way, from the last frame on which the object was seen."""
        missing = [index for index in indices if index not in walk]
        if not missing:
            return
        seen = [index for index in indices if index in walk]
        source = next((index for index in reversed(seen) if walk[index].area), seen[0])
        within = range(min(source, missing[-1]), max(source, missing[-1]) + 1)
        for index, found in self._session.follow(source, walk[source].unpacked(), within=within):
            if index not in walk:
                walk[index] = PackedMask.of(found)
                yield index

    def have(self, spans: Collection[Span], frame_index: int) -> bool:
        """Whether each of these prompts has been followed to a frame."""
        return all(frame_index in self._walks.get(span.prompt, {}) for span in spans)

    def known(self, span: Span, frame_index: int, *, prompts: Sequence[Prompt]) -> PackedMask | None:
        """The mask that a prompt gives on a frame, or gave before its latest change."""
        if frame_index == span.prompt.frame_index and span.prompt.selection.is_empty:
            return span.prompt.given
        current = self._walks.get(span.prompt, {}).get(frame_index)
        if current is not None:
            return current
        walks = [(old, walk[frame_index]) for old, walk in list(self._walks.items()) if frame_index in walk]
        for prompt in (span.prompt, *reversed(prompts)):
            for old, packed in reversed(walks):
                if old.is_stage_of(prompt):
                    return packed
        return None

    def forget_unused(self, used: Collection[Prompt]) -> None:
        """Drop the oldest walks beyond `MOST_WALKS`, but none in use."""
        # A copy, because a preview in another thread may add one meanwhile.
        unused = [prompt for prompt in list(self._walks) if prompt not in used]
        for prompt in unused[: max(0, len(self._walks) - MOST_WALKS)]:
            del self._walks[prompt]
