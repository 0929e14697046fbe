"""Clips as folders of PNG files, one file a frame.

PNG is lossless: frames written and read again are the same bytes, which an MP4 cannot promise. The frame rate
is kept as text in each file, so that a folder holds nothing but its frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dreammotion_core.errors import VideoError
from dreammotion_core.frame_conversion import check_size, size_notices
from dreammotion_core.frame_range import cut_notices, frame_range
from dreammotion_core.media.limits import gather_frames
from dreammotion_core.png_files import opened_png, over_black, png_files, write_png_folder
from dreammotion_core.values import Frames, Notice, Video
from dreammotion_core.video_timeline import MAX_FPS, MIN_FPS

_FPS = "fps"
"""Keyword of the frame rate among the texts of a PNG file."""


def read_frames(
    folder: str | Path, *, fps: float, start_frame: int = 0, max_frames: int | None = None
) -> Video:
    """Read a folder of PNG files as a clip, in the order of the numbers in their names.

    Args:
        folder: holds at least two PNG files of one size, 8 bits a channel.
        fps: frames a second to play them at.
        start_frame: first file to read, counted from 0.
        max_frames: most files to read; None reads to the last.

    Returns:
        The clip; a cut, and transparent parts laid over black, are in its notices.

    Raises:
        VideoError: if there are too few files, one is unreadable, sizes differ or are not accepted, or
            the range lies outside the folder.
    """
    available = png_files(Path(folder), VideoError)
    if len(available) < 2:
        raise VideoError(f"{folder} holds one PNG file; a clip needs at least two")
    selected = frame_range(len(available), start_frame=start_frame, max_frames=max_frames)
    paths = available[selected.start : selected.stop]
    with opened_png(paths[0], name=paths[0].name, error=VideoError) as first:
        width, height = first.size
    check_size(width, height)
    is_transparent = False

    def pictures() -> Iterator[NDArray[np.uint8]]:
        nonlocal is_transparent
        for path in paths:
            with opened_png(path, name=path.name, error=VideoError) as image:
                if image.size != (width, height):
                    raise VideoError(
                        f"{path.name} is {image.width}x{image.height} pixels, but the first frame is "
                        f"{width}x{height}; all frames need one size"
                    )
                is_transparent |= image.has_transparency_data
                yield over_black(image)

    frames = gather_frames(pictures(), count=len(paths), size=(height, width))
    notices = list(cut_notices(selected, len(available)))
    if is_transparent:
        notices.append(Notice("alpha", "Its transparent parts were laid over black."))
    return Video(frames, fps=fps, notices=(*notices, *size_notices(height, width)))


def write_frames(frames: Frames, folder: str | Path, *, fps: float | None = None) -> None:
    """Write frames as ``00000.png``, ``00001.png``, ..., or nothing at all.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        folder: is made if missing; must be empty, so that frames of two clips never mix.
        fps: frames a second, for `kept_fps`; None keeps none.

    Raises:
        OutputError: if the folder is not empty or cannot be written.
    """
    texts = PngInfo()
    if fps is not None:
        texts.add_text(_FPS, repr(float(fps)))
    write_png_folder(map(Image.fromarray, frames), folder, texts=texts)


def kept_fps(folder: str | Path) -> float | None:
    """The frames a second that `write_frames` kept with a clip.

    Returns:
        None where the files say none, for example because another program wrote them.

    Raises:
        VideoError: if there is no folder, no PNG file in it, or the first is unreadable.
    """
    first = png_files(Path(folder), VideoError)[0]
    with opened_png(first, name=first.name, error=VideoError) as image:
        said = image.info.get(_FPS)
    try:
        fps = float(str(said))
    except ValueError:
        return None
    return fps if MIN_FPS <= fps <= MAX_FPS else None
