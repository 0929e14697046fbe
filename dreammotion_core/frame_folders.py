"""Clips and masks as folders of PNG files, one file a frame.

PNG is lossless: frames written and read again are the same bytes, which an MP4 cannot promise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dreammotion_core.atomic_files import written_atomically
from dreammotion_core.errors import InputError, MaskError, OutputError, VideoError
from dreammotion_core.frame_conversion import MAX_SIDE, check_size, size_notices
from dreammotion_core.frame_range import cut_notices, frame_range
from dreammotion_core.values import Frames, Mask, Notice, Video

_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})


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
    available = _png_files(Path(folder), VideoError)
    if len(available) < 2:
        raise VideoError(f"{folder} holds one PNG file; a clip needs at least two")
    selected = frame_range(len(available), start_frame=start_frame, max_frames=max_frames)
    paths = available[selected.start : selected.stop]
    pictures: list[NDArray[np.uint8]] = []
    is_transparent = False
    for path in paths:
        with _opened_png(path, VideoError) as image:
            check_size(*image.size)
            if pictures and image.size != pictures[0].shape[1::-1]:
                raise VideoError(
                    f"{path.name} is {image.width}x{image.height} pixels, but the first frame is "
                    f"{pictures[0].shape[1]}x{pictures[0].shape[0]}; all frames need one size"
                )
            is_transparent |= image.has_transparency_data
            pictures.append(_over_black(image))
    notices = list(cut_notices(selected, len(available)))
    if is_transparent:
        notices.append(Notice("alpha", "Its transparent parts were laid over black."))
    frames = np.stack(pictures)
    return Video(frames, fps=fps, notices=(*notices, *size_notices(*frames.shape[1:3])))


def write_frames(frames: Frames, folder: str | Path) -> None:
    """Write frames as ``00000.png``, ``00001.png``, ...

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        folder: is made if missing; must be empty, so that frames of two clips never mix.

    Raises:
        OutputError: if the folder is not empty or cannot be written; no file is left half-written.
    """
    _write_pngs(frames, Path(folder))


def read_mask(path: str | Path) -> NDArray[np.bool_]:
    """Read a mask from one PNG file (for all frames) or from a folder of them (one a frame).

    White is the object (128 and above). In files with a palette, or with no level above 1, every
    level but 0 is the object.

    Returns:
        (H, W) from a file, (F, H, W) from a folder; bool.

    Raises:
        MaskError: if there is no PNG, one is unreadable, or their sizes differ.
    """
    source = Path(path)
    if source.is_file():
        return _mask_levels(source)
    paths = _png_files(source, MaskError)
    masks = [_mask_levels(each) for each in paths]
    for each, mask in zip(paths, masks, strict=True):
        if mask.shape != masks[0].shape:
            raise MaskError(
                f"{each.name} is {mask.shape[1]}x{mask.shape[0]} pixels, but the first mask is "
                f"{masks[0].shape[1]}x{masks[0].shape[0]}; all masks need the size of the clip"
            )
    return np.stack(masks)


def write_masks(masks: Mask, folder: str | Path) -> None:
    """Write masks as grey PNG files, 0 outside and 255 on the object, named like frames.

    Args:
        masks: (F, H, W) bool.
        folder: is made if missing; must be empty.

    Raises:
        OutputError: if the folder is not empty or cannot be written.
    """
    _write_pngs(masks.astype(np.uint8) * np.uint8(255), Path(folder))


def check_empty_folder(folder: str | Path) -> None:
    """Refuse a folder that already holds something.

    Raises:
        OutputError: if it is not empty, or is a file.
    """
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise OutputError(f"{place} is a file; choose a folder")
    if place.is_dir() and any(place.iterdir()):
        raise OutputError(f"{place} is not empty; choose a new folder, so that nothing is mixed or lost")


def _write_pngs(pictures: NDArray[np.uint8], folder: Path) -> None:
    check_empty_folder(folder)
    for index, picture in enumerate(pictures):
        with written_atomically(folder / f"{index:05d}.png") as temporary:
            Image.fromarray(picture).save(temporary, compress_level=3)


def _png_files(folder: Path, error: type[InputError]) -> list[Path]:
    if not folder.is_dir():
        raise error(f"there is no folder {folder}; pass a folder of PNG files")
    paths = [path for path in folder.iterdir() if path.suffix.lower() == ".png" and path.is_file()]
    if not paths:
        raise error(f"{folder} holds no PNG file; pass a folder of PNG files, one a frame")
    return sorted(paths, key=_frame_order)


def _frame_order(path: Path) -> tuple[list[int], str]:
    # "frame10" comes after "frame9", which the order of letters gets wrong.
    return [int(digits) for digits in re.findall(r"\d+", path.stem)], path.name


@contextmanager
def _opened_png(path: Path, error: type[InputError]) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.mode not in _EIGHT_BIT_MODES:
                raise error(f"{path.name} has more than 8 bits a channel; save it as an 8-bit PNG")
            if max(image.size) > MAX_SIDE:
                raise error(f"{path.name} is {image.width}x{image.height} pixels; at most {MAX_SIDE} a side")
            yield image
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as problem:
        raise error(f"{path.name} is not a readable PNG file ({problem}); save it again") from problem


def _over_black(image: Image.Image) -> NDArray[np.uint8]:
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(black, image.convert("RGBA")).convert("RGB"))


def _mask_levels(path: Path) -> NDArray[np.bool_]:
    with _opened_png(path, MaskError) as image:
        levels = np.asarray(image if image.mode == "P" else image.convert("L"))
        threshold = 0 if image.mode == "P" or levels.max() <= 1 else 127
        return levels > threshold
