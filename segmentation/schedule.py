"""Which prompts answer for which frames of an object: both ways up to the next prompt, never over a cut.

Between two prompts both answer. A selection is followed past a later correction of its mask, so that the
correction can be weighed against what was seen without it (`segmentation.amending`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from segmentation.project import Prompt


@dataclass(frozen=True)
class Span:
    """The frames, 0-based and that of the prompt among them, that one prompt answers for."""

    prompt: Prompt
    within: range


@dataclass(frozen=True)
class Plan:
    """Which prompts of one object are followed where.

    `spans` are of all prompts, each up to the next prompts; `selecting` of those that correct nothing, as if
    there were no later corrections.
    """

    spans: tuple[Span, ...]
    selecting: tuple[Span, ...]

    @property
    def walked(self) -> tuple[Span, ...]:
        """One span for each prompt, as far as it is followed."""
        return (*self.selecting, *(span for span in self.spans if span.prompt.is_correction))

    def before(self, frame_index: int) -> tuple[Span, ...]:
        """The spans that count for a frame without the corrections."""
        return spans_at(self.selecting, frame_index)

    def after(self, frame_index: int) -> tuple[Span, ...]:
        """The spans that count for a frame where every prompt is followed up to the next."""
        return spans_at(self.spans, frame_index)

    def corrected(self, frame_index: int) -> tuple[int, ...]:
        """The nearest corrected frames, 0-based, ascending, at most one on either side, weighed for a frame.

        Empty at a frame with a prompt, and where no selection reaches.
        """
        near = [span.prompt for span in self.after(frame_index)]
        if any(prompt.frame_index == frame_index for prompt in near) or not self.before(frame_index):
            return ()
        return tuple(prompt.frame_index for prompt in near if prompt.is_correction)

    def counting(self, frame_index: int) -> tuple[Span, ...]:
        """The spans of `walked` whose masks a frame needs."""
        needed = {span.prompt for span in self.after(frame_index)}
        if self.corrected(frame_index):
            needed |= {span.prompt for span in self.before(frame_index)}
        return tuple(span for span in self.walked if span.prompt in needed)


@lru_cache(maxsize=64)
def plan_object(prompts: tuple[Prompt, ...], *, num_frames: int, cuts: tuple[int, ...] = ()) -> Plan:
    """Divide a clip among the prompts of one object, the one changed last at the end; see `plan_spans`."""
    selecting = []
    for place, prompt in enumerate(prompts):
        if not prompt.is_correction:
            others = (other for other in prompts[place:] if not other.is_correction)
            known = plan_spans((*prompts[:place], *others), num_frames=num_frames, cuts=cuts)
            selecting += [span for span in known if span.prompt == prompt]
    selecting.sort(key=lambda span: span.prompt.frame_index)
    return Plan(plan_spans(prompts, num_frames=num_frames, cuts=cuts), tuple(selecting))


@lru_cache(maxsize=64)
def plan_spans(
    prompts: tuple[Prompt, ...], *, num_frames: int, cuts: tuple[int, ...] = ()
) -> tuple[Span, ...]:
    """Divide a clip among prompts, at most one for each frame; spans are in the order of the frames.

    `cuts` are the first frames of all scenes but the first, ascending. Between two prompts of a scene the
    spans of both overlap. Scenes without a prompt are not covered.
    """
    followed = sorted(prompt.frame_index for prompt in prompts if not prompt.says_absent)
    spans = []
    for prompt in sorted(prompts, key=lambda prompt: prompt.frame_index):
        index = prompt.frame_index
        within = range(index, index + 1)
        if not prompt.says_absent:
            scene, turn = scene_at(index, cuts=cuts, num_frames=num_frames), bisect_left(followed, index)
            first = followed[turn - 1] + 1 if turn else 0
            stop = followed[turn + 1] if turn + 1 < len(followed) else num_frames
            within = range(max(scene.start, first), min(scene.stop, stop))
        spans.append(Span(prompt, within))
    return tuple(spans)


def spans_at(spans: Sequence[Span], frame_index: int) -> tuple[Span, ...]:
    """The spans that count for a frame: that of its own prompt, else those of the nearest on either side."""
    reaching = tuple(span for span in spans if frame_index in span.within)
    own = tuple(span for span in reaching if span.prompt.frame_index == frame_index)
    return own or reaching


def scene_at(index: int, *, cuts: Sequence[int], num_frames: int) -> range:
    """The frames of the scene that a frame belongs to; `cuts` are the first frames of the other scenes."""
    first = max((cut for cut in cuts if cut <= index), default=0)
    return range(first, min((cut for cut in cuts if cut > index), default=num_frames))


def nearest_confirmed(index: int, *, confirmed: Collection[int], scene: range) -> int | None:
    """The frame with a prompt, in the same scene, that is nearest to a frame; the earlier of two."""
    near = [frame for frame in confirmed if frame in scene]
    return min(near, key=lambda frame: (abs(frame - index), frame), default=None)
