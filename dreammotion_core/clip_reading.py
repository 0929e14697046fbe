"""Reading a clip the way a model wants it: its frame rate, its length, a number of frames that it takes.

Folders of frames are played at the rate that they keep; they are never resampled.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dreammotion_core.method.prior import ModelSpec
from dreammotion_core.errors import ConfigError
from dreammotion_core.media.frames import kept_fps, read_frames
from dreammotion_core.values import Notice, Video
from dreammotion_core.media.video import is_same_rate, read_video

FOLDER_FPS = 24.0
"""Of a folder of frames, unless it or something else says how fast it is."""


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
        num_frames: of a length that the model takes; None takes its usual length.
        fps: frames a second to resample to; None takes the model's. For a folder of frames see `read_folder`.

    Returns:
        The clip. Where it is shorter than was asked for, and not of a length that the model takes, its end is
        left out with a notice (code ``fitted``).

    Raises:
        ConfigError: if the model does not take so many frames, or a folder keeps another rate than `fps`.
        VideoError: if the clip cannot be read, or the range makes no sense.
    """
    wanted = spec.num_frames if num_frames is None else num_frames
    check_length(wanted, spec=spec)
    video = _read(Path(path), spec, start_frame, wanted, fps)
    fitting = spec.fit_length(len(video))
    if fitting == len(video) or fitting < 2:
        return video
    left_out = len(video) - fitting
    text = f"{spec.label} takes {length_words(spec)} frames, so the last {left_out} are left out."
    video = _read(Path(path), spec, start_frame, fitting, fps)
    return replace(video, notices=(*video.notices, Notice("fitted", text)))


def read_folder(
    folder: Path, *, start_frame: int = 0, max_frames: int | None = None, fps: float | None = None
) -> Video:
    """Read a folder of PNG frames at its own rate.

    Args:
        folder: as `read_frames` takes it.
        start_frame: first file, counted from 0.
        max_frames: most files; None reads to the last.
        fps: frames a second of a folder that keeps no rate; None takes 24.

    Raises:
        ConfigError: if the folder keeps another rate.
        VideoError: if the clip cannot be read, or the range makes no sense.
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
    """Refuse a number of frames that a model does not take. Too few are left to those who read the clip.

    Raises:
        ConfigError: if so.
    """
    if num_frames > spec.max_frames:
        raise ConfigError(
            f"{num_frames} frames are asked for; {spec.label} edits at most {spec.max_frames} frames at once"
        )
    if num_frames > 0 and spec.fit_length(num_frames) != num_frames:
        raise ConfigError(
            f"{num_frames} frames are asked for; {spec.label} takes {length_words(spec)}: choose "
            f"{max(spec.fit_length(num_frames), shortest_length(spec))}"
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
    if path.is_dir():
        return read_folder(path, start_frame=start_frame, max_frames=num_frames, fps=fps)
    rate = spec.fps if fps is None else fps
    return read_video(path, start_frame=start_frame, max_frames=num_frames, fps=rate)
