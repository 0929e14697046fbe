"""Which prompts answer for which frames of an object: pure, so that a plan can be made again at any time.

A prompt reaches both ways up to the next frame that the user has confirmed with a prompt, and never over
a scene cut; between two prompts both answer. A prompt that says "not here" answers for its own frame
alone, because absence there says nothing about the frames round it.
"""

from __future__ import annotations

from bisect import bisect_left
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


@dataclass(frozen=True)
class UnreachedScene:
    """A scene that no prompt of an object reaches, because nothing is followed over a cut.

    Attributes:
        number: of the object.
        within: 0-based numbers of the scene's frames.
        message: the same for people, with what to do.
    """

    number: int
    within: range
    message: str


@lru_cache(maxsize=64)
def plan_spans(
    prompts: tuple[Prompt, ...], *, num_frames: int, cuts: tuple[int, ...] = ()
) -> tuple[Span, ...]:
    """Divide a clip among the prompts of one object.

    Args:
        prompts: at most one for each frame.
        num_frames: of the clip.
        cuts: first frames of all scenes but the first, ascending.

    Returns:
        In the order of the frames. Between two prompts of a scene the spans of both overlap. Scenes without
        a prompt are not covered.
    """
    followed = sorted(prompt.frame_index for prompt in prompts if not prompt.says_absent)
    spans = (Span(prompt, _reach(prompt, followed, num_frames, cuts)) for prompt in prompts)
    return tuple(sorted(spans, key=lambda span: span.prompt.frame_index))


def spans_at(spans: Sequence[Span], frame_index: int) -> tuple[Span, ...]:
    """The spans that count for a frame: that of its own prompt, or those of the nearest on either side."""
    reaching = tuple(span for span in spans if frame_index in span.within)
    own = tuple(span for span in reaching if span.prompt.frame_index == frame_index)
    return own or reaching


def _reach(prompt: Prompt, followed: Sequence[int], num_frames: int, cuts: Sequence[int]) -> range:
    index = prompt.frame_index
    if prompt.says_absent:
        return range(index, index + 1)
    scene = scene_at(index, cuts=cuts, num_frames=num_frames)
    turn = bisect_left(followed, index)
    first = followed[turn - 1] + 1 if turn else 0
    stop = followed[turn + 1] if turn + 1 < len(followed) else num_frames
    return range(max(scene.start, first), min(scene.stop, stop))


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
