"""The masks of all objects of a project: streamed as they become known, kept, and never made twice.

What following a prompt gives depends on the prompt and the frame alone, so it is kept by prompt: a
correction costs only the frames that it answers for (see `segmentation.spans`), undo and redo cost nothing,
and what was cancelled goes on where it stopped. Between two confirmed frames both are followed to each
other, and their masks blended. Works with every `SegmentationSession`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from segmentation.base import FrameMask, Frames, PreparingSession, SegmentationSession
from segmentation.blending import blend_masks
from segmentation.cuts import find_cuts
from segmentation.errors import FramesError, SelectionError
from segmentation.project import Project, TrackedObject
from segmentation.prompts import PackedMask, Prompt
from segmentation.spans import Span, UnreachedScene, plan_spans, spans_at

MOST_WALKS = 64
"""Prompts whose masks are kept, the ones in use always among them."""

Walk = dict[int, PackedMask]
"""What following one prompt has given so far, by frame; without gaps round the frame of the prompt."""


@dataclass(frozen=True, eq=False)
class TrackedMask:
    """A mask that has just become known.

    Attributes:
        frame_index: 0-based.
        number: of the object.
        mask: (H, W) bool; empty where the object is lost.
    """

    frame_index: int
    number: int
    mask: FrameMask


class Tracks:
    """The masks of one clip's projects. One `update` at a time; reading meanwhile is fine.

    Args:
        session: the clip, opened by any segmenter.
        frames: (F, H, W, 3) uint8 RGB, the same that the session has; kept as `frames`.
    """

    def __init__(self, session: SegmentationSession, frames: Frames) -> None:
        self._session = session
        self.frames = frames
        self._walks: dict[Prompt, Walk] = {}

    def new_project(self) -> Project:
        """A project of this clip without objects."""
        num_frames, height, width = self.frames.shape[:3]
        return Project(num_frames=num_frames, height=height, width=width)

    @cached_property
    def cuts(self) -> tuple[int, ...]:
        """First frames of all scenes but the first; looked for once, when it is first asked for."""
        return find_cuts(self.frames)

    def prepare(self, frame_index: int) -> None:
        """Get a frame ready for a click, if the segmenter can; may take a second."""
        if isinstance(self._session, PreparingSession):
            self._session.prepare(frame_index)

    def preview(self, prompt: Prompt) -> FrameMask:
        """What a prompt gives on its own frame, (H, W) bool; at once where it was asked for before.

        Raises:
            SelectionError: as `SegmentationSession.mask_at`.
        """
        walk = self._walks.get(prompt, {})
        if prompt.frame_index not in walk:
            walk[prompt.frame_index] = PackedMask.of(prompt.mask_from(self._session))
            self._walks[prompt] = walk
        return walk[prompt.frame_index].unpacked()

    def update(self, project: Project) -> Generator[TrackedMask, None, None]:
        """Make the masks that a project still lacks. Closing the iterator cancels; what is done stays.

        The object and the prompt that were changed last come first, each from its own frame onwards and
        then backwards.

        Raises:
            FramesError: on the call, if the project belongs to another clip.
        """
        self._check(project)
        return self._update(project)

    def _update(self, project: Project) -> Generator[TrackedMask, None, None]:
        self._forget_unused(project)
        for tracked in sorted(project.objects, key=_last_change, reverse=True):
            spans = self._spans(tracked)
            for span in sorted(spans, key=lambda each: tracked.prompts.index(each.prompt), reverse=True):
                for index in self._walk(span):
                    counting = spans_at(spans, index)
                    # Where two count, the mask is known with the second of them.
                    if span in counting and self._are_walked(counting, index):
                        yield TrackedMask(index, tracked.number, self._blended(tracked, index, counting))

    def missing_frames(self, project: Project, *, number: int) -> tuple[int, ...]:
        """The frames, ascending, on which `update` would make a mask of an object.

        Raises:
            SelectionError: if there is no such object.
            FramesError: if the project belongs to another clip.
        """
        self._check(project)
        spans = self._spans(project.object(number))
        reached = {index for span in spans for index in span.within}
        return tuple(sorted(i for i in reached if not self._are_walked(spans_at(spans, i), i)))

    def num_missing(self, project: Project) -> int:
        """How many masks `update` would make, over all objects."""
        return sum(len(self.missing_frames(project, number=each.number)) for each in project.objects)

    def mask(self, project: Project, *, number: int, frame_index: int) -> FrameMask:
        """The object on a frame, as far as it is known.

        Returns:
            (H, W) bool. Where `update` has not come yet, what was there before the latest change of a
            prompt; empty where nothing is known.

        Raises:
            SelectionError: if there is no such object or frame.
            FramesError: if the project belongs to another clip.
        """
        self._check(project, frame_index)
        tracked = project.object(number)
        return self._blended(tracked, frame_index, spans_at(self._spans(tracked), frame_index))

    def labels(self, project: Project, *, frame_index: int) -> NDArray[np.uint8]:
        """All objects on a frame without overlap.

        Returns:
            (H, W) numbers of the objects, 0 where there is none. A pixel that several claim belongs to
            the one whose prompts were changed last.
        """
        self._check(project, frame_index)
        labels = np.zeros(self.frames.shape[1:3], np.uint8)
        for tracked in sorted(project.objects, key=_last_change):
            labels[self.mask(project, number=tracked.number, frame_index=frame_index)] = tracked.number
        return labels

    def unreached_scenes(self, project: Project) -> tuple[UnreachedScene, ...]:
        """Where a scene cut keeps an object from being followed, in the order of objects and scenes."""
        self._check(project)
        bounds = (0, *self.cuts, len(self.frames))
        scenes = [range(first, stop) for first, stop in pairwise(bounds)]
        found = []
        for tracked in project.objects:
            prompted = tracked.confirmed_frames
            for scene in scenes:
                if prompted and not any(index in scene for index in prompted):
                    message = (
                        f"Frames {scene.start + 1} to {scene.stop} show another scene; "
                        f"if {tracked.name} is in it, click it there once."
                    )
                    found.append(UnreachedScene(tracked.number, scene, message))
        return tuple(found)

    def _are_walked(self, spans: tuple[Span, ...], frame_index: int) -> bool:
        return all(frame_index in self._walks.get(span.prompt, {}) for span in spans)

    def _walk(self, span: Span) -> Iterator[int]:
        """Follow a prompt and give the numbers of the frames that become known."""
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

    def _blended(self, tracked: TrackedObject, frame_index: int, spans: tuple[Span, ...]) -> FrameMask:
        """What is known of a frame; empty where nothing is."""
        found = [(span.prompt.frame_index, self._known(tracked, span, frame_index)) for span in spans]
        known = [(start, packed.unpacked()) for start, packed in found if packed is not None]
        if not known:
            return np.zeros(self.frames.shape[1:3], np.bool_)
        if len(known) == 1:
            return known[0][1]
        (first, before), (last, after) = known
        return blend_masks(before, after, share=(frame_index - first) / (last - first))

    def _known(self, tracked: TrackedObject, span: Span, frame_index: int) -> PackedMask | None:
        """What a prompt gives on a frame, or gave before its latest change."""
        if frame_index == span.prompt.frame_index and span.prompt.selection.is_empty:
            return span.prompt.given
        current = self._walks.get(span.prompt, {}).get(frame_index)
        if current is not None:
            return current
        walks = [(old, walk[frame_index]) for old, walk in list(self._walks.items()) if frame_index in walk]
        for prompt in (span.prompt, *reversed(tracked.prompts)):
            for old, packed in reversed(walks):
                if old.is_stage_of(prompt):
                    return packed
        return None

    def _spans(self, tracked: TrackedObject) -> tuple[Span, ...]:
        return plan_spans(tracked.prompts, num_frames=len(self.frames), cuts=self.cuts)

    def _forget_unused(self, project: Project) -> None:
        used = {prompt for tracked in project.objects for prompt in tracked.prompts}
        unused = [prompt for prompt in self._walks if prompt not in used]
        for prompt in unused[: max(0, len(self._walks) - MOST_WALKS)]:
            del self._walks[prompt]

    def _check(self, project: Project, frame_index: int = 0) -> None:
        expected, found = self.frames.shape[:3], (project.num_frames, project.height, project.width)
        if expected != found:
            raise FramesError(
                f"the project is of a clip of {found} frames, height and width but this one has {expected}; "
                "start from new_project()"
            )
        if not 0 <= frame_index < len(self.frames):
            raise SelectionError(
                f"frame {frame_index} is outside; choose one from 0 to {len(self.frames) - 1}"
            )


def _last_change(tracked: TrackedObject) -> int:
    return tracked.last_change
