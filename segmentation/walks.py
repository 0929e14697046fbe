"""What following prompts has given so far, kept by prompt, so that nothing is followed twice.

What following a prompt gives depends on the prompt alone, unless it is stopped: what was cancelled goes on
from the last mask that shows the object. A segmenter may learn its look anew from there, so that what comes
then may differ a little from one walk without a stop.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from segmentation.base import FrameMask, SegmentationSession
from segmentation.prompts import PackedMask, Prompt
from segmentation.schedule import Span

MOST_WALKS = 64
"""Prompts whose masks are kept, the ones in use always among them."""

Walk = dict[int, PackedMask]
"""What following one prompt has given so far, by frame; without gaps round the frame of the prompt."""


class Walks:
    """The masks of all prompts of a clip. While one thread follows, others may preview and look.

    Args:
        session: the clip, opened by any segmenter.
    """

    def __init__(self, session: SegmentationSession) -> None:
        self._session = session
        self._walks: dict[Prompt, Walk] = {}

    def __len__(self) -> int:
        return len(self._walks)

    def preview(self, prompt: Prompt) -> FrameMask:
        """What a prompt gives on its own frame, (H, W) bool; at once where it was asked for before."""
        index = prompt.frame_index
        found = self._walks.get(prompt, {}).get(index)
        if found is None:
            found = PackedMask.of(prompt.mask_from(self._session))
            # Another thread may have begun the same walk meanwhile: that one stays.
            found = self._walks.setdefault(prompt, {}).setdefault(index, found)
        return found.unpacked()

    def go(self, span: Span) -> Iterator[int]:
        """Follow a prompt through its span and give the numbers of the frames that become known."""
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
        """What a prompt gives on a frame, or gave before its latest change.

        Args:
            span: of the prompt.
            frame_index: 0-based.
            prompts: of its object, the one changed last at the end.
        """
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
        """Let the oldest go of those beyond the number kept, but never one that is used."""
        # A copy, because a preview in another thread may add one meanwhile.
        unused = [prompt for prompt in list(self._walks) if prompt not in used]
        for prompt in unused[: max(0, len(self._walks) - MOST_WALKS)]:
            del self._walks[prompt]
