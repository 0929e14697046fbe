"""Masks as one array in an npz file, read without ever running what a file may contain."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.atomic_files import written_atomically
from dreammotion_core.errors import MaskError
from dreammotion_core.mask_archives import opened_archive, read_entry
from dreammotion_core.mask_levels import MaskLevels
from dreammotion_core.mask_shapes import check_mask_shape

_KEY = "masks"
_MAX_HEADER_BYTES = 10_000
_ADVICE = "save one (frames, height, width) array of bool, or of whole numbers from 0 to 255, one an object"


def read_mask_array(path: Path, *, num_frames: int, size: tuple[int, int]) -> MaskLevels:
    """Read an npz file. Type and shape are checked before the array is read.

    Args:
        path: holds one array, whatever its name: (F, H, W), or (H, W) for all frames; bool, or whole
            numbers of objects.
        num_frames: frames F of the clip.
        size: (H, W) of the clip in pixels.

    Raises:
        MaskError: if it is damaged, holds another number of arrays, or its array does not fit.
    """
    with opened_archive(path) as archive:
        names = archive.namelist()
        if len(names) != 1 or not names[0].endswith(".npy"):
            held = ", ".join(name.removesuffix(".npy") for name in names[:8]) or "nothing"
            raise MaskError(f"{path.name} holds {held}, not one array; {_ADVICE}")
        with archive.open(names[0]) as entry:
            shape, dtype = _header(entry.read(_MAX_HEADER_BYTES), path.name)
        if dtype.kind not in "biu":
            kind = "Python objects, which are never loaded" if dtype.hasobject else str(dtype)
            raise MaskError(f"{path.name} holds {kind}; {_ADVICE}")
        check_mask_shape(shape, num_frames=num_frames, size=size)
        limit = _MAX_HEADER_BYTES + math.prod(shape) * dtype.itemsize
        content = io.BytesIO(read_entry(archive, names[0], limit=limit))
        values = np.lib.format.read_array(content, allow_pickle=False)
    if values.min() < 0 or values.max() > 255:
        raise MaskError(f"{path.name} holds values from {values.min()} to {values.max()}; {_ADVICE}")
    return MaskLevels(values.astype(np.uint8).reshape(-1, *size), are_objects=True)


def write_mask_array(masks: NDArray[np.bool_] | NDArray[np.uint8], path: Path) -> None:
    """Write one compressed array called ``masks``.

    Args:
        masks: (F, H, W) bool, or uint8 numbers of objects.
        path: ends in ``.npz``; an older file is replaced.

    Raises:
        OutputError: if it cannot be written.
    """
    with written_atomically(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **{_KEY: masks})


def _header(begin: bytes, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array whose file begins so."""
    file = io.BytesIO(begin)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        reader = readers[np.lib.format.read_magic(file)]
        shape, _, dtype = reader(file, max_header_size=_MAX_HEADER_BYTES)
    except (KeyError, ValueError) as error:
        raise MaskError(f"{name} does not hold an array in numpy's format; {_ADVICE}") from error
    return shape, dtype
