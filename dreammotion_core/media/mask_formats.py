"""Masks as arrays in an npz file, read without ever running what a file may contain.

One array called ``masks`` numbers the objects at each pixel. Where objects overlap, each has an array of
its own, ``object_1``, ``object_2``, ..., so that nothing of them is lost.
"""

from __future__ import annotations

import io
import math
import re
import tokenize
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.errors import MaskError
from dreammotion_core.mask_archives import check_entry_size, opened_archive
from dreammotion_core.mask_layers import PackedLayers
from dreammotion_core.media.mask_levels import MaskLevels
from dreammotion_core.mask_shapes import check_mask_shape
from dreammotion_core.mask_streams import MaskStream

_KEY = "masks"
_OBJECT_KEY = re.compile(r"object_([1-9]\d{0,2})\.npy")
MOST_LAYERS = 32
"""Objects that are stored each alone: each has to be unpacked, however small the file is."""
_MAX_HEADER_BYTES = 10_000
_BLOCK_VALUES = 2**16
"""Read at once, because numbers may be stored eight times as wide as they are kept."""
# What numpy lets through where an array's description is none: it has Python parse it.
_NO_HEADER = (LookupError, ValueError, TypeError, RecursionError, MemoryError, tokenize.TokenError)
_ADVICE = "save one (frames, height, width) array of bool, or of whole numbers from 0 to 255, one an object"


def read_mask_array(path: Path, *, num_frames: int, size: tuple[int, int]) -> MaskLevels:
    """Read an npz file. Type and shape are checked before the array is read.

    Args:
        path: holds one array, whatever its name: (F, H, W), or (H, W) for all frames; bool, or whole
            numbers of objects. Or one array for each object, ``object_N``, with 0 where it is not.
        num_frames: frames F of the clip.
        size: (H, W) of the clip in pixels.

    Raises:
        MaskError: if it is damaged, holds another number of arrays, or its array does not fit.
    """
    with opened_archive(path) as archive:
        names = archive.namelist()
        numbers = _layer_numbers(names, path.name)
        if numbers is None and (len(names) != 1 or not names[0].endswith(".npy")):
            held = ", ".join(name.removesuffix(".npy") for name in names[:8]) or "nothing"
            raise MaskError(f"{path.name} holds {held}, not one array; {_ADVICE}")
        read = partial(_array, archive, file_name=path.name, num_frames=num_frames, size=size)
        if numbers is None:
            return MaskLevels(read(names[0]), are_objects=True)
        by_number = sorted(zip(numbers, names, strict=True))
        layers = PackedLayers((number, read(name) > 0) for number, name in by_number)
    return MaskLevels(flattened(layers), are_objects=True, layers=layers)


def write_mask_array(masks: MaskStream, path: Path) -> None:
    """Write one compressed array called ``masks``.

    Args:
        masks: bool, or numbers of objects.
        path: ends in ``.npz``; an older file is replaced.

    Raises:
        OutputError: if it cannot be written.
    """
    _write_arrays({_KEY: masks}, path)


def write_mask_layers(layers: Mapping[int, NDArray[np.bool_]], path: Path) -> None:
    """Write one compressed array for each object, so that they may overlap.

    Args:
        layers: (F, H, W) bool by the numbers of the objects, at most `MOST_LAYERS`.
        path: ends in ``.npz``; an older file is replaced.

    Raises:
        MaskError: if these are too many.
        OutputError: if it cannot be written.
    """
    if len(layers) > MOST_LAYERS:
        raise MaskError(
            f"{len(layers)} objects overlap, but an .npz file keeps at most {MOST_LAYERS} that do; "
            "export fewer at once"
        )
    _write_arrays({f"object_{number}": MaskStream.of(mask) for number, mask in layers.items()}, path)


def flattened(layers: Mapping[int, NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Numbers of objects, at least one; where several claim a pixel, the last of them has it.

    Args:
        layers: (F, H, W) bool by number, the lowest layer first.

    Returns:
        (F, H, W), 0 where no object is.
    """
    labels = np.zeros(next(iter(layers.values())).shape, np.uint8)
    for number, mask in layers.items():
        labels[mask] = number
    return labels


def _write_arrays(arrays: Mapping[str, MaskStream], path: Path) -> None:
    """As numpy writes them, but frame by frame, and with the same bytes for the same masks."""
    with written_atomically(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, masks in arrays.items():
            header = {
                "descr": np.lib.format.dtype_to_descr(masks.dtype),
                "fortran_order": False,
                "shape": masks.shape,
            }
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array_header_1_0(entry, header)
                for mask in masks:
                    entry.write(np.ascontiguousarray(mask).tobytes())


def _layer_numbers(names: Sequence[str], file_name: str) -> list[int] | None:
    """Numbers of the objects that have an array each; None where the file is not of that kind."""
    found = [_OBJECT_KEY.fullmatch(name) for name in names]
    if len(names) < 2 or not all(found):
        return None
    numbers = [int(match[1]) for match in found if match]
    if max(numbers) > 255 or len(numbers) > MOST_LAYERS:
        raise MaskError(
            f"{file_name} holds {len(numbers)} objects with numbers up to {max(numbers)}; at most "
            f"{MOST_LAYERS} that overlap and numbers up to 255 are accepted"
        )
    return numbers


class _Header(NamedTuple):
    """What an array's description says, and how many bytes it takes."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype
    num_bytes: int


def _array(
    archive: zipfile.ZipFile, name: str, *, file_name: str, num_frames: int, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """(F or 1, H, W) levels of one array."""
    with archive.open(name) as entry:
        shape, is_fortran, dtype, header_bytes = _header(entry.read(_MAX_HEADER_BYTES), file_name)
    if dtype.kind not in "biu":
        kind = "Python objects, which are never loaded" if dtype.hasobject else str(dtype)
        raise MaskError(f"{file_name} holds {kind}; {_ADVICE}")
    check_mask_shape(shape, num_frames=num_frames, size=size)
    levels = np.empty(math.prod(shape), np.uint8)
    check_entry_size(archive, name, limit=_MAX_HEADER_BYTES + levels.size * dtype.itemsize)
    with archive.open(name) as entry:
        entry.read(header_bytes)
        for start in range(0, levels.size, _BLOCK_VALUES):
            block = levels[start : start + _BLOCK_VALUES]
            content = entry.read(block.size * dtype.itemsize)
            if len(content) < block.size * dtype.itemsize:
                raise EOFError
            values = np.frombuffer(content, dtype)
            if values.min() < 0 or values.max() > 255:
                raise MaskError(f"{file_name} holds values from {values.min()} to {values.max()}; {_ADVICE}")
            block[:] = values
    return levels.reshape(shape, order="F" if is_fortran else "C").reshape(-1, *size)


def _header(begin: bytes, name: str) -> _Header:
    """What the beginning of a file says of its array."""
    file = io.BytesIO(begin)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        reader = readers[np.lib.format.read_magic(file)]
        shape, is_fortran, dtype = reader(file, max_header_size=_MAX_HEADER_BYTES)
    except _NO_HEADER as error:
        raise MaskError(f"{name} does not hold an array in numpy's format; {_ADVICE}") from error
    return _Header(shape, is_fortran, dtype, file.tell())
