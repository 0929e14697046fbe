"""Whether every picture that is read is the right one, in every container, codec and rate, from every start.

    python -m benchmarks.containers [--part K/N]
    python -m benchmarks.containers --generations CLIP [CLIP ...] [--options crf=16 preset=medium]
    python -m benchmarks.containers --opening CLIP [CLIP ...]

Makes clips whose pictures carry their numbers with the ffmpeg program of the package imageio-ffmpeg, reads
them as a user does, and prints which pictures are wrong. Nothing is kept.

With `--generations` it writes and reads clips twice over, as `write_video` does or with other options of
libx264, and prints how far the generations are apart. With `--opening` it reads the first 24 frames in turn
with ffmpeg's exact conversion of the same, and prints the seconds and the memory of this process.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from benchmarks.arguments import part_of
from dreammotion_core import read_video, write_video
from dreammotion_core.media.colours import FrameConverter, to_yuv
from dreammotion_core.media.video import write_h264

WIDTH, HEIGHT = 128, 96
COUNT = 45  # pictures of a clip
RATES = (Fraction(24), Fraction(30000, 1001), Fraction(60))
STARTS = (0, 5, 31)  # first frames; the second lies within the first group of pictures
RESAMPLED = 8
_GROUP = 12
_COLOURS = [
    *((191, 0, 0), (0, 191, 0), (0, 0, 191), (191, 191, 0)),
    *((0, 191, 191), (191, 0, 191), (191, 191, 191), (96, 96, 96)),
]

_H264 = ("libx264", "-crf", "14", "-bf", "2", "-pix_fmt", "yuv420p", "-sc_threshold", "0")
_HEVC = ("libx265", "-crf", "14", "-pix_fmt", "yuv420p", "-x265-params", f"log-level=none:keyint={_GROUP}")
_AV1 = ("libaom-av1", "-cpu-used", "8", "-crf", "20", "-pix_fmt", "yuv420p")
_MPEG4, _MPEG2, _MPEG1 = (
    (name, "-q:v", "2", "-bf", "2", "-pix_fmt", "yuv420p") for name in ("mpeg4", "mpeg2video", "mpeg1video")
)
_VP8, _VP9 = (
    (name, "-b:v", "900k", "-threads", "1", "-deadline", "realtime", "-cpu-used", "8", "-pix_fmt", "yuv420p")
    for name in ("libvpx", "libvpx-vp9")
)
_MJPEG, _WMV1, _WMV2, _MSMPEG4, _FLV1, _H263 = (
    (name, "-q:v", "2") for name in ("mjpeg", "wmv1", "wmv2", "msmpeg4", "flv1", "h263")
)
_FFV1, _RLE, _PRORES, _THEORA, _XVID = (
    (name,) for name in ("ffv1", "qtrle", "prores_ks", "libtheora", "libxvid")
)
CONTAINERS: dict[str, tuple[Sequence[str], ...]] = {
    "mp4": (_H264, _HEVC, _MPEG4, _VP9, _AV1),
    "mov": (_H264, _MJPEG, _PRORES, _RLE),
    "fragmented.mp4": (_H264, _HEVC, _MPEG4, _AV1),
    "mkv": (_H264, _VP8, _MPEG2, _FFV1),
    "webm": (_VP8, _VP9, _AV1, (*_VP9[:-1], "yuv444p")),
    "avi": (_MPEG4, _MJPEG, _H264, _FFV1),
    "ts": (_H264, _HEVC, _MPEG2, _MPEG4),
    "m2ts": (_H264, _HEVC, _MPEG2, _MPEG1),
    "mpg": (_MPEG1, _MPEG2, (*_MPEG2, "-flags", "+ildct+ilme"), (*_MPEG2[:-1], "yuv422p"), _H264),
    "flv": (_H264, _FLV1, _HEVC, _VP9),
    "wmv": (_WMV1, _WMV2, _MSMPEG4, _MJPEG),
    "3gp": (_H263, (*_MPEG4[:-4], "-pix_fmt", "yuv420p"), _MPEG4, _H264),
    "nut": (_H264, _MPEG4, _FFV1, _VP8),
    "ogv": (_THEORA, _VP8),
    "gif": (("gif",),),
}
_OPTIONS = {
    "fragmented.mp4": ("-movflags", "+frag_keyframe+empty_moov"),
    "m2ts": ("-f", "mpegts", "-mpegts_m2ts_mode", "1"),
    "mpg": ("-f", "vob"),
}
_GIF_RATES = (Fraction(10), Fraction(20), Fraction(50))  # the clock of a GIF counts hundredths


@dataclass(frozen=True)
class Case:
    """One clip: its container and the codec's words for ffmpeg, and its frames a second."""

    container: str
    codec: Sequence[str]
    rate: Fraction

    def __str__(self) -> str:
        return f"{self.codec[0]:12} in {self.container:14} at {float(self.rate):6.2f}"


def cases() -> list[Case]:
    """All clips of the table."""
    return [
        Case(container, codec, rate)
        for container, codecs in CONTAINERS.items()
        for codec, rate in itertools.product(codecs, _GIF_RATES if container == "gif" else RATES)
    ]


def ffmpeg(*words: object, given: bytes | None = None) -> bytes:
    """Run the ffmpeg program; what it writes to its output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *map(str, words)]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """(H, W, 3) RGB picture of eight bars; the lower third shows its number, the lowest bit on the left."""
    picture, bar = np.zeros((height, width, 3), np.uint8), width // 8
    for k, colour in enumerate(_COLOURS):
        picture[: 2 * height // 3, k * bar : (k + 1) * bar] = colour
        picture[2 * height // 3 :, k * bar : (k + 1) * bar] = 235 if number >> k & 1 else 20
    return picture


def number_of(picture: NDArray[np.uint8]) -> int:
    """The number that an upright picture of any size shows."""
    height, width = picture.shape[:2]
    middles = ((int(height * 5 / 6), int((k + 0.5) * width / 8)) for k in range(8))
    return sum(
        int(picture[y - 2 : y + 3, x - 2 : x + 3].mean() > 128) << k for k, (y, x) in enumerate(middles)
    )


def make_clip(
    path: Path,
    numbers: Sequence[int],
    *options: object,
    rate: Fraction | int = 30,
    sound: bytes | None = None,
) -> Path:
    """Encode numbered pictures."""
    size = f"{WIDTH}x{HEIGHT}"
    words: list[object] = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate, "-i", "pipe:0"]
    with tempfile.NamedTemporaryFile(suffix=".pcm") as file:
        if sound is not None:
            file.write(sound)
            file.flush()
            words += ["-f", "s16le", "-ar", 48000, "-ac", 2, "-i", file.name]
        ffmpeg(*words, *options, path, given=b"".join(numbered(number).tobytes() for number in numbers))
    return path


def shown(path: Path, *options: object, size: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    """(F, H, W, 3) RGB: the pictures that ffmpeg itself shows, each once, with its exact conversion."""
    exact = f"scale={size[1]}:{size[0]}:flags=accurate_rnd+full_chroma_int+bicubic"
    words = ("-i", path, *options, "-fps_mode", "passthrough", "-vf", exact)
    pixels = ffmpeg(*words, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(pixels, np.uint8).reshape(-1, *size, 3)


def wrong_reads(case: Case, folder: Path) -> Iterator[str]:
    """Make a clip and read it from every start, at its own rate and resampled; what is wrong."""
    path = folder / f"clip.{case.container}"
    make_clip(
        path,
        range(COUNT),
        "-c:v",
        *case.codec,
        "-g",
        _GROUP,
        *_OPTIONS.get(case.container, ()),
        rate=case.rate,
    )
    whole = shown(path, size=read_video(path, max_frames=1).size)
    if [number_of(picture) for picture in whole] != list(range(COUNT)):
        yield f"{case}: ffmpeg shows {[number_of(picture) for picture in whole]}"
        return
    duration = COUNT / case.rate
    for start, fps in itertools.product(STARTS, (None, RESAMPLED)):
        rate = case.rate if fps is None else Fraction(fps)
        count = -int(-duration * rate // 1)
        first = start if fps is None else start * rate // case.rate
        expected = [int(k * case.rate / rate) for k in range(int(first), count)]
        video = read_video(path, start_frame=int(first), fps=fps)
        found = [number_of(picture) for picture in video.frames]
        if found != expected:
            yield f"{case}, from {first} at {float(rate):.2f}: {found} instead of {expected}"
        elif abs(video.fps - float(rate)) > 1e-3:
            yield f"{case}: {video.fps} frames a second"
        elif (difference := float(np.abs(video.frames - whole[expected].astype(int)).mean())) > 1:
            yield f"{case}, from {first}: {difference:.2f} of 255 beside ffmpeg's own colours"


def generations(path: Path, folder: Path, options: dict[str, str]) -> str:
    """Write and read a clip twice over: mean differences of 255 levels, kilobytes, processor seconds."""
    clips, seconds, sizes = [read_video(path)], [], []
    height, width = clips[0].size
    for name in ("first.mp4", "second.mp4"):
        began = time.process_time()
        if options:
            target = folder / name
            write_h264(clips[-1].frames, target, size=clips[-1].size, fps=clips[-1].fps, options=options)
        else:
            target = write_video(clips[-1], folder / name)
        seconds.append(time.process_time() - began)
        sizes.append(target.stat().st_size / 1000)
        clips.append(read_video(target))
    source, first, second = (clip.frames[:, :height, :width].astype(np.int16) for clip in clips)
    without_codec = []
    for picture in clips[1].frames:
        frame = to_yuv(picture)
        without_codec.append(FrameConverter(frame, 1.0).to_rgb(frame))
    chroma = np.abs(np.stack(without_codec)[:, :height, :width] - first).mean()
    count, duration = len(source), len(source) / clips[0].fps
    return (
        f"{path.parent.name:12} {width}x{height} {count:3} frames: second to first "
        f"{np.abs(second - first).mean():.3f} (of 4:2:0 alone {chroma:.3f}), first to source "
        f"{np.abs(first - source).mean():.2f}, {sizes[0] / duration:.0f} kB a second of clip, "
        f"{1000 * seconds[0] / count:.0f} ms of a processor a frame"
    )


def opening(path: Path) -> str:
    """The first frames by us and by ffmpeg, in turn: best seconds of three, and how much memory we took."""
    exact = ("-vf", "scale=flags=accurate_rnd+full_chroma_int+bicubic", "-f", "rawvideo", "-pix_fmt", "rgb24")
    seconds: dict[str, list[float]] = {"ours": [], "ffmpeg": []}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        for name, taken in seconds.items():
            began = time.perf_counter()
            if name == "ours":
                read_video(path, max_frames=24)
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            else:
                ffmpeg("-i", path, "-frames:v", 24, *exact, "-y", os.devnull)
            taken.append(time.perf_counter() - began)
    ours, theirs = (min(taken) for taken in seconds.values())
    return f"{path}: {ours:.2f} s, ffmpeg {theirs:.2f} s, ratio {ours / theirs:.2f}; {memory / 2**20:.2f} GiB"


def main(words: Sequence[str] | None = None) -> int:
    """Read the whole table, or a part of it; 1 if anything is wrong. Or measure generations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", type=part_of, default=(1, 1), metavar="K/N", help="only every N-th clip")
    parser.add_argument("--generations", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--opening", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--options", nargs="+", default=(), metavar="NAME=VALUE", help="of libx264")
    chosen_words = parser.parse_args(words)
    if chosen_words.opening:
        for path in chosen_words.opening:
            print(opening(path), flush=True)
        return 0
    if chosen_words.generations:
        options = dict(word.split("=", 1) for word in chosen_words.options)
        with tempfile.TemporaryDirectory() as folder:
            for path in chosen_words.generations:
                print(generations(path, Path(folder), options), flush=True)
        return 0
    part, parts = chosen_words.part
    chosen = cases()[part - 1 :: parts]
    num_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            for fault in wrong_reads(case, Path(folder)):
                num_wrong += 1
                print(fault)
    reads = len(chosen) * len(STARTS) * 2
    print(f"{len(chosen)} clips, {reads} reads, {num_wrong} wrong")
    return int(num_wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
