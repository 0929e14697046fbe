"""Clips as folders of PNG files, one file a frame.

PNG is lossless: frames written and read again are the same bytes, which an MP4 cannot promise. The frame rate
is kept as text in each file, so that a folder holds nothing but its frames. Untrusted files are welcome.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from dreammotion_core.errors import ConfigError, InputError, OutputError, VideoError
from dreammotion_core.media.atomic import check_readable, check_writable, written_atomically
from dreammotion_core.media.limits import (
    MAX_FPS,
    MAX_SIDE,
    MIN_FPS,
    check_size,
    frame_range,
    gather_frames,
    size_notices,
)
from dreammotion_core.values import Frames, Notice, Video

# What Pillow raises where bytes are wrong; of parts that lie behind the pixels, while these are decoded.
_DAMAGE = (
    *(UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error),
    *(IndexError, TypeError, Image.DecompressionBombError),
)


def png_files(folder: Path, error: type[InputError]) -> list[Path]:
    """The PNG files of a folder, in the order of the numbers in their names.

    Raises `error` if there is no such folder or no PNG file in it.
    """
    check_readable(folder, error, wanted="a folder of PNG files")
    if not folder.is_dir():
        raise error(f"{folder} is a file; pass a folder of PNG files")
    paths = [path for path in folder.iterdir() if path.suffix.lower() == ".png" and path.is_file()]
    if not paths:
        raise error(f"{folder} holds no PNG file; pass a folder of PNG files, one a frame")
    return sorted(paths, key=lambda path: frame_order(path.name))


def frame_order(name: str) -> tuple[list[int], str]:
    """Sorts file names by their numbers: "frame10" after "frame9", which the order of letters gets wrong."""
    return [int(digits) for digits in re.findall(r"\d+", Path(name).stem)], name


@contextmanager
def opened_png(file: Path | IO[bytes], *, name: str, error: type[InputError]) -> Iterator[Image.Image]:
    """Open an untrusted PNG file, called `name` in messages; pixels are decoded when first asked for.

    Raises `error` if it is no PNG file, damaged, has more than 8 bits a channel, or is too large.
    """
    try:
        with Image.open(file, formats=["PNG"]) as image:
            if _is_deep(image):
                raise error(f"{name} has more than 8 bits a channel; save it as an 8-bit PNG")
            if max(image.size) > MAX_SIDE:
                raise error(f"{name} is {image.width}x{image.height} pixels; at most {MAX_SIDE} a side")
            yield image
    except InputError:
        raise
    except _DAMAGE as problem:
        raise error(f"{name} is not a readable PNG file ({problem}); save it again") from problem


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether a picture just opened has 16 bits a channel. Of colours its mode hides that: they become 8."""
    return any(";16" in str(tile.args) for tile in image.tile)


def over_black(image: Image.Image) -> NDArray[np.uint8]:
    """The picture as (H, W, 3) uint8 RGB, transparent parts laid over black."""
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(black, image.convert("RGBA")).convert("RGB"))


def write_png_folder(
    pictures: Iterable[Image.Image], folder: str | Path, *, texts: PngInfo | None = None
) -> None:
    """Write pictures as they come, one file a frame, each with `texts`. Broken off, nothing of them is left.

    The folder is made if missing. What a killed process left unfinished in it is replaced. Raises
    `OutputError` if it is not empty or cannot be written.
    """
    check_empty_folder(folder)
    place, written = Path(folder), list[Path]()
    is_new = not place.exists()
    try:
        for path in place.iterdir() if not is_new else ():
            path.unlink()
        written.append(place / UNFINISHED)
        with written_atomically(written[0]) as temporary:
            temporary.write_text(str(os.getpid()), "ascii")
        for index, picture in enumerate(pictures):
            written.append(place / picture_name(index))
            with written_atomically(written[-1]) as temporary:
                picture.save(temporary, compress_level=3, pnginfo=texts)
        written[0].unlink()
    except BaseException:
        # The remains would pass for a whole clip, and keep the same command from writing there again.
        with suppress(OSError):
            for path in written:
                path.unlink(missing_ok=True)
            if is_new:
                place.rmdir()
        raise


def picture_name(index: int) -> str:
    """The name of the file of frame `index`, counted from 0."""
    return f"{index:05d}.png"


def check_empty_folder(folder: str | Path) -> None:
    """Raise `OutputError` if a folder is not empty, cannot be written to, or is a file."""
    place = Path(folder)
    if os.path.isdir(place):
        check_readable(place, OutputError, wanted="an empty folder")
        if any(place.iterdir()) and not _is_abandoned(place):
            raise OutputError(f"{place} is not empty; choose a new folder, so that nothing is mixed or lost")
    elif os.path.exists(place):
        raise OutputError(f"{place} is a file; choose a folder")
    check_writable(place / picture_name(0))


UNFINISHED = ".dreammotion-unfinished"
"""File in a folder while pictures are written into it: the number of the process."""
_OURS = re.compile(r"\.dreammotion-.*|\d+\.png")


def _is_abandoned(place: Path) -> bool:
    """Whether a folder holds nothing but what a process that is gone was writing."""
    try:
        os.kill(int((place / UNFINISHED).read_text("ascii")), 0)
    except (ProcessLookupError, ValueError):
        return all(_OURS.fullmatch(path.name) and path.is_file() for path in place.iterdir())
    except OSError:
        return False
    return False


_FPS = "fps"  # Keyword of the frame rate among the texts of a PNG file.
FOLDER_FPS = 24.0  # Of a folder that does not say how fast it is.


def read_frames(
    folder: str | Path, *, fps: float, start_frame: int = 0, max_frames: int | None = None
) -> Video:
    """Read a folder of PNG files as a clip, in the order of the numbers in their names.

    The folder holds at least two files of one size, 8 bits a channel. `start_frame` is counted from 0;
    `max_frames` None reads to the last. A cut, and transparent parts laid over black, are in the clip's
    notices. Raises `VideoError` if there are too few files, one is unreadable, sizes differ or are not
    accepted, or the range lies outside the folder.
    """
    available = png_files(Path(folder), VideoError)
    if len(available) < 2:
        raise VideoError(f"{folder} holds one PNG file; a clip needs at least two")
    selected, cut = frame_range(len(available), start_frame=start_frame, max_frames=max_frames)
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
    notices = list(cut)
    if is_transparent:
        notices.append(Notice("alpha", "Its transparent parts were laid over black."))
    return Video(frames, fps=fps, notices=(*notices, *size_notices(height, width)))


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


def is_same_rate(rate: float, other: float) -> bool:
    """Whether two frame rates differ by no more than the rounding of what files state."""
    return abs(rate - other) <= 1e-3 * other


def write_frames(frames: Frames, folder: str | Path, *, fps: float | None = None) -> None:
    """Write (F, H, W, 3) uint8 RGB frames as ``00000.png``, ``00001.png``, ..., or nothing at all.

    The folder is made if missing; it must be empty, so that frames of two clips never mix. `fps` is for
    `kept_fps`. Raises `OutputError` if the folder is not empty or cannot be written.
    """
    texts = PngInfo()
    if fps is not None:
        texts.add_text(_FPS, repr(float(fps)))
    write_png_folder(map(Image.fromarray, frames), folder, texts=texts)


def kept_fps(folder: str | Path) -> float | None:
    """The frames a second that `write_frames` kept with a clip; None where the files say none.

    Raises `VideoError` if there is no folder, no PNG file in it, or the first is unreadable.
    """
    first = png_files(Path(folder), VideoError)[0]
    with opened_png(first, name=first.name, error=VideoError) as image:
        said = image.info.get(_FPS)
    try:
        fps = float(str(said))
    except ValueError:
        return None
    return fps if MIN_FPS <= fps <= MAX_FPS else None
