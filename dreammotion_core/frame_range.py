"""Which frames of a clip are used."""

from __future__ import annotations

from dreammotion_core.errors import VideoError
from dreammotion_core.values import Notice


def frame_range(num_frames: int, *, start_frame: int, max_frames: int | None) -> range:
    """The frames from ``start_frame`` on, at most ``max_frames`` of them.

    Args:
        num_frames: frames that there are.
        start_frame: first frame, counted from 0.
        max_frames: most frames; None means all that follow.

    Raises:
        VideoError: if the range is empty or begins outside the clip.
    """
    if max_frames is not None and max_frames < 1:
        raise VideoError(f"max_frames is {max_frames}; pass at least 1, or None for all frames")
    if not 0 <= start_frame < num_frames:
        raise VideoError(
            f"start_frame is {start_frame}, but there are {num_frames:,} frames; pass 0 to {num_frames - 1}"
        )
    stop = num_frames if max_frames is None else min(num_frames, start_frame + max_frames)
    return range(start_frame, stop)


def cut_notices(selected: range, num_frames: int) -> tuple[Notice, ...]:
    """What the range leaves out, if anything."""
    if len(selected) == num_frames:
        return ()
    text = f"Of its {num_frames:,} frames, {selected.start:,} to {selected.stop - 1:,} are used."
    return (Notice("cut", text),)
