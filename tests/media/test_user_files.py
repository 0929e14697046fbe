"""Kinds of files that people really have, made here, read right to the picture and to the sound.

Every picture carries its number. What ffmpeg itself shows is the measure.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("imageio_ffmpeg", reason="the package imageio-ffmpeg makes the files")

from benchmarks.containers import (
    HEIGHT,
    WIDTH,
    Case,
    cases,
    ffmpeg,
    make_clip,
    number_of,
    numbered,
    shown,
    wrong_reads,
)
from dreammotion_core import VideoError, read_video, write_video
from dreammotion_core.media.decoding import OpenClip
from dreammotion_core.media.video import probe_video
from dreammotion_core.values import AudioTrack, Video

H264 = ("-c:v", "libx264", "-crf", "14", "-pix_fmt", "yuv420p", "-bf", "2", "-g", "30", "-sc_threshold", "0")
VP8 = ("-c:v", "libvpx", "-b:v", "900k", "-threads", 1, "-deadline", "realtime", "-cpu-used", 8)
AAC = ("-c:a", "aac")
EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"


def numbers(video: Video) -> list[int]:
    return [number_of(picture) for picture in video.frames]


def codes(video: Video) -> set[str]:
    return {notice.code for notice in video.notices}


def beeps(seconds: float, *at: float) -> bytes:
    """Stereo silence with a short tone at each of the given seconds."""
    time = np.arange(round(seconds * 48000)) / 48000
    tone = np.zeros_like(time)
    for begin in at:
        tone += ((time >= begin) & (time < begin + 0.06)) * np.sin(2000 * np.pi * (time - begin))
    return (np.repeat(0.6 * tone[:, None], 2, 1) * 32767).astype(np.int16).tobytes()


def heard(audio: AudioTrack | None) -> list[float]:
    """The seconds at which tones begin."""
    assert audio is not None
    loud = np.flatnonzero(np.abs(audio.samples[0]) > 0.15) / audio.sample_rate
    return [float(later) for sooner, later in pairwise([-1.0, *loud]) if later - sooner > 0.1]


def joined(path: Path, *parts: Path) -> Path:
    """One stream of several files, copied packet by packet."""
    listing = path.with_suffix(".txt")
    listing.write_text("".join(f"file '{part}'\n" for part in parts))
    ffmpeg("-f", "concat", "-safe", "0", "-i", listing, "-c", "copy", path)
    return path


def with_tone(path: Path, channels: int, first: int) -> Path:
    """A second of a transport stream with AC-3 sound of some channels."""
    pictures = make_clip(path.with_suffix(".mkv"), range(first, first + 30), *H264)
    layout = {2: "stereo", 6: "5.1"}[channels]
    tone = f"sine=f=500:d=1:r=48000,aformat=channel_layouts={layout}"
    ffmpeg("-i", pictures, "-f", "lavfi", "-i", tone, "-c:v", "copy", "-c:a", "ac3", path)
    return path


# --- containers without an index, clocks of every kind --------------------------------------------


@pytest.mark.parametrize("start", [0, 1, 5, 29, 30, 31, 59, 86])
def test_a_start_anywhere_in_a_transport_stream_gives_the_pictures_asked_for(
    tmp_path: Path, start: int
) -> None:
    path = make_clip(tmp_path / "clip.ts", range(90), *H264)

    assert numbers(read_video(path, start_frame=start, max_frames=4)) == list(range(start, start + 4))


@pytest.mark.parametrize("options", [("open-gop=1",), ("intra-refresh=1",)])
@pytest.mark.parametrize("name", ["clip.ts", "clip.mkv", "clip.mp4"])
def test_groups_that_lean_on_each_other_are_read_from_where_they_can_be(
    tmp_path: Path, name: str, options: tuple[str]
) -> None:
    path = make_clip(tmp_path / name, range(90), *H264, "-x264-params", *options)

    assert numbers(read_video(path, start_frame=28, max_frames=6)) == list(range(28, 34))


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_avi_is_neither_late_nor_early_when_it_is_resampled(tmp_path: Path, codec: str) -> None:
    words = ("-c:v", codec, "-q:v", 2, "-c:a", "pcm_s16le")
    path = make_clip(tmp_path / "ten.avi", range(30), *words, rate=10, sound=beeps(3, 0.5, 1.5))

    clip = read_video(path, fps=8)

    assert numbers(clip) == [k * 10 // 8 for k in range(24)]
    assert heard(clip.audio) == pytest.approx([0.5, 1.5], abs=0.01)


def test_pictures_that_an_avi_leaves_out_stay_on_screen(tmp_path: Path) -> None:
    left_out = ("-vf", r"select=not(between(n\,10\,12)+eq(n\,20))", "-fps_mode", "passthrough")
    path = make_clip(tmp_path / "gaps.avi", range(40), *left_out, "-c:v", "mpeg4", "-q:v", 2)

    shown_numbers = [number if number not in (10, 11, 12, 20) else min(number, 9) for number in range(40)]
    shown_numbers[20] = 19
    assert numbers(read_video(path)) == shown_numbers


@pytest.mark.parametrize("name", ["clip.avi", "clip.h264", "clip.m2v", "clip.mjpeg"])
def test_streams_without_times_of_display_are_read_in_order(tmp_path: Path, name: str) -> None:
    codecs = {".m2v": ("-c:v", "mpeg2video", "-q:v", 2, "-bf", 2), ".mjpeg": ("-c:v", "mjpeg", "-q:v", 2)}
    path = make_clip(tmp_path / name, range(60), *codecs.get(Path(name).suffix, H264), rate=25)

    assert numbers(read_video(path)) == list(range(60))
    assert numbers(read_video(path, start_frame=33, max_frames=3)) == [33, 34, 35]


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("form", ["vob", "mpeg"])
def test_h264_in_a_program_stream_of_few_times_loses_and_doubles_nothing(
    tmp_path: Path, form: str, b_frames: int
) -> None:
    codec = [str(b_frames) if word == "2" else word for word in H264]
    path = make_clip(tmp_path / "clip.mpg", range(60), *codec, "-f", form, rate=25)

    clip = read_video(path)

    assert (clip.fps, numbers(clip), codes(clip)) == (25, list(range(60)), {"assumed_times"})
    assert numbers(read_video(path, start_frame=33, max_frames=3)) == [33, 34, 35]


@pytest.mark.parametrize("rate", [30, 60, Fraction(30000, 1001), 120, 240])
@pytest.mark.parametrize("name", ["clip.mkv", "clip.webm", "clip.flv"])
def test_a_clock_of_milliseconds_and_a_missing_picture_keep_the_true_rate(
    tmp_path: Path, name: str, rate: Fraction | int
) -> None:
    left_out = ("-vf", r"select=not(eq(n\,40))", "-fps_mode", "passthrough", "-enc_time_base", "1:1000")
    path = make_clip(
        tmp_path / name, range(90), *left_out, *(VP8 if name == "clip.webm" else H264), rate=rate
    )

    clip = read_video(path)

    assert clip.fps == pytest.approx(float(rate))
    assert numbers(clip) == [*range(40), 39, *range(41, 90)]


@pytest.mark.parametrize("rate", [24, Fraction(30000, 1001), 30, 60, Fraction(60000, 1001), 120, 240])
def test_a_clock_of_milliseconds_loses_and_doubles_nothing(tmp_path: Path, rate: Fraction | int) -> None:
    path = make_clip(tmp_path / "clip.mkv", range(250), *H264, "-preset", "ultrafast", rate=rate)

    clip = read_video(path)

    assert clip.fps == pytest.approx(float(rate))
    assert numbers(clip) == list(range(250))
    assert codes(clip) == set()


def test_two_seconds_read_at_eight_a_second_are_sixteen_pictures_in_every_container(tmp_path: Path) -> None:
    for name in ("clip.mkv", "clip.mp4", "clip.ts", "clip.avi"):
        path = make_clip(tmp_path / name, range(60), *H264)

        assert len(read_video(path, fps=8)) == 16, name


def test_an_uneven_screen_recording_loses_next_to_no_picture(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    times = np.cumsum(random.choice([16, 17, 33, 34, 50, 400], 200, p=[0.2, 0.2, 0.2, 0.2, 0.15, 0.05]))
    path = tmp_path / "recording.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=1000, options={"crf": "14"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts, frame.time_base = int(time - times[0]), Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    clip = read_video(path)

    assert len(set(numbers(clip))) >= 198
    assert clip.duration == pytest.approx((times[-1] - times[0]) / 1000, abs=0.1)
    assert codes(clip) == {"variable_fps"}


@pytest.mark.parametrize("name", ["rests.gif", "rests.webp", "rests.png"])
def test_a_moving_picture_rests_on_its_last_frame(tmp_path: Path, name: str) -> None:
    first, *others = (Image.fromarray(numbered(number)).quantize(64) for number in range(6))
    path = tmp_path / name
    first.save(path, save_all=True, append_images=others, duration=[500, 100, 100, 100, 100, 1000], loop=0)

    clip = read_video(path)

    assert (clip.fps, numbers(clip)) == (10, [0] * 5 + [1, 2, 3, 4] + [5] * 10)
    assert numbers(read_video(path, start_frame=7, max_frames=3)) == [3, 4, 5]


def test_transparency_of_moving_webp_lies_over_black(tmp_path: Path) -> None:
    opaque = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    opaque[:, 32:] = 255
    first, *others = (Image.fromarray(np.concatenate([numbered(4 * k), opaque], 2)) for k in range(6))
    path = tmp_path / "cut-out.webp"
    first.save(path, save_all=True, append_images=others, duration=50, lossless=True)

    clip = read_video(path)

    assert (clip.fps, numbers(clip), codes(clip)) == (20, [4 * k for k in range(6)], {"alpha"})
    assert clip.frames[:, :, :28].max() == 0


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_damaged_webp_and_a_still_one_are_refused(tmp_path: Path, share: float) -> None:
    first, *others = (Image.fromarray(numbered(number)) for number in range(6))
    path = tmp_path / "moving.webp"
    first.save(path, save_all=True, append_images=others, duration=50)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    first.save(tmp_path / "still.webp")

    with pytest.raises(VideoError, match=r"damaged, cut off.*GIF or WebP file"):
        read_video(path)
    with pytest.raises(VideoError, match="has one frame"):
        read_video(tmp_path / "still.webp")


# --- trimmed, joined, begun in the middle, damaged ------------------------------------------------


@pytest.mark.parametrize(("begin", "seconds"), [(1.5, 1.5), (0.5, 3.0), (0.1, 0.4)])
def test_a_clip_that_was_trimmed_by_its_edit_list_shows_what_is_left(
    tmp_path: Path, begin: float, seconds: float
) -> None:
    no_reordering = [word if word != "2" else "0" for word in H264]
    no_reordering[no_reordering.index("30")] = "20"
    sound = beeps(4, 1, 2, 2.5, 3)
    path = make_clip(tmp_path / "phone.mp4", range(120), *no_reordering, *AAC, sound=sound)
    data = bytearray(path.read_bytes())
    places = {name: [k for k in range(len(data)) if data.startswith(name, k)] for name in (b"elst", b"mdhd")}
    movie = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)[0]
    for elst, mdhd in zip(places[b"elst"], places[b"mdhd"], strict=True):
        scale = struct.unpack_from(">I", data, mdhd + 16)[0]
        hidden = struct.unpack_from(">i", data, elst + 16)[0] + round(begin * scale)
        struct.pack_into(">Ii", data, elst + 12, round(seconds * movie), hidden)
    path.write_bytes(data)

    clip = read_video(path)

    assert numbers(clip) == [number_of(picture) for picture in shown(path)]
    assert numbers(clip) == list(range(round(begin * 30), round((begin + seconds) * 30)))
    expected = [tone - begin for tone in (1, 2, 2.5, 3) if begin <= tone < begin + seconds]
    assert clip.audio is None if not expected else heard(clip.audio) == pytest.approx(expected, abs=0.03)
    assert codes(clip) == set()


@pytest.mark.parametrize("count", [2, 3])
def test_segments_behind_one_another_are_one_clip(tmp_path: Path, count: int) -> None:
    parts = [
        make_clip(tmp_path / f"{k}.ts", range(30 * k, 30 * k + 30), *H264, *AAC, sound=beeps(1, 0.5))
        for k in range(count)
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))

    clip = read_video(path)

    assert numbers(clip) == list(range(30 * count))
    assert heard(clip.audio) == pytest.approx([k + 0.5 for k in range(count)], abs=0.03)
    assert codes(clip) == set()
    assert numbers(read_video(path, start_frame=28, max_frames=4)) == [28, 29, 30, 31]


CODECS_OF = {
    ".webm": (*VP8, "-c:a", "libopus"),
    ".mpg": ("-c:v", "mpeg2video", "-q:v", 2, "-bf", 2, "-c:a", "mp2"),
    ".wmv": ("-c:v", "wmv2", "-q:v", 2, "-c:a", "wmav2"),
    ".ogv": ("-c:v", "libtheora", "-q:v", 8, "-c:a", "libvorbis"),
    ".ivf": VP8,
}


@pytest.mark.parametrize("rate", [10, 30])
@pytest.mark.parametrize("name", ["joined.mkv", "joined.webm", "joined.mpg"])
def test_files_behind_one_another_are_one_clip_where_their_kind_allows_it(
    tmp_path: Path, name: str, rate: int
) -> None:
    codec = CODECS_OF.get(Path(name).suffix, (*H264, *AAC))
    if name.endswith("mpg"):
        rate = 25 if rate == 10 else rate
    seconds = 30 / rate
    parts = [
        make_clip(
            tmp_path / f"{k}{Path(name).suffix}",
            range(30 * k, 30 * k + 30),
            *codec,
            rate=rate,
            sound=beeps(seconds, seconds / 2),
        )
        for k in range(2)
    ]
    path = tmp_path / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))

    clip = read_video(path)

    assert (clip.fps, numbers(clip), codes(clip)) == (rate, list(range(60)), set())
    assert heard(clip.audio) == pytest.approx([seconds / 2, 1.5 * seconds], abs=0.03)


@pytest.mark.parametrize("name", ["joined.flv", "joined.mp4", "joined.wmv", "joined.ogv", "joined.ivf"])
def test_what_lies_behind_the_end_of_a_file_is_said(tmp_path: Path, name: str) -> None:
    codec = CODECS_OF.get(Path(name).suffix, (*H264, *AAC))
    sound = None if name.endswith("ivf") else beeps(1, 0.5)
    parts = [
        make_clip(tmp_path / f"{k}{Path(name).suffix}", range(30 * k, 30 * k + 30), *codec, sound=sound)
        for k in range(2)
    ]
    path = tmp_path / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))

    assert codes(read_video(parts[0])) == set()
    assert (numbers(read_video(path)), codes(read_video(path))) == (list(range(30)), {"joined"})
    assert codes(read_video(path, max_frames=8)) == {"cut"}


def test_a_recording_begins_at_the_first_picture_that_can_be_shown(tmp_path: Path) -> None:
    sound = beeps(3, 0.5, 1.5, 2.5)
    whole = make_clip(tmp_path / "whole.ts", range(90), *H264, *AAC, sound=sound).read_bytes()
    path = tmp_path / "part.ts"
    path.write_bytes(whole[len(whole) // 188 // 6 * 188 :])

    clip = read_video(path)

    assert numbers(clip) == list(range(30, 90))
    assert heard(clip.audio) == pytest.approx([0.5, 1.5], abs=0.03)
    assert codes(clip) == {"late_start"}
    assert codes(read_video(path, start_frame=3, max_frames=4)) == {"cut"}


def test_a_packet_that_is_lost_late_does_not_matter_to_what_lies_before(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.ts", range(240), *H264).read_bytes()
    lost = len(whole) // 188 * 9 // 10 * 188
    path = tmp_path / "lossy.ts"
    path.write_bytes(whole[:lost] + whole[lost + 188 :])

    assert numbers(read_video(path, max_frames=30)) == list(range(30))
    assert codes(read_video(path, max_frames=30)) == {"cut"}
    assert len(read_video(path)) == 240


@pytest.mark.parametrize("name", ["clip.mkv", "clip.webm", "clip.flv", "clip.ts", "clip.avi", "clip.mpg"])
def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path, name: str) -> None:
    codec = {".webm": VP8, ".mpg": ("-c:v", "mpeg2video", "-q:v", 2)}
    whole = make_clip(tmp_path / name, range(90), *codec.get(Path(name).suffix, H264[:-6]))
    path = tmp_path / f"part-{name}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])

    clip = read_video(path)

    assert numbers(clip)[:10] == list(range(10))
    assert len(clip) < 85
    if name.endswith(("mkv", "webm", "flv", "avi")):
        assert "cut_off" in codes(clip)
    assert "cut_off" not in codes(read_video(path, max_frames=10))


@pytest.mark.parametrize("name", ["hole.mkv", "hole.mp4", "hole.ts"])
def test_a_hole_in_a_file_is_called_damage(tmp_path: Path, name: str) -> None:
    path = make_clip(tmp_path / name, range(120), *H264)
    content = bytearray(path.read_bytes())
    middle = len(content) * 4 // 10
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)

    clip = read_video(path)

    assert numbers(clip)[:20] == list(range(20))
    assert numbers(clip)[-20:] == list(range(100, 120))
    assert codes(clip) == {"damaged"}


def test_hidden_pictures_are_not_counted(tmp_path: Path) -> None:
    codec = ("-c:v", "libvpx", "-b:v", "150k", "-threads", 1, "-auto-alt-ref", 1, "-lag-in-frames", 16)
    for number in (1, 2):
        log = ("-passlogfile", tmp_path / "log", "-pass", number)
        path = make_clip(tmp_path / "hidden.webm", range(90), *codec, *log)

    clip = read_video(path)

    assert (clip.fps, numbers(clip), codes(clip)) == (30, list(range(90)), set())


# --- tracks, channels, transparency, scans --------------------------------------------------------


@pytest.mark.parametrize("name", ["joined.ts", "joined.mkv", "joined.mp4"])
@pytest.mark.parametrize("channels", [(2, 6), (6, 2)])
def test_sound_that_changes_its_channels_is_kept(
    tmp_path: Path, name: str, channels: tuple[int, int]
) -> None:
    parts = [with_tone(tmp_path / f"{k}.ts", c, 30 * k) for k, c in enumerate(channels)]
    path = joined(tmp_path / name, *parts)

    clip = read_video(path)

    # Where the first sound is a little longer than its pictures, the last of them stays.
    assert [number for number, _ in groupby(numbers(clip))] == list(range(60))
    assert clip.audio is not None
    seconds = np.abs(clip.audio.samples[:, : 2 * 48000]).reshape(2, 2, -1).max(axis=(0, 2))
    assert seconds.min() > 0.05
    assert codes(clip) - {"variable_fps"} == {"audio_mixed"}
    assert read_video(path, start_frame=40, max_frames=10).audio is not None


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_the_track_of_sound_that_players_play_is_taken(tmp_path: Path, suffix: str) -> None:
    pictures = make_clip(tmp_path / "pictures.mkv", range(60), *H264)
    for name, sound in (("silence", beeps(2)), ("voice", beeps(2, 0.5, 1))):
        (tmp_path / name).write_bytes(sound)
    path = tmp_path / f"tracks{suffix}"
    pcm = ("-f", "s16le", "-ar", 48000, "-ac", 2, "-i")
    inputs = ("-i", pictures, *pcm, tmp_path / "silence", *pcm, tmp_path / "voice")
    choice = ("-disposition:a:0", "0", "-disposition:a:1", "default")
    ffmpeg(*inputs, "-map", 0, "-map", 1, "-map", 2, "-c:v", "copy", *AAC, *choice, path)

    clip = read_video(path)

    assert heard(clip.audio) == pytest.approx([0.5, 1], abs=0.03)
    assert codes(clip) == {"sound_tracks"}


def test_surround_sound_is_mixed_down_and_that_is_said(tmp_path: Path) -> None:
    path = with_tone(tmp_path / "surround.ts", 6, 0)

    clip = read_video(path)

    assert clip.audio is not None
    assert clip.audio.samples.shape[0] == 2
    assert codes(clip) == {"audio_mixed"}


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_transparency_of_webm_lies_over_black(tmp_path: Path, codec: str) -> None:
    opaque = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    opaque[:, 32:96] = 255
    frames = b"".join(np.concatenate([numbered(number), opaque], 2).tobytes() for number in range(10))
    path = tmp_path / "cut-out.webm"
    raw = ("-f", "rawvideo", "-pix_fmt", "rgba", "-s", f"{WIDTH}x{HEIGHT}", "-r", 30, "-i", "pipe:0")
    ffmpeg(
        *raw,
        "-c:v",
        codec,
        "-pix_fmt",
        "yuva420p",
        "-auto-alt-ref",
        0,
        *VP8[4:],
        "-b:v",
        "900k",
        path,
        given=frames,
    )

    clip = read_video(path)

    assert clip.frames[:, :, :28].max() <= 8
    assert clip.frames[:, : HEIGHT // 2, 36:44].max() > 150
    assert codes(clip) == {"alpha"}


def test_interlaced_pictures_are_said(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "fields.ts", range(30), *H264, "-flags", "+ildct+ilme", "-x264-params", "tff=1"
    )

    clip = read_video(path)

    assert numbers(clip) == list(range(30))
    assert codes(clip) == {"interlaced"}


@pytest.mark.parametrize("name", ["camcorder.mts", "camcorder.m2ts", "PHONE.3GP", "CLIP.MOV"])
def test_what_cameras_write_is_read(tmp_path: Path, name: str) -> None:
    form = {
        ".mts": ("-f", "mpegts"),
        ".m2ts": ("-f", "mpegts", "-mpegts_m2ts_mode", 1),
        ".3gp": ("-f", "3gp"),
    }
    suffix = Path(name).suffix.lower()
    path = make_clip(tmp_path / name, range(30), *H264, *AAC, *form.get(suffix, ()), sound=beeps(1, 0.5))

    clip = read_video(path)

    assert numbers(clip) == list(range(30))
    assert heard(clip.audio) == pytest.approx([0.5], abs=0.03)
    assert codes(clip) == set()


# --- colours --------------------------------------------------------------------------------------

FORMS = {
    "bt601": ("-pix_fmt", "yuv420p", "-colorspace", "smpte170m"),
    "bt709": ("-pix_fmt", "yuv420p", "-colorspace", "bt709"),
    "full": ("-pix_fmt", "yuvj420p", "-color_range", "pc"),
    "ten": ("-pix_fmt", "yuv420p10le", "-colorspace", "bt709"),
    "422": ("-pix_fmt", "yuv422p", "-colorspace", "bt709"),
    "444": ("-pix_fmt", "yuv444p", "-colorspace", "bt709"),
    "grey": ("-pix_fmt", "gray"),
}


@pytest.mark.parametrize("form", FORMS)
def test_colours_are_those_of_exact_conversion(tmp_path: Path, form: str) -> None:
    path = make_clip(tmp_path / "clip.mkv", range(4), "-c:v", "libx264", "-crf", "8", *FORMS[form])

    difference = read_video(path).frames.astype(int) - shown(path)

    assert abs(difference).mean() <= 0.1
    assert abs(difference.mean()) <= 0.05


def panned_texture(size: tuple[int, int] = (112, 144), count: int = 30) -> NDArray[np.uint8]:
    """A camera that passes over ground of all scales, with grain."""
    random = np.random.default_rng(0)
    ground = np.zeros((size[0], size[1] + 2 * count, 3))
    for scale in (1, 2, 4, 8, 16):
        coarse = random.normal(0, scale, (*(side // scale + 2 for side in ground.shape[:2]), 1))
        tint = random.normal(0, 3 if scale > 2 else 0, (*coarse.shape[:2], 3))
        ground += (coarse + tint).repeat(scale, 0).repeat(scale, 1)[: len(ground), : ground.shape[1]]
    grain = random.normal(0, 2, (count, *size, 1))
    views = np.stack([ground[:, 2 * k : 2 * k + size[1]] for k in range(count)])
    return np.clip(views + grain + 120, 0, 255).astype(np.uint8)


def fading(count: int = 30) -> NDArray[np.uint8]:
    """A colour gradient that darkens."""
    y, x = np.mgrid[:96, :128]
    gradient = np.stack([2 * x, 2 * y, 255 - x - y], -1)
    return np.stack([gradient * (1 - k / count) for k in range(count)]).astype(np.uint8)


CONTENTS: dict[str, Callable[[], NDArray[np.uint8]]] = {
    "texture": panned_texture,
    "fade": fading,
    "bars": lambda: np.stack([numbered(number) for number in range(30)]),
    "cartoon": lambda: read_video(EXAMPLES / "cat" / "clip.mp4").frames,
}


@pytest.mark.parametrize("content", CONTENTS)
def test_a_second_generation_is_the_first_and_in_step(tmp_path: Path, content: str) -> None:
    pcm = np.frombuffer(beeps(1.25, 0.25, 0.75), np.int16).reshape(-1, 2).T / 32768
    source = Video(CONTENTS[content](), 24.0, AudioTrack(pcm.astype(np.float32), 48000))

    first = read_video(write_video(source, tmp_path / "first.mp4"))
    second = read_video(write_video(first, tmp_path / "second.mp4"))

    difference = second.frames.astype(int) - first.frames
    # The bars' hard edges between pure colours lose 0.67 by chroma of half the size alone.
    most, bias = (0.75, 0.3) if content == "bars" else (0.5, 0.1)
    assert abs(difference).mean() <= most
    assert abs(difference.mean()) <= bias
    assert abs((first.frames.astype(int) - source.frames).mean()) <= 0.5
    assert first.audio is not None
    assert second.audio is not None
    assert second.audio.samples.shape == first.audio.samples.shape
    assert np.abs(second.audio.samples - first.audio.samples).mean() < 1e-3
    assert codes(second) == set()


# --- the table: a sample of it in make test --------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=str(case), marks=[pytest.mark.long] if index % 17 else [])
        for index, case in enumerate(cases())
    ],
)
def test_every_picture_of_every_container_codec_and_rate_is_the_right_one(tmp_path: Path, case: Case) -> None:
    assert list(wrong_reads(case, tmp_path)) == []


# --- files that cannot be used --------------------------------------------------------------------


def cover_art(path: Path) -> Path:
    Image.fromarray(numbered(1)).save(path.with_suffix(".png"))
    tone = ("-f", "lavfi", "-i", "sine=d=1")
    cover = ("-map", 0, "-map", 1, "-c:v", "mjpeg", "-disposition:v", "attached_pic")
    ffmpeg(*tone, "-i", path.with_suffix(".png"), *cover, "-f", "mp4", path)
    return path


def subtitles(path: Path) -> Path:
    path.with_suffix(".srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    ffmpeg("-i", path.with_suffix(".srt"), path)
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def fast(path: Path) -> Path:
    return make_clip(path, range(100), "-c:v", "mpeg4", "-enc_time_base", "1:1000", rate=1000)


def narrow(path: Path) -> Path:
    ffmpeg("-f", "lavfi", "-i", "color=s=16000x100:d=0.1", "-c:v", "ffv1", path)
    return path


@pytest.mark.parametrize(
    ("name", "make", "sentence"),
    [
        ("song.mp4", cover_art, r"no video stream, only a cover picture and sound; pass"),
        ("words.mkv", subtitles, r"no video stream, only subtitles; pass"),
        ("pipe.mp4", pipe, r"is a pipe or a device; pass"),
        ("folder.mp4", folder, r"is a folder; pass"),
        ("fast.mkv", fast, r"runs at 1000 frames a second; 0.1 to 240 are accepted: convert"),
        ("narrow.mkv", narrow, r"is 16000x100 pixels; at most 4096 on a side are accepted: downscale"),
    ],
)
def test_what_is_no_video_is_refused_in_a_sentence(
    tmp_path: Path, name: str, make: Callable[[Path], Path], sentence: str
) -> None:
    path = make(tmp_path / name)

    with pytest.raises(VideoError, match=sentence):
        read_video(path)
    with pytest.raises(VideoError, match=sentence):
        probe_video(path)


def test_names_of_any_bytes_are_read_and_impossible_ones_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", range(4), *H264).read_bytes()
    for name in (b"\xff\xfe.mp4", "ж".encode() * 120 + b".mp4", b"a#%&'? \n.mp4"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        path.write_bytes(clip)

        assert len(read_video(path)) == 4

    with pytest.raises(VideoError, match="cannot be opened"):
        read_video(tmp_path / ("y" * 300 + ".mp4"))
    with pytest.raises(VideoError, match="cannot be opened"):
        read_video("zero\0byte.mp4")
    with pytest.raises(VideoError, match="cannot be opened"):
        read_video(tmp_path / "clip.mp4" / "below.mp4")
    (tmp_path / "round.mp4").symlink_to("round.mp4")
    with pytest.raises(VideoError, match="cannot be opened"):
        read_video(tmp_path / "round.mp4")


def test_words_in_a_file_that_are_no_utf8_do_not_matter(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mkv", range(4), *H264, "-metadata", "title=QQQQQQQQ")
    path.write_bytes(path.read_bytes().replace(b"QQQQQQQQ", b"\xff\xfe\xfd\xfc\xff\xfe\xfd\xfc"))

    assert len(read_video(path)) == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_the_right_to_read_it_is_called_that(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", range(4), *H264)
    path.chmod(0)

    with pytest.raises(VideoError, match=r"Permission denied.*permissions"):
        read_video(path)


def test_a_file_that_grows_is_read_as_it_was(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.ts", range(90), *H264).read_bytes()
    path = tmp_path / "growing.ts"
    path.write_bytes(whole[: len(whole) // 2 // 188 * 188])
    before = numbers(read_video(path))
    path.write_bytes(whole)

    assert numbers(read_video(path))[: len(before) - 1] == before[:-1]


def test_no_more_is_decoded_than_the_range_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "clip.mp4", range(250), *H264)
    frames, decoded = OpenClip.frames, list[int]()

    def counted(self: OpenClip, *arguments: Any) -> Iterator[Any]:
        for frame in frames(self, *arguments):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(OpenClip, "frames", counted)
    read_video(path, start_frame=100, max_frames=4)

    assert len(decoded) < 60
