"""Which prompt answers for which frames of an object: pure, so that a plan can be made again at any time.

A prompt reaches both ways up to the next frame that the user has confirmed with a prompt, and never over
a scene cut. Between two prompts the one that was made or changed last answers. A prompt that says
"not here" answers for its own frame alone, because absence there says nothing about the frames round it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from segmentation.prompts import Prompt


@dataclass(frozen=True)
class Span:
    """The frames that one prompt answers for.

    Attributes:
        prompt: to be followed.
        within: 0-based numbers of the frames, that of the prompt among them.
    """

    prompt: Prompt
    within: range


@lru_cache(maxsize=64)
def plan_spans(
    prompts: tuple[Prompt, ...], *, num_frames: int, cuts: tuple[int, ...] = ()
) -> tuple[Span, ...]:
    """Divide a clip among the prompts of one object.

    Args:
        prompts: at most one for each frame, in the order in which they were made.
        num_frames: of the clip.
        cuts: first frames of all scenes but the first, ascending.

    Returns:
        In the order of the frames, without overlap except that a span may contain the frame of a prompt
        that says "not here", whose own span comes after it and counts. Scenes without a prompt are not
        covered.
    """
    followed = [prompt for prompt in prompts if not prompt.says_absent]
    spans = [Span(prompt, _reach(prompt, followed, num_frames, cuts)) for prompt in followed]
    absent = [
        Span(prompt, range(prompt.frame_index, prompt.frame_index + 1))
        for prompt in prompts
        if prompt.says_absent
    ]
    return tuple(sorted(spans, key=_start) + sorted(absent, key=_start))


def span_at(spans: Sequence[Span], frame_index: int) -> Span | None:
    """The span that counts for a frame; None where no prompt reaches it."""
    return next((span for span in reversed(spans) if frame_index in span.within), None)


def _start(span: Span) -> int:
    return span.within.start


def _reach(prompt: Prompt, followed: Sequence[Prompt], num_frames: int, cuts: Sequence[int]) -> range:
    index, turn = prompt.frame_index, followed.index(prompt)
    scene = scene_at(index, cuts=cuts, num_frames=num_frames)
    first, stop = scene.start, scene.stop
    for other_turn, other in enumerate(followed):
        is_later = other_turn > turn
        if first <= other.frame_index < index:
            first = index if is_later else max(first, other.frame_index + 1)
        if index < other.frame_index < stop:
            stop = index + 1 if is_later else min(stop, other.frame_index)
    return range(first, stop)


def scene_at(index: int, *, cuts: Sequence[int], num_frames: int) -> range:
    """The frames of the scene that a frame belongs to.

    Args:
        index: 0-based frame.
        cuts: first frames of all scenes but the first, ascending.
        num_frames: of the clip.
    """
    first = max((cut for cut in cuts if cut <= index), default=0)
    return range(first, min((cut for cut in cuts if cut > index), default=num_frames))


def nearest_confirmed(index: int, *, confirmed: Collection[int], scene: range) -> int | None:
    """The confirmed frame of a scene that is nearest to a frame, the earlier of two; None without any.

    Args:
        index: 0-based frame.
        confirmed: 0-based frames with a prompt.
        scene: of the frame, from `scene_at`.
    """
    near = [frame for frame in confirmed if frame in scene]
    return min(near, key=lambda frame: (abs(frame - index), frame), default=None)
