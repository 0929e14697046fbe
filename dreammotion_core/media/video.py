"""Clips from and to files: what a file holds, a range of it at a constant rate, the part that a model takes.

PyAV decodes and encodes. Folders of frames are played at the rate that they keep and never resampled.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from dreammotion_core.errors import ConfigError, VideoError
from dreammotion_core.media.atomic import check_writable, written_atomically
from dreammotion_core.media.colours import FrameConverter, to_yuv
from dreammotion_core.media.decoding import Clip, Reading, opened_clip
from dreammotion_core.media.frames import kept_fps, read_frames
from dreammotion_core.media.limits import (
    MAX_FPS,
    MIN_FPS,
    check_size,
    cut_notices,
    frame_range,
    gather_frames,
)
from dreammotion_core.spec import ModelSpec
from dreammotion_core.values import AudioTrack, Notice, Video

logger = logging.getLogger(__name__)

# The bytes depend on the number of threads, and must not on that of processors.
_H264_OPTIONS = {"crf": "16", "preset": "medium", "threads": "4"}
_AAC = Codec("aac", "w")
_FALLBACK_RATE = 48000  # of sound at a rate that AAC lacks
# FFmpeg keeps this tag, the long description, when others copy or code a file again.
_RECORD_TAG = "synopsis"
LARGEST_RECORD = 2**25
"""Characters of the record in a file; a longer one is not written, and not read."""


@dataclass(frozen=True)
class VideoInfo:
    """What a clip is, measured from its content.

    Attributes:
        width, height: pixels, after turning it upright and making its pixels square.
        fps: frames a second; of an uneven clip a rate at which next to none of its pictures is lost.
        num_frames: frames at this rate.
        duration: seconds.
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
    """Measure a clip; one frame is decoded. Raises `VideoError` if `read_video` would refuse the file."""
    clip = Clip(Path(path))
    converter = FrameConverter(clip.first, clip.pixel_aspect)
    height, width = converter.size
    return VideoInfo(
        width=width,
        height=height,
        fps=float(clip.rate),
        num_frames=clip.num_frames,
        duration=float(clip.num_frames / clip.rate),
        has_audio=clip.has_sound,
        rotation=converter.rotation,
        has_variable_rate=not clip.is_even,
    )


def read_video(
    path: str | Path, *, start_frame: int = 0, max_frames: int | None = None, fps: float | None = None
) -> Video:
    """Read a clip, or a range of its frames, at a constant frame rate, with the sound of the same time.

    A long range lies in a temporary file (see `limits`). What cannot be decoded is left out, and the picture
    before it stays. Every change of the material (turned upright, resampled, cut, fewer bits, no
    transparency, sound mixed down, parts missing, ...) is in the ``notices`` of the result.

    Args:
        path: a local file; MP4, MOV, WebM, MKV, AVI, MPEG-TS, GIF, moving WebP and others.
        start_frame: first frame to read, counted from 0 after resampling.
        max_frames: most frames to read; None reads to the end, up to 16 GiB of pixels.
        fps: frames a second of the result, 0.1 to 240; None keeps the clip's own rate.

    Raises `VideoError` if nothing of the file can be shown as a video, it has one frame, sides below 16 or
    above 4096 pixels or beyond 8:1, pictures of several sizes, or the range lies outside the clip.
    """
    if fps is not None and not (math.isfinite(fps) and MIN_FPS <= fps <= MAX_FPS):
        raise VideoError(f"fps is {fps}; pass {MIN_FPS:g} to {MAX_FPS:g} frames a second")
    clip = Clip(Path(path))
    rate = clip.rate
    if fps is not None and not is_same_rate(fps, float(rate)):
        rate = Fraction(fps).limit_denominator(1001)
    available = clip.frames_at(rate)
    selected = frame_range(available, start_frame=start_frame, max_frames=max_frames)
    reading = Reading(clip, selected, rate)
    frames = gather_frames(reading.pictures(), count=len(selected), size=reading.converter.size)
    audio = reading.sound()
    notices = (*reading.notices(), *cut_notices(selected, available))
    return Video(frames, fps=float(clip.rate) if fps is None else fps, audio=audio, notices=notices)


def write_video(video: Video, path: str | Path, *, record: Mapping[str, Any] | None = None) -> Path:
    """Write a clip as H.264 (yuv420p, BT.709, index in front) with AAC sound, and give the path.

    The `record` of an edit, plain JSON values, travels in its metadata; see `EditRecord.to_dict`. An odd
    width or height gets its last column or row repeated once, because the format needs even sides. The
    folder is made if missing, an older file is replaced. Raises `VideoError` if the name does not end in
    ``.mp4``, or the frames are too small or too large, and `OutputError` if the file cannot be written;
    nothing is left behind.
    """
    target = Path(path)
    check_target(target)
    check_size(video.size[1], video.size[0])
    text = "" if record is None else json.dumps(record, separators=(",", ":"), allow_nan=False)
    if len(text) > LARGEST_RECORD:
        logger.warning("%s does not hold the record of its edit, which is too long", target)
        text = ""
    tags = {_RECORD_TAG: text} if text else {}
    options, audio = _H264_OPTIONS, video.audio
    write_h264(video.frames, target, size=video.size, fps=video.fps, options=options, audio=audio, tags=tags)
    return target


def kept_record(path: Path) -> str | None:
    """The untrusted text that `write_video` kept as the record; None where a file has none.

    Raises `VideoError` if it is no readable video, or its record is longer than `LARGEST_RECORD`.
    """
    with opened_clip(path) as clip:
        # Other containers spell it in capitals.
        tags = {name.casefold(): text for name, text in clip.container.metadata.items()}
    text = tags.get(_RECORD_TAG)
    if text is not None and len(text) > LARGEST_RECORD:
        raise VideoError(
            f"{path.name} keeps a record of {len(text):,} characters; at most {LARGEST_RECORD:,} are read: "
            "pass the receipt of the edit instead"
        )
    return text


def check_target(path: str | Path) -> None:
    """Refuse early a place that `write_video` could not write to.

    Raises `VideoError` if the name does not end in ``.mp4``, and `OutputError` if it is a folder, or in a
    folder that may not be written to.
    """
    target = Path(path)
    if target.suffix.lower() != ".mp4":
        raise VideoError(f"the output is called {target.name!r}; choose a name that ends in .mp4")
    check_writable(target)


def is_same_rate(rate: float, other: float) -> bool:
    """Whether two frame rates differ by no more than the rounding of what files state."""
    return abs(rate - other) <= 1e-3 * other


def write_h264(
    pictures: Iterable[NDArray[np.uint8]],
    path: Path,
    *,
    size: tuple[int, int],
    fps: float,
    options: dict[str, str],
    audio: AudioTrack | None = None,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Encode (H, W, 3) uint8 RGB pictures as they come as H.264 (yuv420p, BT.709, index in front) in MP4.

    `size` is (H, W); an odd side gets its last row or column repeated once. `options` are of libx264, and
    `audio` is coded as AAC, at 48 kHz where AAC lacks its rate; `tags` are metadata. Raises `OutputError` if
    the file cannot be written; nothing is left behind.
    """
    rate = Fraction(fps).limit_denominator(1001)
    with written_atomically(path) as temporary:
        try:
            with av.open(str(temporary.resolve()), "w", options={"movflags": "+faststart"}) as container:
                container.metadata.update(tags)
                stream = container.add_stream("libx264", rate=rate, options=options, pix_fmt="yuv420p")
                stream.height, stream.width = (side + side % 2 for side in size)
                codec = stream.codec_context
                codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
                codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
                sound = None if audio is None else _sound_stream(container, audio)
                for index, picture in enumerate(pictures):
                    frame = to_yuv(picture)
                    frame.pts, frame.time_base = index, 1 / rate
                    container.mux(stream.encode(frame))
                    if audio is not None and sound is not None:
                        begin, end = (round(k / rate * audio.sample_rate) for k in (index, index + 1))
                        if begin < audio.samples.shape[1]:
                            container.mux(sound.encode(_sound_frame(audio, begin, end)))
                for finished in filter(None, (stream, sound)):
                    container.mux(finished.encode(None))
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error


def _sound_stream(container: OutputContainer, audio: AudioTrack) -> AudioStream:
    rate = audio.sample_rate if audio.sample_rate in (_AAC.audio_rates or ()) else _FALLBACK_RATE
    stream = container.add_stream("aac", rate=rate, layout=_layout(audio))
    stream.bit_rate = 192_000
    return stream


def _sound_frame(audio: AudioTrack, begin: int, end: int) -> AudioFrame:
    samples = np.ascontiguousarray(audio.samples[:2, begin:end])
    frame = AudioFrame.from_ndarray(samples, format="fltp", layout=_layout(audio))
    frame.sample_rate = audio.sample_rate
    frame.pts, frame.time_base = begin, Fraction(1, audio.sample_rate)
    return frame


def _layout(audio: AudioTrack) -> str:
    return "mono" if len(audio.samples) == 1 else "stereo"


# Of a folder that does not say how fast it is.
FOLDER_FPS = 24.0


def read_clip(
    path: str | Path,
    *,
    spec: ModelSpec,
    start_frame: int = 0,
    num_frames: int | None = None,
    fps: float | None = None,
) -> Video:
    """Read the part of a clip that a model can edit.

    Args:
        path: a video file, or a folder of PNG frames.
        spec: of the model.
        start_frame: 0-based, counted at the frame rate that is read.
        num_frames: as many as wanted, of a length that the model takes; None takes its usual length.
        fps: frames a second to resample to; None takes the model's. For a folder of frames see `read_folder`.

    A clip that is shorter than was asked for, and not of a length that the model takes, loses its end, with a
    notice (code ``fitted``). Raises `ConfigError` if the model does not take so many frames, or a folder
    keeps another rate than `fps`, and `VideoError` if the clip cannot be read, or the range makes no sense.
    """
    wanted = spec.num_frames if num_frames is None else num_frames
    check_length(wanted, spec=spec)
    video = _read(Path(path), spec, start_frame, wanted, fps)
    fitting = spec.trimmed(len(video))
    if fitting == len(video) or fitting < 2:
        return video
    left_out = len(video) - fitting
    taken = f"{spec.frame_step} k + 1"
    text = f"{spec.label} takes {taken} frames, so the last {left_out} are left out."
    video = _read(Path(path), spec, start_frame, fitting, fps)
    return replace(video, notices=(*video.notices, Notice("fitted", text)))


def read_folder(
    folder: Path, *, start_frame: int = 0, max_frames: int | None = None, fps: float | None = None
) -> Video:
    """Read a folder of PNG frames at the rate it keeps, else at `fps`, else at 24 frames a second.

    `start_frame` is the first file, counted from 0; `max_frames` None reads to the last. Raises `ConfigError`
    if the folder keeps another rate, and `VideoError` if the clip cannot be read, or the range makes no
    sense.
    """
    kept = kept_fps(folder)
    if fps is not None and kept is not None and not is_same_rate(fps, kept):
        raise ConfigError(
            f"{fps:g} frames a second are asked for; the frames in {folder} are {kept:.6g} a second, and a "
            "folder is not resampled: leave the rate out, or take the video that they come from"
        )
    rates = (rate for rate in (kept, fps, FOLDER_FPS) if rate is not None)
    return read_frames(folder, fps=next(rates), start_frame=start_frame, max_frames=max_frames)


def check_length(num_frames: int, *, spec: ModelSpec) -> None:
    """Raise `ConfigError` for a number of frames that a model does not take.

    Too few are left to those who read the clip.
    """
    if num_frames > 0 and spec.trimmed(num_frames) != num_frames:
        nearest = max(spec.trimmed(num_frames), shortest_length(spec))
        raise ConfigError(
            f"{num_frames} frames are asked for; {spec.label} takes {spec.frame_step} k + 1 of them: choose "
            f"{nearest}"
        )


def shortest_length(spec: ModelSpec) -> int:
    """The fewest frames of a clip that a model takes."""
    return max(2, spec.frame_step + 1)


def length_words(spec: ModelSpec) -> str:
    """The numbers of frames that a model takes, for people: for example ``5, 9, 13, ... or 49``."""
    step = spec.frame_step
    if step == 1:
        return f"2 to {spec.max_frames}"
    longest = spec.fit_length(spec.max_frames)
    lengths = [str(length) for length in range(step + 1, longest + 1, step)]
    if len(lengths) <= 4:
        return " or ".join(lengths)
    return f"{', '.join(lengths[:3])}, ... or {longest}"


def _read(path: Path, spec: ModelSpec, start_frame: int, num_frames: int, fps: float | None) -> Video:
    if os.path.isdir(path):
        return read_folder(path, start_frame=start_frame, max_frames=num_frames, fps=fps)
    rate = spec.fps if fps is None else fps
    return read_video(path, start_frame=start_frame, max_frames=num_frames, fps=rate)
