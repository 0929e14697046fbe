"""What counts for each frame of one object: the prompts that select it, and corrections weighed against them.

A prompt that corrects a mask which was followed to its frame replaces no selection: the selections round it
are still followed past it, so that what a correction says can be weighed against what was seen without it.
A selection that was changed after the correction is followed up to it only, like everything that changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from segmentation.prompts import Prompt
from segmentation.schedule import Span, plan_spans, spans_at


@dataclass(frozen=True)
class Plan:
    """Which prompts are followed where.

    Attributes:
        spans: of all prompts, each up to the next confirmed frames.
        selecting: of those that correct nothing, as if there were no later corrections.
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
        """The nearest corrected frames, at most one on either side, that are weighed for a frame.

        Returns:
            0-based, ascending; empty at a confirmed frame, and where nothing was seen without corrections.
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
    spans = []
    for place, prompt in enumerate(prompts):
        if not prompt.is_correction:
            others = (other for other in prompts[place:] if not other.is_correction)
            known = plan_spans((*prompts[:place], *others), num_frames=num_frames, cuts=cuts)
            spans += [span for span in known if span.prompt == prompt]
    spans.sort(key=lambda span: span.prompt.frame_index)
    return Plan(plan_spans(prompts, num_frames=num_frames, cuts=cuts), tuple(spans))
