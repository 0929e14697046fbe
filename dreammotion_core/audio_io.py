"""The sound of a clip: decoding a span of it, and feeding it to an encoder."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from dreammotion_core.values import AudioTrack
from dreammotion_core.video_timeline import damaged, opened_clip

MAX_AUDIO_SECONDS = 20 * 60
_AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
_FALLBACK_RATE = 48000


def read_audio(path: Path, *, start: float, duration: float) -> AudioTrack | None:
    """Decode the sound over a span of time; silence fills what the file leaves open.

    Args:
        path: a file that `opened_clip` accepts.
        start: seconds, on the same clock as the presentation times of the video.
        duration: seconds, at most `MAX_AUDIO_SECONDS`.

    Returns:
        One or two channels (more are mixed down), or None if there is no sound in this span.

    Raises:
        VideoError: if the sound is damaged.
    """
    with opened_clip(path) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise damaged(path)
        samples: NDArray[np.float32] | None = None
        for frame in _resampled(container, stream, start):
            rate = frame.sample_rate
            if samples is None:
                samples = np.zeros((len(frame.layout.channels), round(duration * rate)), dtype=np.float32)
            offset = round((float(frame.time or 0.0) - start) * rate)
            if offset >= samples.shape[1]:
                break
            _place(samples, frame.to_ndarray().astype(np.float32, copy=False), offset)
    if samples is None or not samples.any():
        return None
    return AudioTrack(np.clip(samples, -1.0, 1.0), rate)


def _resampled(container: InputContainer, stream: AudioStream, start: float) -> Iterator[AudioFrame]:
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    resampler = AudioResampler(format="fltp", layout=layout)
    if stream.time_base:
        container.seek(max(0, int(start / stream.time_base)), stream=stream)
    for frame in container.decode(stream):
        yield from resampler.resample(frame)


def _place(samples: NDArray[np.float32], chunk: NDArray[np.float32], offset: int) -> None:
    begin, end = max(0, offset), min(samples.shape[1], offset + chunk.shape[1])
    if begin < end:
        samples[:, begin:end] = chunk[:, begin - offset : end - offset]


def add_audio_stream(container: av.container.OutputContainer, audio: AudioTrack) -> AudioStream:
    """Add an AAC stream that fits the track; rates that AAC lacks are resampled to 48 kHz."""
    rate = audio.sample_rate if audio.sample_rate in _AAC_RATES else _FALLBACK_RATE
    stream = container.add_stream("aac", rate=rate, layout=_layout(audio))
    stream.bit_rate = 192_000
    return stream


def audio_frame(audio: AudioTrack, *, begin: int, end: int) -> AudioFrame | None:
    """The samples from ``begin`` up to ``end``, ready for an encoder; None if there are none left."""
    chunk = audio.samples[:2, begin:end]
    if chunk.shape[1] == 0:
        return None
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(chunk), format="fltp", layout=_layout(audio))
    frame.sample_rate = audio.sample_rate
    frame.pts, frame.time_base = begin, Fraction(1, audio.sample_rate)
    return frame


def _layout(audio: AudioTrack) -> str:
    return "mono" if audio.samples.shape[0] == 1 else "stereo"
