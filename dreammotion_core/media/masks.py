"""Masks from and to files: folders and ``.zip`` of PNG files, one a frame, ``.npz`` arrays and ``.mp4``.

A ``.png`` is one mask for all frames (reading only), a video one object, white on black. A mask that is
written and read again is the same, bit for bit. Objects that overlap stay whole in ``.npz`` alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import MaskError
from dreammotion_core.media.atomic import check_readable, check_writable
from dreammotion_core.media.frames import check_empty_folder, write_png_folder
from dreammotion_core.media.mask_formats import (
    VIDEO_SUFFIXES,
    flattened,
    mask_picture,
    read_mask_archive,
    read_mask_array,
    read_mask_folder,
    read_mask_video,
    stacked_pictures,
    write_mask_archive,
    write_mask_arrays,
    write_mask_video,
)
from dreammotion_core.media.mask_levels import (
    GivenMasks,
    GivenObjects,
    MaskLevels,
    MaskStream,
    all_objects,
    one_object,
)
from dreammotion_core.values import Mask, Notice

_FILE_SUFFIXES = (".zip", ".npz", ".mp4")
_NO_NAMES: Mapping[int, str] = MappingProxyType({})
_READABLE = "a folder of PNG files, or a .png, .zip, .npz or .mp4 file"


def read_masks(
    path: str | Path, *, num_frames: int, size: tuple[int, int], object_index: int | None = None
) -> GivenMasks:
    """Read the mask of one object on every frame of a clip of (H, W) `size`, from a folder or file as above.

    Count, size and values are checked before much is read; nothing is resized, cut or repaired. Greys are
    divided at 128 of 255, with a notice. `object_index` is needed if there are several objects.

    Returns (F, H, W) bool and what is worth knowing about it: codes ``thresholded``, ``stray_files``,
    ``alpha``, ``empty_frames`` and ``full_mask``. Raises `MaskError` if the file cannot be read or does not
    fit, or if it is unclear which object is meant.
    """
    levels = _levels(Path(path), num_frames=num_frames, size=size)
    return one_object(levels, num_frames=num_frames, object_index=object_index)


def read_objects(path: str | Path, *, num_frames: int, size: tuple[int, int]) -> GivenObjects:
    """Read all objects of a mask file, as `read_masks` reads one; black and white is one object, number 1.

    Raises `MaskError` if the file cannot be read or does not fit.
    """
    return all_objects(_levels(Path(path), num_frames=num_frames, size=size), num_frames=num_frames)


def write_masks(
    masks: NDArray[np.bool_] | NDArray[np.uint8] | MaskStream,
    path: str | Path,
    *,
    fps: float = 24.0,
    names: Mapping[int, str] = _NO_NAMES,
) -> Path:
    """Write masks as the kind of file that the name asks for, and give its path.

    Args:
        masks: (F, H, W) bool, or uint8 numbers of objects with 0 for none (not to ``.mp4``); a stream is
            written as it comes, however long.
        path: a new or empty folder, or a name ending in ``.zip``, ``.npz`` or ``.mp4``; an older file is
            replaced.
        fps: frames a second of an ``.mp4``.
        names: of the objects, by number, each at most 40 characters; kept in a ``.zip`` only.

    Raises `MaskError` if masks or name are of another kind, and `OutputError` if the file cannot be written;
    none is left half-written.
    """
    target = Path(path)
    check_mask_target(target)
    stream = MaskStream.of(masks)
    match _suffix(target):
        case ".zip":
            write_mask_archive(stream, target, names=names)
        case ".npz":
            write_mask_arrays(stream, target)
        case ".mp4":
            write_mask_video(stream, target, fps=fps)
        case _:
            write_png_folder(map(mask_picture, stream), target)
    return target


def write_objects(
    objects: Mapping[int, Mask], path: str | Path, *, fps: float = 24.0, names: Mapping[int, str] = _NO_NAMES
) -> tuple[Notice, ...]:
    """Write the masks of several objects, so that `read_objects` reads them again; see `write_masks`.

    `objects` are (F, H, W) bool by number, from 1 to 255, the lowest layer first; at least one. Object 1
    alone is written in black and white; an ``.mp4`` holds one object. Objects that overlap stay whole in
    ``.npz``; elsewhere a pixel belongs to the last of them, and a notice with code ``overlap`` says so.

    Raises `MaskError` if these are no objects, or the file cannot hold so many, and `OutputError` if it
    cannot be written; none is left half-written.
    """
    target, suffix = Path(path), _suffix(Path(path))
    if not objects or not all(1 <= number <= 255 for number in objects):
        raise MaskError(f"the objects are {list(objects)}; pass at least one, with numbers from 1 to 255")
    if len(objects) == 1 and (suffix == ".mp4" or 1 in objects):
        write_masks(next(iter(objects.values())), target, fps=fps, names=names)
        return ()
    overlapping = _overlapping_frames(objects)
    if overlapping and suffix == ".npz":
        check_mask_target(target)
        write_mask_arrays(objects, target)
        return ()
    write_masks(flattened(objects), target, fps=fps, names=names)
    if not overlapping:
        return ()
    text = (
        f"Objects overlap on {overlapping} of {len(next(iter(objects.values())))} frames, and in this file a "
        "pixel belongs to the uppermost of them alone. NumPy (.npz) keeps each of them whole."
    )
    return (Notice("overlap", text),)


def check_mask_target(path: str | Path) -> None:
    """Refuse early a place that `write_masks` could not write to.

    Raises `MaskError` if the name ends in what no mask file ends in, and `OutputError` if it is a folder with
    something in it, or nothing can be written there.
    """
    target = Path(path)
    suffix = _suffix(target)
    if suffix in _FILE_SUFFIXES:
        check_writable(target)
    elif suffix and not os.path.isdir(target):
        raise MaskError(
            f"{target.name} ends in {suffix}; choose the name of a folder, or one that ends in "
            f"{', '.join(_FILE_SUFFIXES[:-1])} or {_FILE_SUFFIXES[-1]}"
        )
    else:
        check_empty_folder(target)


def _overlapping_frames(objects: Mapping[int, Mask]) -> int:
    """On how many frames a pixel belongs to several objects."""
    frames = zip(*objects.values(), strict=True)
    return sum(int(np.count_nonzero(masks, axis=0).max()) > 1 for masks in map(np.stack, frames))


def _levels(path: Path, *, num_frames: int, size: tuple[int, int]) -> MaskLevels:
    check_readable(path, MaskError, wanted=_READABLE)
    if path.is_dir():
        return read_mask_folder(path, num_frames=num_frames, size=size)
    suffix = _suffix(path)
    if suffix == ".png":
        return stacked_pictures([(path.name, path)], num_frames=1, size=size)
    if suffix == ".zip":
        return read_mask_archive(path, num_frames=num_frames, size=size)
    if suffix == ".npz":
        return read_mask_array(path, num_frames=num_frames, size=size)
    if suffix in VIDEO_SUFFIXES:
        return read_mask_video(path, num_frames=num_frames, size=size)
    raise MaskError(f"{path.name} is not of a kind that masks come in; pass {_READABLE}")


def _suffix(path: Path) -> str:
    return path.suffix.lower()
