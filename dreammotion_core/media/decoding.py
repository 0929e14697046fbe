"""Decoding the frames of a clip that are asked for, and no more than it takes to get them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dreammotion_core.frame_conversion import MAX_SIDE, FrameConverter, check_size
from dreammotion_core.media.limits import gather_frames
from dreammotion_core.values import Frames, Notice
from dreammotion_core.video_timeline import Timeline, damaged, opened_clip, video_stream


def guarded_stream(container: InputContainer, path: Path) -> VideoStream:
    """The video stream, with a decoder that refuses gigantic pictures before allocating them.

    Raises:
        VideoError: if there is no video, or its header already states a size that is not accepted.
    """
    stream = video_stream(container, path)
    if stream.codec_context.width and stream.codec_context.height:
        check_size(stream.codec_context.width, stream.codec_context.height)
    stream.codec_context.options = {"max_pixels": str(MAX_SIDE * MAX_SIDE)}
    return stream


def decode_frames(
    path: Path, timeline: Timeline, indices: NDArray[np.int64]
) -> tuple[Frames, tuple[Notice, ...]]:
    """Decode the frames with the given indices.

    Args:
        path: the clip that ``timeline`` was measured from.
        timeline: its presentation times.
        indices: (n,) indices into the timeline, not decreasing; repeats are allowed.

    Returns:
        (n, H, W, 3) uint8 RGB, upright, and what the conversion changed.

    Raises:
        VideoError: if there is no room for the range, the size is not accepted, or the clip is damaged.
    """
    with opened_clip(path) as container:
        stream = guarded_stream(container, path)
        stream.thread_type = "AUTO"
        wanted = timeline.ticks[indices]
        shown = _on_screen(_timed_frames(container, stream, timeline, int(wanted[0])), wanted.tolist())
        first = next(shown, None)
        if first is None:
            raise damaged(path)
        converter = FrameConverter(first, pixel_aspect=stream.sample_aspect_ratio)
        pictures = _converted(chain([first], shown), converter, count=len(indices), path=path)
        frames = gather_frames(pictures, count=len(indices), size=converter.size)
    return frames, converter.notices()


def _converted(
    shown: Iterator[VideoFrame], converter: FrameConverter, *, count: int, path: Path
) -> Iterator[NDArray[np.uint8]]:
    """The frames as pictures, and an error where one is damaged or there are fewer than expected."""
    for frame in shown:
        if frame.is_corrupt:
            raise damaged(path)
        yield converter.to_rgb(frame)
        count -= 1
    if count:
        raise damaged(path)


def _timed_frames(
    container: InputContainer, stream: VideoStream, timeline: Timeline, first_tick: int
) -> Iterator[tuple[int, VideoFrame]]:
    """Decoded frames with their ticks, beginning at or before ``first_tick`` where that can be had."""
    if not timeline.has_display_times:
        yield from zip(timeline.ticks.tolist(), container.decode(stream), strict=False)
        return
    decoded = container.decode(stream)
    if first_tick > timeline.ticks[0]:
        container.seek(first_tick, stream=stream)
        landed = next(decoded, None)
        if landed is not None and landed.pts is not None and landed.pts <= first_tick:
            decoded = chain([landed], decoded)
        else:
            # Some containers land behind the target: then everything is decoded from the start.
            container.seek(int(timeline.ticks[0]), stream=stream)
            decoded = container.decode(stream)
    for frame in decoded:
        if frame.pts is not None:
            yield frame.pts, frame


def _on_screen(decoded: Iterator[tuple[int, VideoFrame]], wanted: list[int]) -> Iterator[VideoFrame]:
    """For every wanted tick the frame that is shown then; ends early where the frames do."""
    pending = iter(wanted)
    tick = next(pending, None)
    previous: VideoFrame | None = None
    for begin, frame in decoded:
        while tick is not None and tick <= begin:
            yield frame if previous is None or tick == begin else previous
            tick = next(pending, None)
        if tick is None:
            return
        previous = frame
