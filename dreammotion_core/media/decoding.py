"""Decoding the frames of a clip that are asked for, and no more than it takes to get them.

Opening untrusted clips, and measuring when each of their frames is shown.

Nothing here decodes a picture. Frame counts and rates are measured from the packets, because a
header may say anything.

From a decoded picture of any format to upright 8-bit RGB with square pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideDataContainer, Type
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dreammotion_core.errors import VideoError
from dreammotion_core.media.limits import gather_frames
from dreammotion_core.values import Frames, Notice

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


MIN_SIDE, MAX_SIDE, MAX_ASPECT = 16, 4096, 8.0
_UNSPECIFIED_COLORSPACES = (0, 2)
_HD_HEIGHT = 720


def check_size(width: int, height: int) -> None:
    """Refuse pictures that are too small, too large or too elongated to edit.

    Raises:
        VideoError: with the size received and the sizes accepted.
    """
    if max(width, height) > MAX_SIDE:
        raise VideoError(
            f"the clip is {width}x{height} pixels; at most {MAX_SIDE} on a side are accepted: "
            "downscale it first"
        )
    if min(width, height) < MIN_SIDE:
        raise VideoError(f"the clip is {width}x{height} pixels; at least {MIN_SIDE} on a side are needed")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise VideoError(
            f"the clip is {width}x{height} pixels; sides up to {MAX_ASPECT:g}:1 are accepted: crop it first"
        )


def size_notices(height: int, width: int) -> tuple[Notice, ...]:
    """What saving frames of this size as MP4 will change."""
    if height % 2 == width % 2 == 0:
        return ()
    text = f"Its size {width}x{height} is odd; a saved MP4 repeats the last row or column to make it even."
    return (Notice("odd_size", text),)


class FrameConverter:
    """Converts the frames of one clip and remembers what it had to change.

    Args:
        first: any frame of the clip; its size, orientation and format hold for all.
        pixel_aspect: width of a pixel divided by its height; None or 0 where the file does not say.

    Raises:
        VideoError: if the size is not accepted.
    """

    def __init__(self, first: VideoFrame, *, pixel_aspect: Fraction | None = None) -> None:
        check_size(first.width, first.height)
        self._coded_size = (first.width, first.height)
        self._orientation = _orientation(first)
        self._pixel_aspect = float(pixel_aspect or 1)
        self._width = max(1, round(first.width * self._pixel_aspect))
        check_size(self._width, first.height)
        self._first = first
        self._was_transparent = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the converted frames."""
        height, width = self._first.height, self._width
        return (width, height) if _is_on_its_side(self._orientation) else (height, width)

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which frames are turned, one of 0, 90, 180, 270; mirroring is left out."""
        (a, b), _ = self._orientation
        return 90 * (round(float(np.degrees(np.arctan2(b, a))) / 90) % 4)

    def to_rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Convert one frame.

        Returns:
            (H, W, 3) uint8 RGB, upright. Transparent parts are laid over black.

        Raises:
            VideoError: if the frame's size differs from the first one's.
        """
        if (frame.width, frame.height) != self._coded_size:
            raise VideoError(
                f"the picture size changes within the clip, from {self._coded_size[0]}x{self._coded_size[1]} "
                f"to {frame.width}x{frame.height}; pass a clip of one size"
            )
        has_alpha = any(component.is_alpha for component in frame.format.components)
        picture = (
            frame.reformat(
                width=self._width,
                format="rgba" if has_alpha else "rgb24",
                src_colorspace=_colorspace(frame),
            )
            .to_ndarray()
            .astype(np.uint8, copy=False)
        )
        if has_alpha:
            picture = self._over_black(picture)
        return _upright(picture, self._orientation)

    def notices(self) -> tuple[Notice, ...]:
        """What was changed, as far as frames were converted so far."""
        found = []
        depth = max(component.bits for component in self._first.format.components)
        if not np.array_equal(self._orientation, np.eye(2)):
            found.append(Notice("rotated", "The clip was turned upright, as its file asks for."))
        if self._width != self._coded_size[0]:
            width = self._coded_size[0]
            text = f"Its oblong pixels were made square: {self._width} a line instead of {width}."
            found.append(Notice("square_pixels", text))
        if depth > 8:
            found.append(Notice("bit_depth", f"Its {depth}-bit colours were reduced to 8 bits."))
        if self._first.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67):
            found.append(Notice("hdr", "It is a high dynamic range clip; its colours will look flat."))
        if self._was_transparent:
            found.append(Notice("alpha", "Its transparent parts were laid over black."))
        return (*found, *size_notices(*self.size))

    def _over_black(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        alpha = picture[..., 3:].astype(np.uint16)
        if alpha.min() == 255:
            return picture[..., :3]
        self._was_transparent = True
        return ((picture[..., :3] * alpha + 127) // 255).astype(np.uint8)


def _colorspace(frame: VideoFrame) -> Colorspace | None:
    # Files that do not say are BT.709 from HD upwards by convention; the converter would take BT.601.
    is_unspecified = int(frame.colorspace) in _UNSPECIFIED_COLORSPACES
    return Colorspace.ITU709 if is_unspecified and frame.height >= _HD_HEIGHT else None


def _orientation(frame: VideoFrame) -> NDArray[np.float64]:
    """The display matrix [[a, b], [c, d]]: a pixel at (x, y) is shown at (a x + c y, b x + d y)."""
    for side_data in cast(SideDataContainer, frame.side_data):
        if side_data.type == Type.DISPLAYMATRIX:
            matrix = np.frombuffer(bytes(side_data), dtype=np.int32).reshape(3, 3)
            return matrix[:2, :2] / 65536.0
    return np.eye(2)


def _is_on_its_side(orientation: NDArray[np.float64]) -> bool:
    return bool(abs(orientation[0, 1]) > abs(orientation[0, 0]))


def _upright(picture: NDArray[np.uint8], orientation: NDArray[np.float64]) -> NDArray[np.uint8]:
    (a, b), (c, d) = orientation
    if _is_on_its_side(orientation):
        picture, x_sign, y_sign = picture.swapaxes(0, 1), c, b
    else:
        x_sign, y_sign = a, d
    return picture[:: -1 if y_sign < 0 else 1, :: -1 if x_sign < 0 else 1]


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
