"""Opening untrusted clips, and measuring when each of their frames is shown.

Nothing here decodes a picture. Frame counts and rates are measured from the packets, because a
header may say anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dreammotion_core.errors import VideoError

MIN_FPS, MAX_FPS = 0.1, 240.0
MAX_SPAN_SECONDS = 24 * 3600
ASSUMED_FPS = 24.0

# Files that hold their own data. Playlists, image sequences and devices could reach beyond the file.
CONTAINER_FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "ogg"),
    *("flv", "asf", "gif", "apng", "png_pipe", "jpeg_pipe", "h264", "hevc", "wav", "mp3"),
)
# Their decoded frames come in display order but carry no trustworthy presentation times.
_WITHOUT_DISPLAY_TIMES = frozenset({"avi", "h264", "hevc", "png_pipe", "jpeg_pipe"})


@dataclass(frozen=True, eq=False)
class Timeline:
    """When the frames of a clip are shown, as measured from its packets.

    Attributes:
        ticks: (F,) presentation times in units of ``tick``, not decreasing.
        tick: seconds a tick.
        fps: frames a second; of a variable clip the most common rate.
        is_variable: whether the intervals between frames differ.
        has_display_times: whether decoded frames carry these times; else they are counted.
        is_assumed: whether the file states no time at all and `ASSUMED_FPS` is used.
    """

    ticks: NDArray[np.int64]
    tick: Fraction
    fps: float
    is_variable: bool = False
    has_display_times: bool = True
    is_assumed: bool = False

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def duration(self) -> float:
        """Seconds from the first frame's start to the last frame's end."""
        return float((self.ticks[-1] - self.ticks[0]) * self.tick) + 1 / self.fps

    def sampled_at(self, fps: float) -> NDArray[np.int64]:
        """Which frame is on screen at every 1/``fps`` seconds.

        Returns:
            (n,) indices of frames, not decreasing.
        """
        count = max(1, int(np.ceil(self.duration * fps - 1e-6)))
        # One tick of slack: containers round presentation times to whole ticks.
        wanted = np.arange(count) / (fps * float(self.tick)) + 1
        return np.searchsorted(self.ticks - self.ticks[0], wanted, side="right") - 1


@contextmanager
def opened_clip(path: Path) -> Iterator[InputContainer]:
    """Open a local file that nobody vouches for, and translate what goes wrong while reading it.

    Raises:
        VideoError: if it is missing, empty, not a video container, or damaged.
    """
    if not path.is_file():
        raise VideoError(f"there is no file {path}; pass the path of a video file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path.name} is empty; pass a video file")
    limits = {"format_whitelist": ",".join(CONTAINER_FORMATS), "protocol_whitelist": "file"}
    try:
        container = av.open(str(path.resolve()), container_options=limits)
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(
            f"{path.name} cannot be read as a video; "
            "it is damaged, cut off, or of another kind: pass an MP4, MOV, WebM, MKV, AVI or GIF file"
        ) from error
    with container:
        try:
            yield container
        except av.FFmpegError as error:
            raise damaged(path) from error


def damaged(path: Path) -> VideoError:
    """The error for a file whose content breaks off or cannot be decoded."""
    return VideoError(
        f"{path.name} is damaged or cut off: part of its content cannot be decoded; "
        "copy or export the clip again"
    )


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The clip's main video stream.

    Raises:
        VideoError: if there is none (an audio file, or music with a cover picture), or no decoder for it.
    """
    for stream in container.streams.video:
        if stream.codec_context is None:
            raise VideoError(f"{path.name} is coded in an unknown way; convert it, for example to H.264")
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise VideoError(f"{path.name} has no video stream, only sound; pass a file with pictures")


def measure_timeline(path: Path) -> Timeline:
    """Read the presentation time of every frame, without decoding any.

    Raises:
        VideoError: if the file is damaged, holds fewer than two frames, or its times make no sense.
    """
    with opened_clip(path) as container:
        stream = video_stream(container, path)
        packets, num_present = [], 0
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise damaged(path)
            num_present += packet.dts is not None
            if packet.size and not packet.is_discard:
                packets.append((packet.pts, packet.dts))
        # An MP4 lists its frames in an index; elsewhere the stated count is only an estimate.
        if container.format.name.startswith("mov") and num_present < stream.frames:
            raise damaged(path)
        if len(packets) < 2:
            count = "one frame" if packets else "no frame"
            raise VideoError(f"{path.name} has {count}; a clip needs at least two")
        timeline = _timeline(packets, stream, container.format.name)
    if timeline.duration > MAX_SPAN_SECONDS:
        raise VideoError(f"{path.name} spans {timeline.duration / 3600:.0f} hours; at most 24 are accepted")
    if not MIN_FPS <= timeline.fps <= MAX_FPS:
        raise VideoError(
            f"{path.name} runs at {timeline.fps:.4g} frames a second; "
            f"{MIN_FPS:g} to {MAX_FPS:g} are accepted: convert it first"
        )
    return timeline


def _timeline(
    packets: list[tuple[int | None, int | None]], stream: VideoStream, container_format: str
) -> Timeline:
    shown = [pts for pts, _ in packets if pts is not None]
    decoded = [dts for _, dts in packets if dts is not None]
    tick = Fraction(stream.time_base or 0)
    for times in (shown, decoded):
        ticks = np.sort(np.array(times, dtype=np.int64))
        if tick > 0 and len(times) == len(packets) and ticks[-1] > ticks[0]:
            fps, is_variable = _rate(ticks, tick, stream.average_rate)
            has_display_times = times is shown and container_format not in _WITHOUT_DISPLAY_TIMES
            return Timeline(ticks, tick, fps, is_variable, has_display_times)
    count, tick = len(packets), Fraction(1) / Fraction(ASSUMED_FPS)
    return Timeline(
        np.arange(count, dtype=np.int64), tick, ASSUMED_FPS, has_display_times=False, is_assumed=True
    )


def _rate(ticks: NDArray[np.int64], tick: Fraction, declared: Fraction | None) -> tuple[float, bool]:
    """Frames a second, and whether the intervals vary by more than rounding."""
    intervals = np.diff(ticks)
    typical = float(np.median(intervals[intervals > 0]))
    is_variable = bool(np.any(np.abs(intervals - typical) > max(1.0, 0.1 * typical)))
    measured = 1 / (typical * tick) if is_variable else (len(ticks) - 1) / ((ticks[-1] - ticks[0]) * tick)
    # The declared rate is exact where the measured one suffers from rounding, if the two agree.
    agree = declared is not None and abs(declared - measured) <= 0.005 * measured
    return float(declared if declared is not None and agree else measured), is_variable
