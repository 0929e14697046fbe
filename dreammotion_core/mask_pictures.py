"""Masks as PNG pictures, one a frame: grey for one object, with a palette for several.

In a picture with a palette the number of a colour is the number of the object, and 0 is no object;
which colours these are means nothing.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreammotion_core.errors import MaskError
from dreammotion_core.media.mask_levels import MaskLevels
from dreammotion_core.mask_shapes import check_mask_shape
from dreammotion_core.mask_streams import MaskStream
from dreammotion_core.png_files import opened_png, over_black, png_files, write_png_folder
from dreammotion_core.values import Notice

_COLOUR_TOLERANCE = 16
_GOLDEN_RATIO = 0.618034
_NAMED_STRAYS = 3
_CLUTTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def read_mask_picture(path: Path, *, size: tuple[int, int]) -> MaskLevels:
    """Read one PNG file that holds the mask of all frames.

    Args:
        path: the file.
        size: (H, W) of the clip in pixels.

    Raises:
        MaskError: if it is unreadable, of another size, coloured, or has more than 8 bits.
    """
    return stacked_pictures([(path.name, path)], num_frames=1, size=size)


def read_mask_folder(folder: Path, *, num_frames: int, size: tuple[int, int]) -> MaskLevels:
    """Read a folder of PNG files, one a frame. Other files are left out, with a notice.

    Args:
        folder: the PNG files lie directly in it and are ordered by the numbers in their names.
        num_frames: frames F of the clip.
        size: (H, W) of the clip in pixels.

    Raises:
        MaskError: as `stacked_pictures`, or if count or kinds of the files do not fit.
    """
    paths = png_files(folder, MaskError)
    check_mask_shape((len(paths), *size), num_frames=num_frames, size=size)
    strays = {path.name for path in folder.iterdir()} - {path.name for path in paths}
    pictures = ((path.name, path) for path in paths)
    return stacked_pictures(pictures, num_frames=num_frames, size=size, notices=stray_notices(strays))


def stacked_pictures(
    pictures: Iterable[tuple[str, Path | IO[bytes]]],
    *,
    num_frames: int,
    size: tuple[int, int],
    notices: tuple[Notice, ...] = (),
) -> MaskLevels:
    """Read pictures one after the other. The size of each is checked before it is decoded.

    Args:
        pictures: `num_frames` names and PNG files, in order.
        num_frames: frames to read.
        size: (H, W) that every picture must have.
        notices: what is known about the file already.

    Raises:
        MaskError: if one is unreadable, of another size, coloured, or has more than 8 bits, or if only some
            have a palette.
    """
    values = np.empty((num_frames, *size), np.uint8)
    has_palette: bool | None = None
    is_transparent = False
    for index, (name, file) in enumerate(pictures):
        with opened_png(file, name=name, error=MaskError) as image:
            try:
                check_mask_shape((image.height, image.width), num_frames=num_frames, size=size)
            except MaskError as error:
                raise MaskError(f"{name}: {error}") from error
            if has_palette not in (None, image.mode == "P"):
                raise MaskError(
                    f"{name} and the pictures before it are of two kinds, grey and with a palette; "
                    "save all masks in one of them"
                )
            has_palette = image.mode == "P"
            if has_palette:
                values[index] = _numbers(image, name)
            else:
                is_transparent |= image.has_transparency_data
                values[index] = grey_levels(over_black(image), name=name)
    if is_transparent:
        notices = (*notices, Notice("alpha", "Transparent parts of the mask were laid over black."))
    return MaskLevels(values, are_objects=bool(has_palette), notices=notices)


def grey_levels(picture: NDArray[np.uint8], *, name: str) -> NDArray[np.uint8]:
    """The brightness of a picture without colours.

    Args:
        picture: (H, W, 3) uint8 RGB.
        name: what to call it in messages.

    Returns:
        (H, W) uint8.

    Raises:
        MaskError: if it has colours: their brightness would say nothing about what is selected.
    """
    red, green, blue = (picture[..., channel] for channel in range(3))
    # Several times as fast as asking for the range along the last axis.
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    if spread.max() > _COLOUR_TOLERANCE:
        raise MaskError(
            f"{name} has colours; pass masks in black and white, or several objects as PNG with a palette"
        )
    return green


def write_mask_folder(masks: MaskStream, folder: Path) -> None:
    """Write ``00000.png``, ``00001.png``, ..., or nothing at all.

    Args:
        masks: bool, written as grey 0 and 255, or numbers of objects, with a palette.
        folder: is made if missing; must be empty.

    Raises:
        OutputError: if the folder is not empty or cannot be written.
    """
    write_png_folder(map(mask_picture, masks), folder)


def mask_picture(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> Image.Image:
    """One mask as a picture: bool as grey 0 and 255, numbers of objects with a palette."""
    if mask.dtype == np.bool_:
        return Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    picture = Image.fromarray(np.ascontiguousarray(mask))
    # Turns in the golden ratio keep the colours of neighbouring numbers far apart.
    colours = [colorsys.hsv_to_rgb(number * _GOLDEN_RATIO % 1, 0.75, 0.95) for number in range(1, 256)]
    picture.putpalette([0, 0, 0, *(round(255 * part) for colour in colours for part in colour)])
    return picture


def stray_notices(names: Iterable[str]) -> tuple[Notice, ...]:
    """Says what lay beside the masks and was left out, except for what operating systems leave behind."""
    strays = sorted(name for name in names if not is_clutter(name))
    if not strays:
        return ()
    named = ", ".join(strays[:_NAMED_STRAYS]) + (", ..." if len(strays) > _NAMED_STRAYS else "")
    return (Notice("stray_files", f"Only PNG files were read as masks; left out: {named}."),)


def is_clutter(name: str) -> bool:
    """Whether a file, named by its path with slashes, is what an operating system leaves behind."""
    parts = name.split("/")
    return "__MACOSX" in parts or parts[-1] in _CLUTTER or parts[-1].startswith("._")


def _numbers(image: Image.Image, name: str) -> NDArray[np.uint8]:
    numbers = np.asarray(image)
    colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    used = np.flatnonzero(np.bincount(numbers.ravel(), minlength=1))
    others = used[(used > 0) & (used < len(colours))]
    # Some programs store black and white with a palette, white first: its numbers would select the rest.
    if others.size and (colours[0] == 255).all() and not colours[others].any():
        raise MaskError(
            f"{name} has a palette in which white is number 0, which means no object; save it as a grey PNG"
        )
    return numbers
