"""Which clips are accepted, which of their frames are used, and where these lie.

A long clip lies in a temporary file. It is used like any other and costs the memory of the frames in use.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import VideoError
from dreammotion_core.values import Frames, Notice

MIN_FPS, MAX_FPS = 0.1, 240.0
MIN_SIDE, MAX_SIDE, MAX_ASPECT = 16, 4096, 8.0
IN_MEMORY_BYTES = 2**25  # Pixels of 27 frames of 854x480; longer clips lie in a file.
MAX_CLIP_BYTES = 2**34  # Pixels of about ten minutes of 854x480; longer clips are refused.


def check_size(width: int, height: int) -> None:
    """Raise `VideoError` if pictures are too small, too large or too elongated to edit."""
    if max(width, height) > MAX_SIDE:
        limit = f"at most {MAX_SIDE} on a side are accepted: downscale it first"
    elif min(width, height) < MIN_SIDE:
        limit = f"at least {MIN_SIDE} on a side are needed: upscale it first"
    elif max(width, height) > MAX_ASPECT * min(width, height):
        limit = f"sides up to {MAX_ASPECT:g}:1 are accepted: crop it first"
    else:
        return
    raise VideoError(f"the clip is {width}x{height} pixels; {limit}")


def size_notices(height: int, width: int) -> tuple[Notice, ...]:
    """What saving frames of this size as MP4 changes."""
    if height % 2 == width % 2 == 0:
        return ()
    text = f"Its size {width}x{height} is odd; a saved MP4 repeats the last row or column to make it even."
    return (Notice("odd_size", text),)


def gather_frames(pictures: Iterable[NDArray[np.uint8]], *, count: int, size: tuple[int, int]) -> Frames:
    """Put `count` pictures, or fewer, each (H, W, 3) uint8 RGB, where there is room for them.

    Gives (F, H, W, 3) uint8 RGB; `StoredFrames` beyond `IN_MEMORY_BYTES`. Raises `VideoError` before the
    first picture is taken, if they exceed `MAX_CLIP_BYTES`; and if the disk is full.
    """
    shape = count, *size, 3
    frame_bytes = size[0] * size[1] * 3
    if count * frame_bytes > MAX_CLIP_BYTES:
        raise VideoError(
            f"{count:,} frames of {size[1]}x{size[0]} pixels are too many; "
            f"read a range of at most {MAX_CLIP_BYTES // frame_bytes:,} frames, or downscale the clip"
        )
    if count * frame_bytes > IN_MEMORY_BYTES:
        return _stored(pictures, shape)
    frames = np.empty(shape, np.uint8)
    filled = 0
    for filled, picture in enumerate(pictures, start=1):
        frames[filled - 1] = picture
    return frames[:filled]


class StoredFrames(np.memmap[Any, np.dtype[Any]]):
    """Frames in a file; a single frame is a copy, and what was read of the file is let go."""

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if self.ndim != 4 or not isinstance(key, int | np.integer):
            return found
        frame = np.array(found)
        let_go(self)
        return frame


def let_go(frames: NDArray[Any]) -> None:
    """Free the memory of what was read of frames in a file, or written; they stay in the file.

    Without this the pages of all frames ever looked at would stay in the memory of the process.
    """
    mapping: mmap.mmap | None = getattr(frames, "_mmap", None)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def stretch_of(frames: NDArray[Any], part: range) -> NDArray[Any]:
    """A copy of the frames of a range, of frames in a file or in memory."""
    found = np.array(np.asarray(frames)[part.start : part.stop])
    let_go(frames)
    return found


def stored_array(shape: Sequence[int], dtype: Any) -> StoredFrames:
    """Zeros in a file without a name, which goes with its last reader; `VideoError` if the disk is full."""
    with tempfile.TemporaryFile(prefix="dreammotion-") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, math.prod(shape) * np.dtype(dtype).itemsize)
        except OSError as error:
            raise _no_room(shape, error) from error
        return StoredFrames(file, dtype=dtype, mode="r+", shape=tuple(shape))


def _stored(pictures: Iterable[NDArray[np.uint8]], shape: tuple[int, ...]) -> StoredFrames:
    """The pictures in a file without a name, which goes with its last reader."""
    with tempfile.TemporaryFile(prefix="dreammotion-") as file:
        try:
            for picture in pictures:
                file.write(np.ascontiguousarray(picture).data)
            file.flush()
            filled = file.tell() // int(np.prod(shape[1:]))
        except OSError as error:
            raise _no_room(shape, error) from error
        return StoredFrames(file, dtype=np.uint8, mode="r", shape=(filled, *shape[1:]))


def _no_room(shape: Sequence[int], error: OSError) -> VideoError:
    return VideoError(
        f"a clip of {shape[0]:,} frames needs {math.prod(shape) / 2**30:.1f} GiB in "
        f"{tempfile.gettempdir()} ({error.strerror or error}); free space or read a shorter range"
    )


def frame_range(num_frames: int, *, start_frame: int, max_frames: int | None) -> range:
    """The frames from ``start_frame`` on, at most ``max_frames`` of them; None means all that follow.

    Raises `VideoError` if the range is empty or begins outside the clip.
    """
    if max_frames is not None and max_frames < 1:
        raise VideoError(f"max_frames is {max_frames}; pass at least 1, or None for all frames")
    if not 0 <= start_frame < num_frames:
        raise VideoError(
            f"start_frame is {start_frame}, but there are {num_frames:,} frames; pass 0 to {num_frames - 1}"
        )
    stop = num_frames if max_frames is None else min(num_frames, start_frame + max_frames)
    return range(start_frame, stop)


def cut_notices(selected: range, num_frames: int) -> tuple[Notice, ...]:
    """What the range leaves out, if anything."""
    if len(selected) == num_frames:
        return ()
    text = f"Of its {num_frames:,} frames, {selected.start:,} to {selected.stop - 1:,} are used."
    return (Notice("cut", text),)
