"""Untrusted clips, decoded on FFmpeg's clock: which picture is shown when, in which colours, with what sound.

`Clip` goes through the packets of a file once. `Reading` decodes a range, from a key picture before it;
FFmpeg's filters put pictures on a constant grid, convert colours and keep the sound in step.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from io import BytesIO
from itertools import chain, groupby, takewhile
from math import ceil
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av import AudioFrame, AudioLayout, AudioResampler, CodecContext, Packet
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition
from numpy.typing import NDArray
from PIL import Image

from dreammotion_core.errors import VideoError
from dreammotion_core.media.atomic import check_readable
from dreammotion_core.media.colours import FrameConverter, picture_graph
from dreammotion_core.media.limits import MAX_CLIP_BYTES, MAX_FPS, MAX_SIDE, MIN_FPS, check_size
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
_JUMP_BACK, _JUMP_AHEAD = 0.1, 10.0
_MOST_BETWEEN_PACKETS = 1024  # Bytes of a sound Matroska file.
_HEAD_BYTES = 12  # by which the begin of a file is known again in its middle
MAX_HOURS = 24
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
_SETTLING = {"mpeg": 2}  # Seconds after seeking for which a container's times may be wrong.
_DAMAGED = "is damaged or cut off: none of its pictures can be decoded; copy or export the clip again"
_UNDECODABLE_SOUND = "The sound was left out: it cannot be decoded."


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
        file = _moving_webp(path) or str(path.resolve())
        container = av.open(file, "r", container_options=limits, metadata_errors="replace")
    except VideoError:
        raise
    except (av.FFmpegError, OSError, SyntaxError, ValueError) as error:
        raise VideoError(
            f"{path.name} cannot be read as a video; it is damaged, cut off, or of another kind: "
            "pass an MP4, MOV, WebM, MKV, AVI, GIF or WebP file"
        ) from error
    with container:
        yield OpenClip(container, path)


def _moving_webp(path: Path) -> BytesIO | None:
    """A moving WebP as APNG, because FFmpeg decodes still ones alone; None for other files."""
    with path.open("rb") as file:
        if not re.match(b"RIFF....WEBP", file.read(12), re.DOTALL):
            return None
        image: Any = Image.open(file, formats=["WEBP"])
        check_size(*image.size)
        if image.n_frames * image.width * image.height * 4 > MAX_CLIP_BYTES:
            raise VideoError(f"{path.name} has {image.n_frames:,} pictures, too many: convert it to MP4")
        image.save(converted := BytesIO(), "PNG", save_all=True, duration=None, compress_level=1)
    converted.seek(0)
    return converted


class OpenClip:
    """An open file, and one way through its packets.

    Attributes:
        video, audio: the streams that players play; no audio where none can be decoded.
        is_counted: whether the n-th picture on screen takes the n-th time of the packets.
        is_gapless: whether all its bytes are of these two, so that bytes between packets are lost ones.
        is_sought: whether its packets begin elsewhere than at the begin of the file.
        is_untimed: whether pictures are shown evenly from the first on, because not all have times.
        times: when pictures are shown, in ticks of the video, in the order of the packets so far.
        lost: of these, the times beside which data are lost.
        end: when the last of them ends.
        ends: seconds on the clock up to which packets came so far, by the index of their stream.
        num_untimed: pictures for which the file should state a time, and does not.
        num_bytes: where in the file the last packet so far ends.
        num_jumps: how often the clock was set anew so far.
        num_failures: packets that could not be decoded so far.
    """

    def __init__(self, container: InputContainer, path: Path) -> None:
        self.container = container
        self.video = _picture_stream(container, path)
        self.audio = _best([s for s in container.streams.audio if s.codec_context is not None])
        self.is_counted = (
            container.format.name in _WITHOUT_DISPLAY_TIMES and self.video.codec_context.has_b_frames
        )
        is_alone = len(container.streams) == 1 + (self.audio is not None)
        has_alpha = self.video.metadata.get("alpha_mode") == "1"  # It lies between the packets.
        self.is_gapless = container.format.name.startswith("matroska") and is_alone and not has_alpha
        self.is_sought = self.is_untimed = False
        self.times: list[int] = []
        self.lost: list[int] = []
        self.ends: dict[int, float] = {}
        self.end = self.num_untimed = self.num_bytes = self.num_jumps = self.num_failures = 0

    def packets(self) -> Iterator[Packet[Any]]:
        """The packets of both streams. Where the clock is set anew, as between joined segments, it goes on.

        FFmpeg's program has the same rule; its libraries leave it to those who use them.
        """
        may_jump = bool(self.container.format.flags & _TIMES_MAY_JUMP)
        streams = [stream for stream in (self.video, self.audio) if stream is not None]
        ticks = {stream.index: float(stream.time_base) for stream in streams}
        last: dict[int, float] = {}
        shift = 0.0
        with suppress(av.FFmpegError):
            for packet in self.container.demux(streams):
                index, tick = packet.stream_index, ticks[packet.stream_index]
                if packet.dts is not None:
                    shown = packet.dts if packet.pts is None else packet.pts
                    time = packet.dts * tick + shift
                    end = self.ends.get(index, time)
                    is_back = time < last.get(index, time) - _JUMP_BACK and (may_jump or packet.is_keyframe)
                    if is_back or (may_jump and time > end + _JUMP_AHEAD):
                        shift = end - shown * tick
                        self.num_jumps += 1
                    last[index] = packet.dts * tick + shift
                    self.ends[index] = max(end, (shown + (packet.duration or 0)) * tick + shift)
                if shift:
                    packet.pts = None if packet.pts is None else packet.pts + round(shift / tick)
                    packet.dts = None if packet.dts is None else packet.dts + round(shift / tick)
                # An empty packet repeats a picture. The last packet of a file that is cut off is a piece of
                # one; in a stream the same mark only says that something was lost nearby.
                if packet.size and (may_jump or not packet.is_corrupt):
                    self._note(packet)
                    yield packet

    def _note(self, packet: Packet[Any]) -> None:
        position = packet.pos or 0
        is_begun = self.is_gapless and self.num_bytes > 0
        is_skipped = is_begun and position - self.num_bytes > _MOST_BETWEEN_PACKETS
        self.num_bytes = max(self.num_bytes, position + packet.size)
        if packet.stream_index == self.video.index and not packet.is_discard:
            time = packet.dts if self.is_counted or packet.pts is None else packet.pts
            self.num_untimed += time is None and self.container.format.name == "mpeg"
            self.times.append(self.end if time is None else time)
            self.end = max(self.end, self.times[-1] + (packet.duration or 0))
            if packet.is_corrupt or is_skipped:
                self.lost.append(self.times[-1])

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
                if self.is_untimed and stream is self.video and duration:
                    stated = None
                if stated is None and time is not None:
                    stated = time + duration
                if stated is None:
                    continue
                frame.pts = time = stated
                duration = frame.duration or duration
                frame.time_base = stream.time_base
                yield frame


def _best(streams: Sequence[Any]) -> Any:
    """Rank as players do: made for everybody, marked as default, the largest, the first; None of none."""

    def rank(stream: Any) -> tuple[bool, bool, int]:
        special = Disposition.hearing_impaired | Disposition.visual_impaired
        codec = stream.codec_context
        size = codec.channels if stream.type == "audio" else codec.width * codec.height
        return not stream.disposition & special, bool(stream.disposition & Disposition.default), size

    return max(streams, key=rank, default=None)


def _picture_stream(container: InputContainer, path: Path) -> Any:
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


def _picture_decoder(stream: Any) -> Any:
    """Refuse gigantic pictures before they are allocated, and keep transparency."""
    codec = stream.codec_context
    if codec.width and codec.height:
        check_size(codec.width, codec.height)
    if codec.name in _DECODERS_WITH_ALPHA and stream.metadata.get("alpha_mode") == "1":
        codec = CodecContext.create(_DECODERS_WITH_ALPHA[codec.name], "r")
    codec.options = {"max_pixels": str(MAX_SIDE * MAX_SIDE)}
    codec.thread_type = "AUTO"
    return codec


class Clip:
    """What a clip is, measured from its content: its times from all packets, its form from its first picture.

    Attributes:
        first: the first picture that can be decoded.
        begin: seconds on the file's clock at which it is shown.
        rate: frames a second; of an uneven clip one at which next to none of its pictures is lost.
        slots: (n,) int64, rising; the frame at this rate on which each picture falls. Others repeat one.
        num_frames: at this rate, up to the end of the last picture.
        num_undecodable: pictures before the first.
        lost: (m,) float64, whole; the frames beside which the file is said to lack data.
        pixel_aspect: width of a pixel divided by its height.
        notices: what reading leaves out, whatever the range.
        end_notices: what is missing behind the last picture.

    Raises `VideoError` if it has fewer than two pictures, none can be decoded, or rate or size are not
    accepted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with opened_clip(path) as source:
            packets = source.packets()
            self.first: Any = next(source.frames(source.video, packets), None)
            deque(packets, maxlen=0)
            self.is_untimed = source.num_untimed > 0
            if self.is_untimed and self.first is not None:
                source.times = [self.first.pts + k * self.first.duration for k in range(len(source.times))]
                source.end = source.times[-1] + self.first.duration
            times = np.unique(np.array(source.times, np.int64))
            if self.first is None and len(times):
                raise VideoError(f"{path.name} {_DAMAGED}")
            if len(times) < 2 or times[-1] <= self.first.pts:
                count = "one frame" if len(times) else "no frame"
                raise VideoError(f"{path.name} has {count}; a clip needs at least two")
            stream, tick, start = source.video, source.video.time_base, self.first.pts
            shown = (times[times >= start] - start) * float(tick)
            stated = [rate for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate) if rate]
            self.begin = start * tick
            self.rate = _constant_rate(shown, float(tick), stated)
            self.slots = np.rint(shown * float(self.rate)).astype(np.int64)
            seconds = (source.end - start) * tick
            self.num_frames: int = max(int(self.slots[-1]) + 1, round(seconds * self.rate))
            self.num_undecodable = len(times) - len(shown)
            self.lost = np.rint((np.array(source.lost) - start) * float(tick * self.rate))
            has_times = not source.container.format.flags & _HAS_NO_TIMES
            is_plain = not (source.num_jumps or source.is_counted or self.is_untimed)
            self.can_seek = has_times and is_plain
            self.pixel_aspect = float(stream.sample_aspect_ratio or 1)
            self.has_sound = source.audio is not None
            self.notices = tuple(_left_out(source, self.rate))
            self.end_notices = tuple(_missing_end(source, path))
        if (hours := float(seconds) / 3600) > MAX_HOURS:
            limit = f"at most {MAX_HOURS} are accepted: cut it first"
            raise VideoError(f"{path.name} spans {hours:.0f} hours; {limit}")
        if not MIN_FPS <= self.rate <= MAX_FPS:
            limit = f"{MIN_FPS:g} to {MAX_FPS:g} are accepted: convert it first"
            raise VideoError(f"{path.name} runs at {float(self.rate):.4g} frames a second; {limit}")

    def frames_at(self, rate: Fraction) -> int:
        """The number of frames at a rate: as many as begin before the end of the last picture."""
        return max(1, ceil(self.num_frames / self.rate * rate))

    def stored_pictures(self) -> Iterator[NDArray[np.uint8]]:
        """Every picture as upright (H, W, 3) uint8 RGB, whatever its time."""
        converter = FrameConverter(self.first, self.pixel_aspect)
        with opened_clip(self.path) as source:
            yield from map(converter.to_rgb, source.frames(source.video))


def _constant_rate(seconds: NDArray[np.floating[Any]], tick: float, stated: Sequence[Fraction]) -> Fraction:
    """Frames a second of pictures shown at (n,) rising seconds from 0; they may be rounded, with gaps.

    The first of the stated and the usual rates at which pictures follow each other from frame to frame; of
    an uneven recording the lowest at which next to none is lost.
    """
    typical = np.median(np.diff(seconds))
    rates = (*stated, *_USUAL_RATES)
    # Times of a fine clock may have been rounded to milliseconds by a program before.
    for slack in (1.001 * tick, 0.0011, 1.0):
        following = []
        for rate in rates:
            slots = np.rint(seconds * float(rate))
            steps = np.diff(slots)
            if abs(1 / rate - typical) <= slack and np.all(steps >= 1) and np.mean(steps == 1) >= 0.5:
                following.append(rate)
                tolerance = max(1.001 * tick, (0.25 if rate in stated else 0.1) / rate)
                if np.abs(seconds - slots / float(rate)).max() <= tolerance:
                    return rate
        if following and slack < 1:
            return following[0]
    kept = {rate: len(np.unique(np.rint(seconds * float(rate)))) for rate in sorted(rates)}
    return next((rate for rate in kept if kept[rate] >= (1 - _MOST_LOST) * len(seconds)), max(rates))


def _left_out(source: OpenClip, rate: Fraction) -> Iterator[Notice]:
    streams = source.container.streams
    if source.container.format.flags & _HAS_NO_TIMES and not source.video.codec_context.framerate:
        yield Notice("assumed_fps", f"The file states no frame rate; {float(rate):g} a second are assumed.")
    if source.num_untimed:
        yield Notice("assumed_times", "The file does not say when each picture is shown; they follow evenly.")
    for kind, tracks in (("picture", streams.video), ("sound", streams.audio)):
        count = sum(not track.disposition & _COVERS and track.frames != 1 for track in tracks)
        if count > 1:
            yield Notice(
                f"{kind}_tracks", f"Of its {count} {kind} tracks, the one that players play is used."
            )
    if streams.audio and source.audio is None:
        yield Notice("audio_dropped", _UNDECODABLE_SOUND)


def _missing_end(source: OpenClip, path: Path) -> Iterator[Notice]:
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
    missing = stated - max([source.end * float(stream.time_base), *source.ends.values()])
    if missing > 0.2:
        yield Notice("cut_off", f"The file breaks off {missing:.1f} seconds before its end.")
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        # A transport stream repeats its head, and is read to the last byte anyway.
        is_repeated = content.find(content[:_HEAD_BYTES], source.num_bytes) > 0
        if is_repeated and container.format.name != "mpegts":
            yield Notice("joined", "Another clip begins behind its end, in the same file; it was left out.")


class Reading:
    """Decodes one range of a clip: `selected` are its frames, at least one, counted at `rate` a second."""

    def __init__(self, clip: Clip, selected: range, rate: Fraction) -> None:
        self._clip, self._selected, self._rate = clip, selected, rate
        self._begin = clip.begin + selected.start / rate
        self._decoded_slots: set[int] = set()
        self._num_frames = self._num_failures = 0
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
        graph, interval = picture_graph(clip.first, *grids, trim), 1 / clip.rate
        with suppress(EOFError):
            for frame in chain(self._frames_from(self._begin - interval, "video"), [None]):
                if frame is not None:
                    frame.pts -= round(clip.begin / frame.time_base)
                    frame.duration = max(frame.duration, ceil(interval / frame.time_base))
                    self._decoded_slots.add(round(frame.pts * frame.time_base * clip.rate))
                graph.push(frame)
                with suppress(BlockingIOError):
                    while True:
                        yield self.converter.to_rgb(graph.vpull())
                        self._num_frames += 1
        if not self._num_frames:
            raise VideoError(f"{clip.path.name} {_DAMAGED}")

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

        def form(frame: AudioFrame) -> tuple[str, str, int]:
            return frame.format.name, frame.layout.name, frame.sample_rate

        end = self._begin + seconds
        frames = self._frames_from(self._begin - 1, "audio")
        wanted = takewhile(lambda frame: frame.pts * frame.time_base < end, frames)
        samples, rate = np.zeros((1, 0), np.float32), 0
        for (_, layout, given_rate), alike in groupby(wanted, form):
            channels = AudioLayout(layout).nb_channels
            if not rate:
                rate = given_rate
                samples = np.zeros((min(channels, 2), round(seconds * rate)), np.float32)
            output = "mono" if len(samples) == 1 else "stereo"
            if channels > len(samples):
                text = f"Its {channels} channels of sound were mixed down to {output}."
                self._sound_notices["audio_mixed"] = text
            if given_rate != rate:
                text = f"Its sound was resampled from {given_rate} to {rate} samples a second, as it begins."
                self._sound_notices["audio_resampled"] = text
            # Without a size of its frames PyAV would hand out what needs no conversion, with its gaps.
            even = {"async": "1", "min_hard_comp": "0.01"}
            resampler = AudioResampler("fltp", output, rate, frame_size=4096, options=even)
            pieces: Iterator[Any] = chain.from_iterable(map(resampler.resample, chain(alike, [None])))
            for piece in pieces:
                offset = round((piece.pts * piece.time_base - self._begin) * rate)
                first, last = max(0, offset), min(samples.shape[1], offset + piece.samples)
                if first < last:
                    samples[:, first:last] = piece.to_ndarray()[:, first - offset : last - offset]
        if not rate and self._num_failures:
            self._sound_notices["audio_dropped"] = _UNDECODABLE_SOUND
        return AudioTrack(np.clip(samples, -1.0, 1.0), rate) if samples.any() else None

    def notices(self) -> Iterator[Notice]:
        """What was changed, and what is missing, in the pictures and the sound that were decoded."""
        clip, selected = self._clip, self._selected
        yield from clip.notices
        begin = int(selected.start * clip.rate / self._rate)
        end = min(clip.num_frames, ceil(selected.stop * clip.rate / self._rate))
        own = clip.slots[(clip.slots >= begin) & (clip.slots < end)]
        is_even = np.array_equal(own, np.arange(begin, end))
        is_lost = np.any((clip.lost >= begin - 1) & (clip.lost <= end))
        if not self._decoded_slots.issuperset(own.tolist()) or (is_lost and not is_even):
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

    def _frames_from(self, moment: Fraction, kind: Literal["video", "audio"]) -> Iterator[Any]:
        """Frames from one on that begins by a moment. Seeking is checked, since many files lack an index."""
        can_seek = self._clip.can_seek and moment > self._clip.begin
        for lead in (0, 10, None) if can_seek else (None,):
            with opened_clip(self._clip.path) as source:
                source.is_untimed = self._clip.is_untimed
                begin = moment - _SETTLING.get(source.container.format.name, 0)
                try:
                    if lead is not None:
                        ticks = int((begin - lead) / source.video.time_base)
                        source.container.seek(ticks, stream=source.video)
                        source.is_sought = True
                except av.FFmpegError:
                    continue
                frames = source.frames(getattr(source, kind))
                if lead is not None:
                    # What depends on pictures before the key picture comes out damaged, or not at all.
                    first = next((f for f in frames if f.key_frame or f.pts * f.time_base > begin), None)
                    if first is None or first.pts * first.time_base > begin:
                        continue
                    frames = chain([first], frames)
                yield from frames
                self._num_failures = source.num_failures
                return
