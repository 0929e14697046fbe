"""From the levels that a mask file holds to the pixels of an object. Deliberately absent: files.

A file holds either numbers of objects (palette PNG, npz: 0 is no object) or greys (grey PNG, video:
white is the object, from 128 upwards; in pictures without a level above 1, every level but 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import MaskError
from dreammotion_core.mask_shapes import check_selects_something
from dreammotion_core.values import Mask, Notice

THRESHOLD = 128
_MOST_NAMED = 12


@dataclass(frozen=True, eq=False)
class MaskLevels:
    """What a mask file holds, not interpreted yet.

    Attributes:
        values: (F, H, W) uint8, or (1, H, W) for all frames.
        are_objects: whether the values number objects; otherwise they are greys.
        noise: by how many levels coding may have moved black and white; 0 where coding is lossless.
        notices: what reading left out or changed.
        names: of numbered objects, where the file has any.
    """

    values: NDArray[np.uint8]
    are_objects: bool
    noise: int = 0
    notices: tuple[Notice, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class GivenMasks:
    """One object of a mask file, fitted to its clip.

    Attributes:
        masks: (F, H, W) bool, True on the object.
        notices: what reading changed, and what is unusual about the mask.
    """

    masks: Mask
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, eq=False)
class GivenObjects:
    """All objects of a mask file, fitted to its clip.

    Attributes:
        numbers: (F, H, W) uint8, the number of the object at every pixel; 0 is no object.
        present: the numbers that occur, rising, without 0; gaps are fine.
        notices: what reading changed.
        names: of the objects that have one, by number.
    """

    numbers: NDArray[np.uint8]
    present: tuple[int, ...]
    notices: tuple[Notice, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)


def one_object(levels: MaskLevels, *, num_frames: int, object_index: int | None = None) -> GivenMasks:
    """The pixels of one object.

    Args:
        levels: as a file holds them.
        num_frames: frames F of the clip.
        object_index: number of the object; reads greys of a picture as numbers too. None takes the only one.

    Raises:
        MaskError: if there is no such object, there are several and none was chosen, or nothing is selected.
    """
    if object_index is None and not levels.are_objects:
        selected, notices = _thresholded(levels)
    else:
        selected, notices = levels.values == _chosen(levels, object_index), ()
    check_selects_something(selected)
    masks = np.broadcast_to(selected, (num_frames, *selected.shape[1:])).copy()
    return GivenMasks(masks, (*levels.notices, *notices, *_unusual(masks)))


def all_objects(levels: MaskLevels, *, num_frames: int) -> GivenObjects:
    """The number of the object at every pixel; greys are one object, number 1.

    Args:
        levels: as a file holds them.
        num_frames: frames F of the clip.

    Raises:
        MaskError: if there is no object.
    """
    if levels.are_objects:
        numbers, notices = levels.values, levels.notices
    else:
        selected, found = _thresholded(levels)
        numbers, notices = selected.astype(np.uint8), (*levels.notices, *found)
    check_selects_something(numbers)
    whole = np.broadcast_to(numbers, (num_frames, *numbers.shape[1:])).copy()
    present = _present(numbers)
    names = {number: name for number, name in levels.names.items() if number in present}
    return GivenObjects(whole, present, notices, names)


def _chosen(levels: MaskLevels, object_index: int | None) -> int:
    if levels.noise:
        raise MaskError("a mask video holds one object, white on black; leave the number of the object out")
    present = _present(levels.values)
    if object_index is None:
        if len(present) > 1:
            raise MaskError(
                f"the mask holds {_named(present)}; choose one by its number (--object on the command line)"
            )
        return present[0] if present else 1
    if object_index not in present:
        raise MaskError(
            f"the mask holds no object {object_index!r}, only {_named(present)}; choose one of these"
        )
    return object_index


def _thresholded(levels: MaskLevels) -> tuple[NDArray[np.bool_], tuple[Notice, ...]]:
    present = _present(levels.values)
    highest = max(present, default=0)
    if not levels.noise and highest <= 1:
        return levels.values > 0, ()
    if 0 < highest < THRESHOLD:
        raise MaskError(
            f"the brightest level of the mask is {highest}, but the object begins at {THRESHOLD} of 255; "
            "make the object white; if levels number objects, save them with a palette, or choose one "
            "(--object on the command line)"
        )
    between = [level for level in present if levels.noise < level < 255 - levels.noise]
    text = f"The mask holds greys; from {THRESHOLD} of 255 upwards they were taken as the object."
    return levels.values >= THRESHOLD, (Notice("thresholded", text),) if between else ()


def _unusual(masks: Mask) -> tuple[Notice, ...]:
    if masks.all():
        return (Notice("full_mask", "The mask selects the whole of every frame, so everything may change."),)
    empty = int((~masks.any(axis=(1, 2))).sum())
    if not empty:
        return ()
    text = f"The mask selects nothing on {empty} of {len(masks)} frames; those stay as they are."
    return (Notice("empty_frames", text),)


def _present(values: NDArray[np.uint8]) -> tuple[int, ...]:
    """The levels that occur, rising, without 0."""
    counts = np.zeros(256, np.int64)
    for picture in values:
        counts += np.bincount(picture.ravel(), minlength=256)
    return tuple(int(level) for level in np.flatnonzero(counts) if level)


def _named(present: tuple[int, ...]) -> str:
    if not present:
        return "no object"
    numbers = [str(number) for number in present[:_MOST_NAMED]]
    if len(present) > _MOST_NAMED:
        return f"{len(present)} objects, with the numbers {', '.join(numbers)}, ..."
    if len(numbers) == 1:
        return f"object {numbers[0]}"
    return f"the objects {', '.join(numbers[:-1])} and {numbers[-1]}"
