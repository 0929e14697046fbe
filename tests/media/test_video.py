"""Clips come in as they are shown and go out as they were, and whatever changes is said."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import resource
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dreammotion_core.errors import OutputError, VideoError
from dreammotion_core.media import limits
from dreammotion_core.media.frames import kept_fps, read_frames, write_frames
from dreammotion_core.media.masks import read_masks
from dreammotion_core.media.video import probe_video, read_video, write_video
from dreammotion_core.values import AudioTrack, Video

H, W = 48, 64


def codes(video: Video) -> set[str]:
    return {notice.code for notice in video.notices}


def grey_ramp(count: int, height: int = H, width: int = W) -> NDArray[np.uint8]:
    """Frame i is one grey, 10 + 4 i, so that a decoded frame tells which one it is."""
    levels = np.arange(count, dtype=np.uint8) * 4 + 10
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def which(video: Video) -> list[int]:
    """The numbers of the frames of a grey ramp."""
    return [round((float(frame.mean()) - 10) / 4) for frame in video.frames]


def encode(
    path: Path,
    frames: NDArray[np.uint8],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: int | Fraction = 24,
    milliseconds: Sequence[int] | None = None,
    container: str | None = None,
    options: dict[str, str] | None = None,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """Encode a clip with settings of its own, independent of the code under test."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba" if pixels.shape[-1] == 4 else "rgb24")
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[index], Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def with_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Patch the orientation that phones write into an MP4's track header."""
    content = bytearray(path.read_bytes())
    offset = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    one = 1 << 16
    content[offset : offset + 36] = struct.pack(
        ">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30
    )
    path.write_bytes(content)
    return path


def corner_marked(count: int = 4) -> NDArray[np.uint8]:
    """Black frames whose top left quarter is red and top right quarter is blue."""
    frames = np.zeros((count, H, W, 3), np.uint8)
    frames[:, : H // 2, : W // 2, 0] = 255
    frames[:, : H // 2, W // 2 :, 2] = 255
    return frames


def tone(seconds: float, rate: int = 48000, channels: int = 2) -> AudioTrack:
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * 440 * time).astype(np.float32)
    return AudioTrack(np.tile(wave, (channels, 1)), rate)


# --- a round trip ---------------------------------------------------------------------------------


def test_written_clip_reads_back_with_size_rate_length_and_colours(tmp_path: Path) -> None:
    frames = corner_marked(6)

    clip = read_video(write_video(Video(frames, fps=24.0), tmp_path / "clip.mp4"))

    assert clip.frames.shape == frames.shape
    assert clip.fps == 24.0
    assert clip.notices == ()
    # Chroma is stored at half resolution: compare away from edges.
    difference = np.abs(clip.frames.astype(int) - frames)[:, 4 : H // 2 - 4, 4 : W // 2 - 4]
    assert difference.max() <= 4


def test_written_clip_plays_everywhere_and_starts_at_once(tmp_path: Path) -> None:
    path = write_video(Video(grey_ramp(4), fps=24.0), tmp_path / "clip.mp4")

    content = path.read_bytes()
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        assert int(codec.colorspace) == int(codec.color_primaries) == int(codec.color_trc) == 1
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("fps", [8.0, 24.0, 30000 / 1001, 12.5])
def test_frame_rate_survives_a_round_trip(tmp_path: Path, fps: float) -> None:
    clip = read_video(write_video(Video(grey_ramp(10), fps=fps), tmp_path / "clip.mp4"))

    assert clip.fps == pytest.approx(fps, rel=1e-6)
    assert which(clip) == list(range(10))


def test_odd_size_repeats_the_last_column_and_row_and_keeps_the_rest(tmp_path: Path) -> None:
    frames = np.zeros((3, 33, 47, 3), np.uint8)
    frames[:, -1], frames[:, :, -1] = 200, 200

    clip = read_video(write_video(Video(frames, fps=10.0), tmp_path / "odd.mp4"))

    assert clip.size == (34, 48)
    assert np.abs(clip.frames[:, -2:, :-4].astype(int) - 200).max() <= 6
    assert clip.frames[:, :30, :44].max() <= 6


def test_odd_size_is_announced_when_it_is_read(tmp_path: Path) -> None:
    path = encode(tmp_path / "odd.webm", grey_ramp(4, 33, 47), codec="libvpx-vp9")

    clip = read_video(path)

    assert clip.size == (33, 47)
    assert codes(clip) == {"odd_size"}


def test_frame_folder_round_trip_is_exact(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (12, H, W, 3), dtype=np.uint8)

    write_frames(frames, tmp_path / "frames")
    clip = read_frames(tmp_path / "frames", fps=8.0)

    assert np.array_equal(clip.frames, frames)
    assert clip.fps == 8.0


@pytest.mark.parametrize("fps", [8.0, 30000 / 1001, None])
def test_frame_folder_keeps_its_rate_exactly(tmp_path: Path, fps: float | None) -> None:
    write_frames(grey_ramp(2), tmp_path / "frames", fps=fps)

    assert kept_fps(tmp_path / "frames") == fps
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["00000.png", "00001.png"]


@pytest.mark.parametrize("text", ["fast", "nan", "-8", "1e9"])
def test_rates_that_make_no_sense_are_none(tmp_path: Path, text: str) -> None:
    texts = PngInfo()
    texts.add_text("fps", text)
    Image.new("RGB", (W, H)).save(tmp_path / "0.png", pnginfo=texts)

    assert kept_fps(tmp_path) is None


# --- orientation, time, pixels --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "rotation", "red_corner"),
    [
        ((0, 1, -1, 0), 90, "top right"),
        ((-1, 0, 0, -1), 180, "bottom right"),
        ((0, -1, 1, 0), 270, "bottom left"),
        ((-1, 0, 0, 1), 180, "top right"),
    ],
)
def test_clip_is_turned_as_its_file_asks(
    tmp_path: Path, matrix: tuple[int, int, int, int], rotation: int, red_corner: str
) -> None:
    path = with_display_matrix(encode(tmp_path / "phone.mp4", corner_marked()), *matrix)

    clip = read_video(path)

    height, width = clip.size
    assert (height, width) == ((W, H) if rotation in (90, 270) else (H, W))
    row = 4 if red_corner.startswith("top") else height - 4
    column = 4 if red_corner.endswith("left") else width - 4
    red, green, blue = clip.frames[0, row, column].tolist()
    assert red > 200
    assert max(green, blue) < 60
    assert codes(clip) == {"rotated"}
    assert probe_video(path).rotation == rotation
    assert (probe_video(path).height, probe_video(path).width) == clip.size


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_rate_becomes_constant_and_every_moment_shows_what_was_on_screen(
    tmp_path: Path, suffix: str
) -> None:
    path = encode(
        tmp_path / f"vfr{suffix}", grey_ramp(6), milliseconds=[0, 40, 80, 200, 240, 280], options={"crf": "1"}
    )

    clip = read_video(path)

    assert clip.fps == pytest.approx(25.0)
    assert which(clip) == [0, 1, 2, 2, 2, 3, 4, 5]
    assert codes(clip) == {"variable_fps"}
    assert probe_video(path).has_variable_rate


def test_resampling_to_another_rate_keeps_the_duration(tmp_path: Path) -> None:
    path = write_video(Video(grey_ramp(24), fps=24.0), tmp_path / "clip.mp4")

    clip = read_video(path, fps=8.0)

    assert which(clip) == [0, 3, 6, 9, 12, 15, 18, 21]
    assert clip.duration == pytest.approx(1.0)
    assert codes(clip) == {"resampled"}


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.ts", "clip.h264"])
def test_range_holds_exactly_the_frames_asked_for(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, grey_ramp(40), options={"g": "8", "crf": "1"})

    clip = read_video(path, start_frame=21, max_frames=5)

    assert which(clip) == [21, 22, 23, 24, 25]
    assert "cut" in codes(clip)


def test_long_clip_is_read_in_part_with_a_notice(tmp_path: Path) -> None:
    long = np.broadcast_to(np.full((1, 16, 16, 3), 90, np.uint8), (10_000, 16, 16, 3))
    path = encode(tmp_path / "long.mp4", long, codec="mpeg4", options={"g": "50"})

    clip = read_video(path, start_frame=9_000, max_frames=8)

    assert len(clip) == 8
    assert any("10,000" in notice.text for notice in clip.notices)


def test_file_without_times_is_read_at_the_rate_that_its_stream_states(tmp_path: Path) -> None:
    path = encode(tmp_path / "raw.h264", grey_ramp(6), container="h264")

    clip = read_video(path)

    assert clip.fps == 24.0
    assert which(clip) == list(range(6))
    assert codes(clip) == set()


def test_file_without_times_or_rate_is_read_at_an_assumed_rate(tmp_path: Path) -> None:
    pictures = []
    for frame in grey_ramp(6):
        picture = io.BytesIO()
        Image.fromarray(frame).save(picture, format="JPEG")
        pictures.append(picture.getvalue())
    (tmp_path / "raw.mjpeg").write_bytes(b"".join(pictures))

    clip = read_video(tmp_path / "raw.mjpeg")

    assert clip.fps == 25.0
    assert which(clip) == list(range(6))
    assert codes(clip) == {"assumed_fps"}


def test_ten_bit_clip_keeps_its_colours(tmp_path: Path) -> None:
    path = encode(tmp_path / "ten.mp4", corner_marked(), pix_fmt="yuv420p10le")

    clip = read_video(path)

    assert clip.frames[0, 8, 8].tolist() == pytest.approx([255, 0, 0], abs=8)
    assert codes(clip) == {"bit_depth"}


def test_transparent_parts_lie_over_black(tmp_path: Path) -> None:
    frames = np.full((4, H, W, 4), 200, np.uint8)
    frames[:, :, : W // 2, 3], frames[:, :, W // 2 :, 3] = 255, 0
    path = encode(tmp_path / "alpha.mov", frames, codec="qtrle", pix_fmt="argb")

    clip = read_video(path)

    assert np.all(clip.frames[:, :, : W // 2] == 200)
    assert np.all(clip.frames[:, :, W // 2 :] == 0)
    assert codes(clip) == {"alpha"}


def test_oblong_pixels_become_square(tmp_path: Path) -> None:
    path = encode(tmp_path / "dv.mp4", grey_ramp(4), pixel_aspect=Fraction(3, 2))

    clip = read_video(path)

    assert clip.size == (H, W * 3 // 2)
    assert codes(clip) == {"square_pixels"}


def test_gif_is_a_clip(tmp_path: Path) -> None:
    images = [Image.fromarray(frame) for frame in corner_marked(3)]
    images[1].putpixel((0, 0), (0, 255, 0))
    images[0].save(tmp_path / "clip.gif", save_all=True, append_images=images[1:], duration=100)

    clip = read_video(tmp_path / "clip.gif")

    assert clip.fps == pytest.approx(10.0)
    assert clip.frames[0, 8, 8].tolist() == [255, 0, 0]


# --- sound ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (44100, 1), (37800, 2)])
def test_sound_is_kept(tmp_path: Path, rate: int, channels: int) -> None:
    video = Video(grey_ramp(24), fps=24.0, audio=tone(1.0, rate, channels))

    heard = read_video(write_video(video, tmp_path / "clip.mp4")).audio

    assert heard is not None
    assert heard.samples.shape[0] == channels
    assert heard.samples.shape[1] / heard.sample_rate == pytest.approx(1.0)
    middle = heard.samples[0, heard.sample_rate // 4 : heard.sample_rate * 3 // 4]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_sound_is_cut_to_the_range_of_the_frames(tmp_path: Path) -> None:
    audio = tone(2.0)
    audio.samples[:, : audio.sample_rate] = 0
    path = write_video(Video(grey_ramp(48), fps=24.0, audio=audio), tmp_path / "clip.mp4")

    around_onset = read_video(path, start_frame=18, max_frames=12).audio

    assert around_onset is not None
    assert around_onset.samples.shape[1] == audio.sample_rate // 2
    onset = int(np.argmax(np.abs(around_onset.samples[0]) > 0.2)) / audio.sample_rate
    assert onset == pytest.approx(0.25, abs=0.01)


def test_clip_without_sound_has_none(tmp_path: Path) -> None:
    path = write_video(Video(grey_ramp(4), fps=24.0), tmp_path / "clip.mp4")

    assert read_video(path).audio is None
    assert not probe_video(path).has_audio


# --- files that cannot be used --------------------------------------------------------------------


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"there is no .*nowhere\.mp4"):
        read_video(tmp_path / "nowhere.mp4")


def test_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()

    with pytest.raises(VideoError, match="is empty"):
        read_video(tmp_path / "empty.mp4")


@pytest.mark.parametrize("content", [b"not a video at all\n" * 50, bytes(4096)])
def test_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text.mp4").write_bytes(content)

    with pytest.raises(VideoError, match="cannot be read as a video"):
        read_video(tmp_path / "text.mp4")


def test_playlist_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = encode(tmp_path / "other.ts", grey_ramp(4))
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n")
    (tmp_path / "concat.mp4").write_text(f"ffconcat version 1.0\nfile {secret.name}\n")

    for name in ("list.mp4", "concat.mp4"):
        with pytest.raises(VideoError, match="cannot be read as a video"):
            read_video(tmp_path / name)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_file_is_read_as_far_as_it_goes(tmp_path: Path, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, H, W, 3), dtype=np.uint8)
    for name, options in (("back.mp4", {}), ("front.mp4", {"movflags": "+faststart"})):
        with av.open(str(tmp_path / name), "w", options=options) as output:
            stream = output.add_stream("mjpeg", rate=8)
            stream.height, stream.width, stream.pix_fmt = H, W, "yuvj420p"
            for pixels in noise:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
            output.mux(stream.encode(None))
    whole = read_video(tmp_path / "back.mp4")
    for name in ("back.mp4", "front.mp4"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(len(content) * share)])

    part = read_video(tmp_path / "front.mp4")

    assert 24 * share - 5 < len(part) < 24 * share
    assert np.array_equal(part.frames, whole.frames[: len(part)])
    assert "cut_off" in codes(part)
    assert "cut_off" not in codes(read_video(tmp_path / "front.mp4", max_frames=2))
    with pytest.raises(VideoError, match="cut off"):
        read_video(tmp_path / "back.mp4")


def test_unknown_coding_is_refused_for_pictures_and_leaves_out_sound(tmp_path: Path) -> None:
    video = Video(grey_ramp(8), fps=8.0, audio=tone(1.0))
    content = write_video(video, tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "pictures.mp4").write_bytes(content.replace(b"avc1", b"zzzz"))
    unknown_sound = bytearray(content.replace(b"mp4a", b"zzzz"))
    # The descriptor of the decoder names the coding a second time: its first byte, after tag and length.
    unknown_sound[content.index(b"\x04\x80\x80\x80", content.index(b"esds")) + 5] = 0xFF
    (tmp_path / "sound.mp4").write_bytes(unknown_sound)

    with pytest.raises(VideoError, match="unknown way"):
        read_video(tmp_path / "pictures.mp4")
    silent = read_video(tmp_path / "sound.mp4")
    assert silent.audio is None
    assert codes(silent) == {"audio_dropped"}


def test_sound_only_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.wav"), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    with pytest.raises(VideoError, match="only sound"):
        read_video(tmp_path / "song.wav")


def test_one_frame_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "one.mp4", grey_ramp(1))
    Image.fromarray(grey_ramp(1)[0]).save(tmp_path / "picture.png")

    for each in (path, tmp_path / "picture.png"):
        with pytest.raises(VideoError, match="one frame; a clip needs at least two"):
            read_video(each)


@pytest.mark.parametrize(
    ("height", "width", "message"),
    [(1, 1, "at least 16"), (4320, 7680, "downscale"), (16, 144, "8:1")],
)
def test_size_outside_the_limits_is_refused(tmp_path: Path, height: int, width: int, message: str) -> None:
    still = np.broadcast_to(np.zeros((1, 1, 1, 3), np.uint8), (2, height, width, 3))
    path = encode(tmp_path / "clip.mkv", still, codec="mpeg4" if height > 1 else "ffv1")

    with pytest.raises(VideoError, match=f"{width}x{height}.*{message}"):
        read_video(path)


def test_four_to_one_clip_is_accepted(tmp_path: Path) -> None:
    path = encode(tmp_path / "wide.mp4", grey_ramp(4, 32, 128))

    assert read_video(path).size == (32, 128)


class TestLongClips:
    """Beyond a few seconds the frames lie in a file."""

    @pytest.fixture(autouse=True)
    def _little_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "IN_MEMORY_BYTES", 3 * 32 * 48 * 3)

    def test_they_are_read_as_short_ones_are(self, tmp_path: Path) -> None:
        path = encode(tmp_path / "clip.mp4", grey_ramp(6, 32, 48))
        long, short = read_video(path).frames, read_video(path, max_frames=3).frames

        assert isinstance(long, limits.StoredFrames)
        assert not isinstance(short, limits.StoredFrames)
        assert np.array_equal(long[:3], short)
        assert [type(frame) for frame in long] == [np.ndarray] * 6

    def test_folders_too(self, tmp_path: Path) -> None:
        frames = grey_ramp(6, 32, 48)
        write_frames(frames, tmp_path / "frames")
        long = read_frames(tmp_path / "frames", fps=8.0).frames

        assert isinstance(long, limits.StoredFrames)
        assert np.array_equal(long, frames)

    def test_the_file_has_no_name_and_looking_at_frames_keeps_no_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        picture = np.full((256, 512, 3), 7, np.uint8)
        frames = limits.gather_frames(repeat(picture, 80), count=80, size=(256, 512))
        before = mapped_bytes()

        assert list(tmp_path.iterdir()) == []
        assert sum(int(frame[0, 0, 0]) for frame in frames) == 7 * 80
        assert mapped_bytes() - before < 8 * picture.nbytes

    def test_a_full_disk_is_said_in_plain_words(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class FullDisk(io.BytesIO):
            def write(self, _: Any) -> int:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: FullDisk())
        with pytest.raises(VideoError, match=r"No space left on device.*free space"):
            read_video(encode(tmp_path / "clip.mp4", grey_ramp(6, 32, 48)))

    def test_too_many_frames_are_refused_before_they_are_decoded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MAX_CLIP_BYTES", 5 * 32 * 48 * 3)
        with pytest.raises(VideoError, match="at most 5 frames"):
            read_video(encode(tmp_path / "clip.mp4", grey_ramp(6, 32, 48)))


def mapped_bytes() -> int:
    """Resident memory that is backed by files."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not tell what memory is used for")
    found = re.findall(r"^Rss(?:File|Shmem):\s*(\d+) kB", status.read_text("ascii"), re.MULTILINE)
    return 1024 * sum(map(int, found))


@pytest.mark.parametrize(
    "range_", [{"start_frame": -1}, {"start_frame": 4}, {"max_frames": 0}, {"fps": 0}, {"fps": np.nan}]
)
def test_nonsense_range_is_refused(tmp_path: Path, range_: dict[str, float]) -> None:
    path = encode(tmp_path / "clip.mp4", grey_ramp(4))

    with pytest.raises(VideoError, match=next(iter(range_))):
        read_video(path, **range_)  # type: ignore[arg-type]


# --- places that cannot be written ----------------------------------------------------------------


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 8 KiB: the writes of the libraries fail as on a full disk.

    Not a fixture, because pytest's own report may go to a file while a fixture lives.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_leaves_nothing_and_keeps_the_older_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, H, W, 3), dtype=np.uint8)
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"older")

    with pytest.raises(OutputError, match="could not be written"), full_disk():
        write_video(Video(noise, fps=8.0), target)

    assert os.listdir(tmp_path) == ["clip.mp4"]
    assert target.read_bytes() == b"older"


def test_full_disk_leaves_no_frames(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)

    with pytest.raises(OutputError, match="could not be written"), full_disk():
        write_frames(noise, tmp_path / "frames")

    assert os.listdir(tmp_path) == []


def test_output_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"ends in \.mp4"):
        write_video(Video(grey_ramp(4), fps=8.0), tmp_path / "clip.avi")


def test_output_that_is_a_folder_or_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()

    for target in (tmp_path / "folder.mp4", tmp_path / "file" / "clip.mp4"):
        with pytest.raises(OutputError, match="choose"):
            write_video(Video(grey_ramp(4), fps=8.0), target)


def test_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(OutputError, match="not empty"):
        write_frames(grey_ramp(2), tmp_path)

    assert os.listdir(tmp_path) == ["notes.txt"]


# --- folders of frames and masks ------------------------------------------------------------------


def test_frames_are_ordered_by_number(tmp_path: Path) -> None:
    for index in range(11):
        Image.fromarray(grey_ramp(11)[index]).save(tmp_path / f"frame{index}.png")

    assert which(read_frames(tmp_path, fps=8.0)) == list(range(11))
    part = read_frames(tmp_path, fps=8.0, start_frame=8, max_frames=2)
    assert which(part) == [8, 9]
    assert codes(part) == {"cut"}


def test_frames_of_two_sizes_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (W, H)).save(tmp_path / "0.png")
    Image.new("RGB", (W, H + 2)).save(tmp_path / "1.png")

    with pytest.raises(VideoError, match=r"1\.png is 64x50 pixels, but the first frame is 64x48"):
        read_frames(tmp_path, fps=8.0)


@pytest.mark.parametrize(("count", "message"), [(0, "no PNG"), (1, "at least two")])
def test_folder_with_too_few_frames_is_refused(tmp_path: Path, count: int, message: str) -> None:
    for index in range(count):
        Image.new("RGB", (W, H)).save(tmp_path / f"{index}.png")

    with pytest.raises(VideoError, match=message):
        read_frames(tmp_path, fps=8.0)


def test_broken_and_deep_png_files_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (W, H)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])
    with pytest.raises(VideoError, match=r"1\.png is not a readable PNG"):
        read_frames(tmp_path, fps=8.0)

    Image.new("I;16", (W, H)).save(tmp_path / "1.png")
    with pytest.raises(VideoError, match="8-bit"):
        read_frames(tmp_path, fps=8.0)


# --- real clips -----------------------------------------------------------------------------------

CLIPS = Path(os.environ.get("DREAMMOTION_CLIPS", Path(__file__).parents[3] / "shared" / "data" / "clips"))


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the evaluation clips are not here; see DREAMMOTION_CLIPS")
def test_real_clips_read_as_their_facts_say() -> None:
    for folder in sorted(path.parent for path in CLIPS.glob("*/clip.mp4")):
        facts = json.loads((folder / "meta.json").read_text())

        info = probe_video(folder / "clip.mp4")
        part = read_video(folder / "clip.mp4", start_frame=info.num_frames - 9, max_frames=9)
        whole_end = read_video(folder / "clip.mp4").frames[-9:]

        assert (info.num_frames, info.fps) == (facts["frames"], pytest.approx(facts["fps"]))
        assert np.array_equal(part.frames, whole_end)
        if (folder / "masks").is_dir():
            size = (info.height, info.width)
            assert read_masks(folder / "masks", num_frames=info.num_frames, size=size).notices == ()
