"""Clips from and to files. Deliberately absent: resizing to a model's grid.

Decoding and encoding use the libraries inside PyAV; no program needs to be installed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dreammotion_core.media.atomic import check_writable, written_atomically
from dreammotion_core.audio_io import MAX_AUDIO_SECONDS, add_audio_stream, audio_frame, read_audio
from dreammotion_core.errors import VideoError
from dreammotion_core.frame_conversion import FrameConverter, check_size
from dreammotion_core.media.decoding import decode_frames, guarded_stream
from dreammotion_core.frame_range import cut_notices, frame_range
from dreammotion_core.values import AudioTrack, Notice, Video
from dreammotion_core.video_timeline import MAX_FPS, MIN_FPS, Timeline, damaged, measure_timeline, opened_clip

_H264_OPTIONS = {"crf": "16", "preset": "medium"}


@dataclass(frozen=True)
class VideoInfo:
    """What a clip is, measured from its content.

    Attributes:
        width, height: pixels, after turning it upright and making its pixels square.
        fps: frames a second; of a clip with variable frame rate the most common one.
        num_frames: frames in the file.
        duration: seconds.
        has_audio: whether there is a sound track.
        rotation: degrees clockwise by which reading turns the stored pictures.
        has_variable_rate: whether reading resamples it to a constant rate.
    """

    width: int
    height: int
    fps: float
    num_frames: int
    duration: float
    has_audio: bool
    rotation: int
    has_variable_rate: bool


def probe_video(path: str | Path) -> VideoInfo:
    """Measure a clip; one frame is decoded.

    Raises:
        VideoError: if `read_video` would refuse the file.
    """
    source = Path(path)
    timeline = measure_timeline(source)
    with opened_clip(source) as container:
        stream = guarded_stream(container, source)
        first = next(container.decode(stream), None)
        if first is None:
            raise damaged(source)
        converter = FrameConverter(first, pixel_aspect=stream.sample_aspect_ratio)
        has_audio = bool(container.streams.audio)
    height, width = converter.size
    return VideoInfo(
        width=width,
        height=height,
        fps=timeline.fps,
        num_frames=len(timeline),
        duration=timeline.duration,
        has_audio=has_audio,
        rotation=converter.rotation,
        has_variable_rate=timeline.is_variable,
    )


def read_video(
    path: str | Path, *, start_frame: int = 0, max_frames: int | None = None, fps: float | None = None
) -> Video:
    """Read a clip, or a range of its frames, at a constant frame rate.

    Only the range asked for is decoded; a long one lies in a temporary file (see `frame_storage`). Every
    change of the material (turned upright, resampled, cut, fewer bits, no transparency, ...) is in the
    ``notices`` of the result.

    Args:
        path: a local file; MP4, MOV, WebM, MKV, AVI, MPEG-TS, GIF and others.
        start_frame: first frame to read, counted from 0 after resampling.
        max_frames: most frames to read; None reads to the end, up to 16 GiB of pixels.
        fps: frames a second of the result, 0.1 to 240; None keeps the clip's own rate.

    Returns:
        The clip, with the sound of the same span.

    Raises:
        VideoError: if the file is no readable video, is cut off, has one frame, sides below 16 or
            above 4096 pixels or beyond 8:1, or the range lies outside the clip.
    """
    if fps is not None and not (math.isfinite(fps) and MIN_FPS <= fps <= MAX_FPS):
        raise VideoError(f"fps is {fps}; pass {MIN_FPS:g} to {MAX_FPS:g} frames a second")
    source = Path(path)
    timeline = measure_timeline(source)
    rate = fps if fps is not None else timeline.fps
    keeps_frames = not timeline.is_variable and is_same_rate(rate, timeline.fps)
    available = np.arange(len(timeline)) if keeps_frames else timeline.sampled_at(rate)
    selected = frame_range(len(available), start_frame=start_frame, max_frames=max_frames)
    frames, changes = decode_frames(source, timeline, available[selected.start : selected.stop])
    begin = float(timeline.ticks[0] * timeline.tick) + start_frame / rate
    audio, losses = _sound(source, begin, len(selected) / rate)
    notices = (*_rate_notices(timeline, rate), *cut_notices(selected, len(available)), *changes, *losses)
    return Video(frames, fps=rate, audio=audio, notices=notices)


def write_video(video: Video, path: str | Path) -> Path:
    """Write a clip as H.264 (yuv420p, BT.709, index in front) with AAC sound.

    An odd width or height gets its last column or row repeated once, because the format needs even
    sides; no pixel of the clip is moved or scaled.

    Args:
        video: the clip.
        path: a name ending in ``.mp4``; its folder is made if missing, an older file is replaced.

    Returns:
        The path written.

    Raises:
        VideoError: if the name does not end in ``.mp4``, or the frames are too small or too large.
        OutputError: if the file cannot be written; nothing is left behind.
    """
    target = Path(path)
    check_target(target)
    check_size(video.size[1], video.size[0])
    with written_atomically(target) as temporary:
        try:
            with av.open(str(temporary.resolve()), "w", options={"movflags": "+faststart"}) as container:
                _encode(video, container)
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error
    return target


def check_target(path: str | Path) -> None:
    """Refuse early a place that `write_video` could not write to.

    Raises:
        VideoError: if the name does not end in ``.mp4``.
        OutputError: if it is a folder, or in a folder that may not be written to.
    """
    target = Path(path)
    if target.suffix.lower() != ".mp4":
        raise VideoError(f"the output is called {target.name!r}; choose a name that ends in .mp4")
    check_writable(target)


def is_same_rate(rate: float, other: float) -> bool:
    """Whether two frame rates differ by no more than the rounding of what files state."""
    return abs(rate - other) <= 1e-3 * other


def _sound(path: Path, begin: float, duration: float) -> tuple[AudioTrack | None, tuple[Notice, ...]]:
    if duration > MAX_AUDIO_SECONDS:
        text = f"The sound was left out: it is kept for up to {MAX_AUDIO_SECONDS // 60} minutes."
        return None, (Notice("audio_dropped", text),)
    try:
        return read_audio(path, start=begin, duration=duration), ()
    except VideoError:
        return None, (Notice("audio_dropped", "The sound was left out: it cannot be decoded."),)


def _rate_notices(timeline: Timeline, rate: float) -> Iterator[Notice]:
    if timeline.is_assumed:
        yield Notice("assumed_fps", f"The file states no frame rate; {timeline.fps:g} a second are assumed.")
    if timeline.is_variable:
        yield Notice("variable_fps", f"Its frame rate varies; it was resampled to {rate:.6g} a second.")
    elif not is_same_rate(rate, timeline.fps):
        yield Notice("resampled", f"It was resampled from {timeline.fps:.6g} to {rate:.6g} frames a second.")


def _encode(video: Video, container: OutputContainer) -> None:
    fps = Fraction(video.fps).limit_denominator(1001)
    pictures = _add_picture_stream(container, video.size, fps)
    sound = None if video.audio is None else add_audio_stream(container, video.audio)
    for index, picture in enumerate(video.frames):
        container.mux(pictures.encode(_to_yuv(picture)))
        if video.audio is not None and sound is not None:
            begin, end = (round(k / fps * video.audio.sample_rate) for k in (index, index + 1))
            chunk = audio_frame(video.audio, begin=begin, end=end)
            if chunk is not None:
                container.mux(sound.encode(chunk))
    container.mux(pictures.encode(None))
    if sound is not None:
        container.mux(sound.encode(None))


def _add_picture_stream(container: OutputContainer, size: tuple[int, int], fps: Fraction) -> VideoStream:
    stream = container.add_stream("libx264", rate=fps, options=_H264_OPTIONS)
    stream.height, stream.width = (side + side % 2 for side in size)
    stream.pix_fmt = "yuv420p"
    codec = stream.codec_context
    codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
    codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def _to_yuv(picture: NDArray[np.uint8]) -> VideoFrame:
    height, width, _ = picture.shape
    even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = VideoFrame.from_ndarray(even, format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
