"""Untrusted clips, decoded on FFmpeg's clock: which picture is shown when, in which colours, with what sound.

`examine` goes through the packets of a file once. `Reading` decodes a range, from a key picture before it;
FFmpeg's filters put pictures on a constant grid, convert colours and keep the sound in step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.filter import Graph
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dreammotion_core.errors import VideoError
from dreammotion_core.media.atomic import check_readable
from dreammotion_core.media.colours import FrameConverter, filtered, linked, picture_graph
from dreammotion_core.media.limits import MAX_FPS, MAX_SIDE, MIN_FPS, check_size
from dreammotion_core.values import AudioTrack, Notice

# Files that hold their own data. Playlists, image sequences and devices could reach beyond the file.
CONTAINER_FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "ogg", "flv"),
    *("asf", "gif", "apng", "png_pipe", "jpeg_pipe", "h264", "hevc", "m4v", "mpegvideo", "mjpeg", "ivf"),
    *("obu", "dv", "mxf", "nut", "rm", "wtv", "wav", "mp3", "srt", "ass", "webvtt"),
)
# They keep no times of display: pictures are shown in the order in which they are decoded.
_WITHOUT_DISPLAY_TIMES = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo", "mjpeg", "obu"})
_TIMES_MAY_JUMP: Any = Flags.ts_discont.value
_HAS_NO_TIMES: Any = Flags.no_timestamps.value
# Seconds by which a clock that is set anew steps back or ahead; FFmpeg's own figures.
_JUMP_BACK, _JUMP_AHEAD = Fraction(1, 10), 10
MAX_SPAN_SECONDS = 24 * 3600
MAX_AUDIO_SECONDS = 20 * 60
_USUAL_RATES = (
    *map(Fraction, (1, 2, 4, 5, 6, 8, 10, 12, 15, 18, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120)),
    *(Fraction(1000 * rate, 1001) for rate in (15, 24, 30, 60, 120)),
    *(Fraction(25, 2), Fraction(144), Fraction(240)),
)
# Share of the pictures of an uneven recording that a constant rate may leave out.
_MOST_LOST = 0.01
_DECODERS_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
_UNDECODABLE_SOUND = "The sound was left out: it cannot be decoded."
AnyStream = TypeVar("AnyStream", VideoStream, AudioStream)


@contextmanager
def opened_clip(path: Path) -> Iterator[OpenClip]:
    """Open an untrusted local file, or raise `VideoError` if it holds no video that can be decoded."""
    check_readable(path, VideoError, wanted="the path of a video file")
    if path.is_dir():
        raise VideoError(f"{path} is a folder; pass the path of a video file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path.name} is empty (0 bytes); pass a video file")
    limits = {"format_whitelist": ",".join(CONTAINER_FORMATS), "protocol_whitelist": "file"}
    try:
        container = av.open(str(path.resolve()), container_options=limits, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(
            f"{path.name} cannot be read as a video; "
            "it is damaged, cut off, or of another kind: pass an MP4, MOV, WebM, MKV, AVI or GIF file"
        ) from error
    with container:
        yield OpenClip(container, path)


class OpenClip:
    """An open file, and one way through its packets.

    Attributes:
        video, audio: the streams that players play; no audio where none can be decoded.
        is_counted: whether the n-th picture on screen takes the n-th time of the packets.
        is_sought: whether its packets begin elsewhere than at the begin of the file.
        num_jumps: how often the clock was set anew so far.
        num_failures: packets that could not be decoded so far.
    """

    def __init__(self, container: InputContainer, path: Path) -> None:
        self.container = container
        self.video: Any = _picture_stream(container, path)
        self.audio = _best([s for s in container.streams.audio if s.codec_context is not None])
        self.is_counted = (
            container.format.name in _WITHOUT_DISPLAY_TIMES and self.video.codec_context.has_b_frames
        )
        self._streams: list[Any] = [s for s in (self.video, self.audio) if s is not None]
        self.is_sought = False
        self._last: dict[int, tuple[int, int]] = {}
        self.num_jumps = self.num_failures = 0

    @property
    def end(self) -> Fraction:
        """Seconds on the clock up to which packets came so far."""
        ends = ((self._last[s.index][1], s.time_base) for s in self._streams if s.index in self._last)
        return max((ticks * tick for ticks, tick in ends), default=Fraction(0))

    def seek(self, moment: Fraction) -> None:
        """Go near a moment in seconds: to a key picture before it, or anywhere in a file without an index.

        Raises `FFmpegError` if the file cannot be sought in.
        """
        self.container.seek(int(moment / self.video.time_base), stream=self.video)
        self.is_sought = True

    def packets(self) -> Iterator[Packet[Any]]:
        """The packets of both streams. Where the clock is set anew, as between joined segments, it goes on.

        FFmpeg's program has the same rule; its libraries leave it to those who use them.
        """
        may_jump = bool(self.container.format.flags & _TIMES_MAY_JUMP)
        ticks = {stream.index: Fraction(stream.time_base) for stream in self._streams}
        back = {index: int(_JUMP_BACK / tick) for index, tick in ticks.items()}
        ahead = {index: int(_JUMP_AHEAD / tick) for index, tick in ticks.items()}
        shifts = dict.fromkeys(ticks, 0)
        last = self._last
        packets = self.container.demux(self._streams)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                return
            if packet is None:
                return
            index = packet.stream_index
            if packet.dts is not None:
                time = packet.dts + shifts[index]
                before, following = last.get(index, (time, time))
                if time < before - back[index] or (may_jump and time > following + ahead[index]):
                    jump = (following - time) * ticks[index]
                    shifts = {key: shift + round(jump / ticks[key]) for key, shift in shifts.items()}
                    time = following
                    self.num_jumps += 1
                last[index] = time, time + (packet.duration or 0)
            if shifts[index]:
                packet.pts = None if packet.pts is None else packet.pts + shifts[index]
                packet.dts = None if packet.dts is None else packet.dts + shifts[index]
            # An empty packet repeats a picture. The last packet of a file that is cut off is a piece of one;
            # in a stream the same mark only says that something was lost nearby.
            if packet.size and (may_jump or not packet.is_corrupt):
                yield packet

    def frames(self, stream: Any, packets: Iterable[Packet[Any]] | None = None) -> Iterator[Any]:
        """Decode `video` or `audio` from `packets`, or from all packets.

        Frames come in the order in which they are shown, each with its time in ticks of the stream. What
        cannot be decoded is left out.
        """
        decoder = _picture_decoder(stream) if stream is self.video else stream.codec_context
        order: deque[int | None] = deque()
        time, duration = None if self.is_sought else 0, 0
        packets = self.packets() if packets is None else packets
        for packet in chain((packet for packet in packets if packet.stream_index == stream.index), [None]):
            if packet is not None:
                order.append(packet.dts)
            try:
                decoded = decoder.decode(packet)
            except (av.FFmpegError, ValueError):
                self.num_failures += 1
                continue
            for frame in decoded:
                stated = frame.dts if frame.pts is None else frame.pts
                if self.is_counted and stream is self.video:
                    stated = order.popleft()
                if stated is None and time is not None:
                    stated = time + duration
                if stated is None:
                    continue
                frame.pts = time = stated
                duration = frame.duration or duration
                frame.time_base = stream.time_base
                yield frame


def _best(streams: Sequence[AnyStream]) -> AnyStream | None:
    """Rank as players do: made for everybody, marked as default, the largest, the first."""

    def rank(stream: AnyStream) -> tuple[bool, bool, int]:
        special = Disposition.hearing_impaired | Disposition.visual_impaired
        codec: Any = stream.codec_context
        size = codec.channels if isinstance(stream, AudioStream) else codec.width * codec.height
        return not stream.disposition & special, bool(stream.disposition & Disposition.default), size

    return max(streams, key=rank, default=None)


def _picture_stream(container: InputContainer, path: Path) -> VideoStream:
    streams = [stream for stream in container.streams.video if not stream.disposition & _COVERS]
    known = [stream for stream in streams if stream.codec_context is not None]
    # A still picture beside its moving form has one frame.
    best = _best([stream for stream in known if stream.codec_context.width and stream.frames != 1] or known)
    if best is not None:
        return best
    if streams:
        raise VideoError(f"{path.name} is coded in an unknown way; convert it, for example to H.264")
    kinds = {"audio": "sound", "video": "a cover picture", "subtitle": "subtitles"}
    held = sorted({kinds.get(stream.type, "data") for stream in container.streams}) or ["nothing"]
    raise VideoError(f"{path.name} has no video stream, only {' and '.join(held)}; pass a file with pictures")


def _picture_decoder(stream: VideoStream) -> Any:
    """Refuse gigantic pictures before they are allocated, and keep transparency."""
    codec: Any = stream.codec_context
    if codec.width and codec.height:
        check_size(codec.width, codec.height)
    if codec.name in _DECODERS_WITH_ALPHA and stream.metadata.get("alpha_mode") == "1":
        codec = CodecContext.create(_DECODERS_WITH_ALPHA[codec.name], "r")
    codec.options = {"max_pixels": str(MAX_SIDE * MAX_SIDE)}
    codec.thread_type = "AUTO"
    return codec


@dataclass(frozen=True, eq=False)
class Clip:
    """What a clip is, measured from its content.

    Attributes:
        begin: seconds on the file's clock at which the first picture is shown.
        rate: frames a second; of an uneven clip one at which next to none of its pictures is lost.
        slots: (n,) int64, rising; the frames at this rate with a picture of their own. Others repeat one.
        num_pictures: pictures in the file; more than slots where two fall on one frame.
        num_frames: at this rate, up to the end of the last picture.
        num_undecodable: pictures before the first that can be decoded.
        lost: (m,) int64, the frames beside which the file is said to lack data.
        settling: seconds after seeking for which times may be wrong.
        pixel_aspect: width of a pixel divided by its height.
        notices: what reading leaves out, whatever the range.
        end_notices: what is missing behind the last picture.
    """

    path: Path
    begin: Fraction
    rate: Fraction
    slots: NDArray[np.int64]
    num_pictures: int
    num_frames: int
    num_undecodable: int
    lost: NDArray[np.int64]
    can_seek: bool
    settling: int
    first: VideoFrame
    pixel_aspect: float
    has_sound: bool
    notices: tuple[Notice, ...]
    end_notices: tuple[Notice, ...]

    @property
    def is_even(self) -> bool:
        """Whether every frame has a picture of its own, and every picture a frame."""
        return self.num_frames == len(self.slots) == self.num_pictures

    def frames_at(self, rate: Fraction) -> int:
        """The number of frames at a rate: as many as begin before the end of the last picture."""
        return max(1, ceil(self.num_frames / self.rate * rate))


def damaged(path: Path) -> VideoError:
    """The error for a file of which nothing can be decoded."""
    return VideoError(
        f"{path.name} is damaged or cut off: none of its pictures can be decoded; "
        "copy or export the clip again"
    )


def examine(path: Path) -> Clip:
    """Measure a clip: its times from all its packets, its form from its first picture.

    Raises `VideoError` if it has fewer than two pictures, none can be decoded, or rate or size are not
    accepted.
    """
    with opened_clip(path) as source:
        times, lost, end, first = _times(source)
        if first is None and len(times):
            raise damaged(path)
        if first is None or len(times) < 2 or times[-1] <= first.pts:
            count = "one frame" if len(times) else "no frame"
            raise VideoError(f"{path.name} has {count}; a clip needs at least two")
        stream, tick = source.video, source.video.time_base
        shown = (times[times >= first.pts] - first.pts) * float(tick)
        rates = [rate for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate) if rate]
        rate = _constant_rate(shown, float(tick), rates)
        length = (end - first.pts) * tick
        if length > MAX_SPAN_SECONDS:
            raise VideoError(
                f"{path.name} spans {float(length) / 3600:.0f} hours; "
                f"at most {MAX_SPAN_SECONDS // 3600} are accepted: cut it first"
            )
        if not MIN_FPS <= rate <= MAX_FPS:
            raise VideoError(
                f"{path.name} runs at {float(rate):.4g} frames a second; "
                f"{MIN_FPS:g} to {MAX_FPS:g} are accepted: convert it first"
            )
        slots = np.unique(np.rint(shown * float(rate)).astype(np.int64))
        has_times = not source.container.format.flags & _HAS_NO_TIMES
        return Clip(
            path=path,
            begin=first.pts * tick,
            rate=rate,
            slots=slots,
            num_pictures=len(shown),
            num_frames=max(int(slots[-1]) + 1, round(length * rate)),
            lost=np.rint((lost - first.pts) * float(tick * rate)).astype(np.int64),
            can_seek=has_times and not source.num_jumps and not source.is_counted,
            settling=2 if source.container.format.name == "mpeg" else 0,
            first=first,
            pixel_aspect=float(stream.sample_aspect_ratio or 1),
            has_sound=source.audio is not None,
            notices=tuple(_left_out(source, rate)),
            num_undecodable=len(times) - len(shown),
            end_notices=tuple(_missing_end(source, end)),
        )


def _times(source: OpenClip) -> tuple[NDArray[np.int64], NDArray[np.int64], int, Any]:
    """When pictures are shown, in rising ticks; beside which data are lost; when the last ends; the first."""
    times: list[int] = []
    lost: list[int] = []
    end = 0

    def noted() -> Iterator[Packet[Any]]:
        nonlocal end
        for packet in source.packets():
            if packet.stream_index == source.video.index and not packet.is_discard:
                time = packet.dts if source.is_counted or packet.pts is None else packet.pts
                times.append(end if time is None else time)
                end = max(end, times[-1] + (packet.duration or 0))
                if packet.is_corrupt:
                    lost.append(times[-1])
            yield packet

    packets = noted()
    first = next(source.frames(source.video, packets), None)
    deque(packets, maxlen=0)
    return np.unique(np.array(times, np.int64)), np.array(lost, np.int64), end, first


def _constant_rate(seconds: NDArray[np.floating[Any]], tick: float, stated: Sequence[Fraction]) -> Fraction:
    """Frames a second of pictures shown at (n,) rising seconds from 0; they may be rounded, with gaps.

    The first of the stated and the usual rates at which pictures follow each other from frame to frame; of
    an uneven recording the lowest at which next to none is lost.
    """
    intervals = np.diff(seconds)
    candidates = [*((rate, 0.25) for rate in stated), *((rate, 0.1) for rate in _USUAL_RATES)]
    # Times of a fine clock may have been rounded to milliseconds by a program before.
    for slack in (1.001 * tick, 0.0011, 1.0):
        following = []
        for rate, tolerance in candidates:
            slots = np.rint(seconds * float(rate))
            steps = np.diff(slots)
            is_typical = abs(1 / rate - np.median(intervals)) <= slack
            if is_typical and np.all(steps >= 1) and np.sum(steps == 1) >= len(steps) / 2:
                following.append(rate)
                if np.abs(seconds - slots / float(rate)).max() <= max(1.001 * tick, tolerance / rate):
                    return rate
        if following and slack < 1:
            return following[0]
    for rate in sorted(rate for rate, _ in candidates):
        if len(np.unique(np.rint(seconds * float(rate)))) >= (1 - _MOST_LOST) * len(seconds):
            return rate
    return max(rate for rate, _ in candidates)


def _left_out(source: OpenClip, rate: Fraction) -> Iterator[Notice]:
    streams = source.container.streams
    if source.container.format.flags & _HAS_NO_TIMES and not source.video.codec_context.framerate:
        yield Notice("assumed_fps", f"The file states no frame rate; {float(rate):g} a second are assumed.")
    for kind, tracks in (("picture", streams.video), ("sound", streams.audio)):
        count = sum(not track.disposition & _COVERS and track.frames != 1 for track in tracks)
        if count > 1:
            yield Notice(
                f"{kind}_tracks", f"Of its {count} {kind} tracks, the one that players play is used."
            )
    if streams.audio and source.audio is None:
        yield Notice("audio_dropped", _UNDECODABLE_SOUND)


def _missing_end(source: OpenClip, end: int) -> Iterator[Notice]:
    """Says that a file breaks off. Only some kinds of file state how long they are."""
    container, stream = source.container, source.video
    is_alone = all(other.type in ("video", "audio") for other in container.streams)
    stated = 0.0
    if container.format.name.startswith("mov") and stream.duration:
        stated = float((stream.start_time + stream.duration) * stream.time_base)
    elif container.format.name == "avi":
        stated = float(stream.frames * stream.time_base)
    elif container.format.name.startswith(("matroska", "flv")) and container.duration and is_alone:
        stated = container.duration / av.time_base
    missing = stated - float(max(end * stream.time_base, source.end))
    if missing > 0.2:
        yield Notice("cut_off", f"The file breaks off {missing:.1f} seconds before its end.")


def stored_pictures(clip: Clip) -> Iterator[NDArray[np.uint8]]:
    """Every picture of a clip as upright (H, W, 3) uint8 RGB, whatever its time."""
    converter = FrameConverter(clip.first, clip.pixel_aspect)
    with opened_clip(clip.path) as source:
        yield from map(converter.to_rgb, source.frames(source.video))


class Reading:
    """Decodes one range of a clip: `selected` are its frames, at least one, counted at `rate` a second."""

    def __init__(self, clip: Clip, selected: range, rate: Fraction) -> None:
        self._clip, self._selected, self._rate = clip, selected, rate
        self._begin = clip.begin + selected.start / rate
        self._decoded_slots: set[int] = set()
        self._num_frames = 0
        self._sound_notices: dict[str, str] = {}
        self.converter = FrameConverter(clip.first, clip.pixel_aspect)

    def pictures(self) -> Iterator[NDArray[np.uint8]]:
        """The frames as (H, W, 3) uint8 RGB; fewer than selected where the end of the file cannot be decoded.

        Raises `VideoError` if there is none, or the size of the pictures changes.
        """
        clip, selected = self._clip, self._selected
        grids = [("fps", f"{clip.rate}:round=near")]
        if self._rate != clip.rate:
            grids.append(("fps", f"{self._rate}:round=up"))
        trim = "trim", f"start_pts={selected.start}:end_pts={selected.stop}"
        for frame in filtered(picture_graph(clip.first, *grids, trim), self._timed()):
            yield self.converter.to_rgb(frame)
            self._num_frames += 1
        if not self._num_frames:
            raise damaged(clip.path)

    def sound(self) -> AudioTrack | None:
        """Decode the sound over the time of the pictures, which are decoded first.

        One or two channels (more are mixed down), silent where the file has none; None without sound.
        """
        seconds = self._num_frames / self._rate
        if not self._clip.has_sound:
            return None
        if seconds > MAX_AUDIO_SECONDS:
            text = f"The sound was left out: it is kept for up to {MAX_AUDIO_SECONDS // 60} minutes."
            self._sound_notices["audio_dropped"] = text
            return None
        samples = np.zeros((1, 0), np.float32)
        rate = 0
        for piece in self._resampled():
            if not rate:
                rate = piece.sample_rate
                samples = np.zeros((piece.layout.nb_channels, round(seconds * rate)), np.float32)
            offset = round((piece.pts * piece.time_base - self._begin) * rate)
            if offset >= samples.shape[1]:
                break
            begin, end = max(0, offset), min(samples.shape[1], offset + piece.samples)
            if begin < end:
                samples[:, begin:end] = piece.to_ndarray()[:, begin - offset : end - offset]
        return AudioTrack(np.clip(samples, -1.0, 1.0), rate) if samples.any() else None

    def notices(self) -> Iterator[Notice]:
        """What was changed, and what is missing, in the pictures and the sound that were decoded."""
        clip, selected = self._clip, self._selected
        yield from clip.notices
        begin = int(selected.start * clip.rate / self._rate)
        end = min(clip.num_frames, ceil(selected.stop * clip.rate / self._rate))
        own = clip.slots[(clip.slots >= begin) & (clip.slots < end)].tolist()
        is_even = len(own) == end - begin and clip.num_pictures == len(clip.slots)
        is_lost = bool(np.any((clip.lost >= begin - 1) & (clip.lost <= end)))
        if not self._decoded_slots.issuperset(own) or (is_lost and not is_even):
            text = "Part of the file is damaged: pictures are missing, and those before them stay longer."
            yield Notice("damaged", text)
        elif not is_even:
            text = f"Its frame rate varies; it was resampled to {float(self._rate):.6g} a second."
            yield Notice("variable_fps", text)
        elif self._rate != clip.rate:
            text = f"It was resampled from {float(clip.rate):.6g} to {float(self._rate):.6g} frames a second."
            yield Notice("resampled", text)
        if selected.start == 0 and clip.num_undecodable:
            text = f"Its first {clip.num_undecodable} pictures cannot be decoded; the clip begins after them."
            yield Notice("late_start", text)
        if selected.stop == clip.frames_at(self._rate):
            yield from clip.end_notices
        yield from self.converter.notices()
        yield from (Notice(code, text) for code, text in self._sound_notices.items())

    def _timed(self) -> Iterator[VideoFrame]:
        """Decoded pictures, their times counted from the begin of the clip."""
        clip, interval = self._clip, 1 / self._clip.rate
        for frame in self._frames_from(self._begin - interval, lambda source: source.video):
            tick = frame.time_base
            frame.pts -= round(clip.begin / tick)
            frame.duration = max(frame.duration, ceil(interval / tick))
            self._decoded_slots.add(round(frame.pts * tick * clip.rate))
            yield frame

    def _resampled(self) -> Iterator[Any]:
        """The sound as float samples without gaps, at the rate and with the channels that it begins with."""

        def form(frame: AudioFrame) -> tuple[Any, ...]:
            return frame.format.name, frame.layout.name, frame.sample_rate, frame.time_base

        output: tuple[int, str] | None = None
        pieces = self._frames_from(self._begin - 1, lambda source: source.audio)
        for (format_, layout, rate, tick), frames in groupby(pieces, form):
            channels = AudioLayout(layout).nb_channels
            output = output or (rate, "mono" if channels == 1 else "stereo")
            if channels > AudioLayout(output[1]).nb_channels:
                text = f"Its {channels} channels of sound were mixed down to {output[1]}."
                self._sound_notices["audio_mixed"] = text
            if rate != output[0]:
                text = f"Its sound was resampled from {rate} to {output[0]} samples a second, as it begins."
                self._sound_notices["audio_resampled"] = text
            graph = Graph()
            source = graph.add_abuffer(sample_rate=rate, format=format_, layout=layout, time_base=tick)
            target = "aformat", f"fltp:{output[0]}:{output[1]}"
            filters = ("aresample", "async=1:min_hard_comp=0.01"), target, ("abuffersink", "")
            yield from filtered(linked(graph, source, *filters), frames)

    def _frames_from(self, moment: Fraction, stream_of: Callable[[OpenClip], Any]) -> Iterator[Any]:
        """Frames from one on that begins by a moment. Seeking is checked, since many files lack an index."""
        clip = self._clip
        moment -= clip.settling
        for lead in (0, 10) if clip.can_seek and moment > clip.begin else ():
            with opened_clip(clip.path) as source:
                try:
                    source.seek(moment - lead)
                except av.FFmpegError:
                    break
                frames = source.frames(stream_of(source))
                # What depends on pictures before the key picture comes out damaged, or not at all.
                first = next((f for f in frames if f.key_frame or f.pts * f.time_base > moment), None)
                if first is not None and first.pts * first.time_base <= moment:
                    yield from chain([first], frames)
                    return
        with opened_clip(clip.path) as source:
            frames = source.frames(stream_of(source))
            first = next(frames, None)
            if first is not None:
                yield from chain([first], frames)
            elif source.num_failures:
                self._sound_notices["audio_dropped"] = _UNDECODABLE_SOUND
