"""From the levels that a mask file holds to the pixels of an object.

A file holds either numbers of objects (palette PNG, npz: 0 is no object) or greys (grey PNG, video:
white is the object, from 128 upwards; in pictures without a level above 1, every level but 0).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import MaskError
from dreammotion_core.values import Mask, Notice, check_selects_something

Level = TypeVar("Level", bound=np.generic)
THRESHOLD = 128
_MOST_NAMED = 12


@dataclass(frozen=True, eq=False)
class MaskLevels:
    """What a mask file holds, not interpreted yet.

    Attributes:
        values: (F, H, W) uint8, or (1, H, W) for all frames.
        are_objects: whether the values number objects; otherwise they are greys.
        noise: by how many levels coding may have moved black and white; 0 where coding is lossless.
        layers: the objects each alone, by number, where the file keeps their overlap; there `values` shows
            only the last of those that claim a pixel.
    """

    values: NDArray[np.uint8]
    are_objects: bool
    noise: int = 0
    notices: tuple[Notice, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    layers: Mapping[int, Mask] = field(default_factory=dict)

    @property
    def present(self) -> tuple[int, ...]:
        """The numbers, or levels, that occur, rising, without 0."""
        if self.layers:
            return tuple(sorted(number for number, mask in self.layers.items() if mask.any()))
        counts = np.zeros(256, np.int64)
        for picture in self.values:
            counts += np.bincount(picture.ravel(), minlength=256)
        return tuple(int(level) for level in np.flatnonzero(counts) if level)

    def of_number(self, number: int) -> Mask:
        """(F, H, W) or (1, H, W) bool: where one object is."""
        return self.layers[number] if self.layers else self.values == number


class ObjectMasks(Mapping[int, Mask]):
    """The masks of several objects, (F, H, W) bool by number; made when asked for, because many are large."""

    def __init__(self, levels: MaskLevels, *, num_frames: int) -> None:
        self._levels = levels
        self._num_frames = num_frames
        self._numbers = levels.present

    def __getitem__(self, number: int) -> Mask:
        if number not in self._numbers:
            raise KeyError(number)
        return _for_all_frames(self._levels.of_number(number), self._num_frames)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


@dataclass(frozen=True, eq=False)
class GivenMasks:
    """One object of a mask file, fitted to its clip: (F, H, W) bool, and what is unusual about it."""

    masks: Mask
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, eq=False)
class GivenObjects:
    """All objects of a mask file, fitted to its clip.

    Attributes:
        numbers: (F, H, W) uint8, the number of the object at every pixel; 0 is no object. Where several
            claim a pixel, which only ``.npz`` keeps, the highest.
        present: the numbers that occur, rising, without 0; gaps are fine.
        masks: the objects each alone, (F, H, W) bool by number.
    """

    numbers: NDArray[np.uint8]
    present: tuple[int, ...]
    masks: Mapping[int, Mask]
    notices: tuple[Notice, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)


def one_object(levels: MaskLevels, *, num_frames: int, object_index: int | None = None) -> GivenMasks:
    """The pixels of one object; a number reads greys of a picture as numbers too, None takes the only object.

    Raises `MaskError` if there is no such object, there are several and none was chosen, or nothing is
    selected.
    """
    if object_index is None and not levels.are_objects:
        selected, notices = _thresholded(levels)
    else:
        selected, notices = levels.of_number(_chosen(levels, object_index)), ()
    check_selects_something(selected)
    masks = _for_all_frames(selected, num_frames)
    return GivenMasks(masks, (*levels.notices, *notices, *_unusual(masks)))


def all_objects(levels: MaskLevels, *, num_frames: int) -> GivenObjects:
    """The number of the object at every pixel; greys are one object, number 1.

    Raises `MaskError` if there is no object.
    """
    if not levels.are_objects:
        selected, found = _thresholded(levels)
        values, notices = selected.astype(np.uint8), (*levels.notices, *found)
        levels = replace(levels, values=values, notices=notices)
    check_selects_something(levels.values)
    masks = ObjectMasks(levels, num_frames=num_frames)
    names = {number: name for number, name in levels.names.items() if number in masks}
    whole = _for_all_frames(levels.values, num_frames)
    return GivenObjects(whole, tuple(masks), masks, levels.notices, names)


def _for_all_frames(levels: NDArray[Level], num_frames: int) -> NDArray[Level]:
    return np.broadcast_to(levels, (num_frames, *levels.shape[1:])).copy()


def _chosen(levels: MaskLevels, object_index: int | None) -> int:
    if levels.noise:
        raise MaskError("a mask video holds one object, white on black; leave the number of the object out")
    present = levels.present
    if object_index is None:
        if len(present) > 1:
            raise MaskError(f"the mask holds {_named(present)}; choose one by its number (object_index)")
        return present[0] if present else 1
    if object_index not in present:
        raise MaskError(
            f"the mask holds no object {object_index!r}, only {_named(present)}; choose one of these"
        )
    return object_index


def _thresholded(levels: MaskLevels) -> tuple[NDArray[np.bool_], tuple[Notice, ...]]:
    present = levels.present
    highest = max(present, default=0)
    if not levels.noise and highest <= 1:
        return levels.values > 0, ()
    if 0 < highest < THRESHOLD:
        raise MaskError(
            f"the brightest level of the mask is {highest}, but the object begins at {THRESHOLD} of 255; "
            "make the object white; if levels number objects, save them with a palette, or choose one by its "
            "number (object_index)"
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


def _named(present: tuple[int, ...]) -> str:
    if not present:
        return "no object"
    numbers = [str(number) for number in present[:_MOST_NAMED]]
    if len(present) > _MOST_NAMED:
        return f"{len(present)} objects, with the numbers {', '.join(numbers)}, ..."
    if len(numbers) == 1:
        return f"object {numbers[0]}"
    return f"the objects {', '.join(numbers[:-1])} and {numbers[-1]}"


@dataclass(frozen=True, eq=False)
class MaskStream:
    """The masks of a clip, in the order of its frames. It can be gone through once.

    Attributes:
        shape: (F, H, W).
        dtype: bool, or uint8 where the values number objects.

    Raises `MaskError` if shape or type are none of masks; while it is gone through, if the frames are others
    than was said.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    frames: Iterable[NDArray[np.bool_] | NDArray[np.uint8]]

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or 0 in self.shape or self.dtype not in (np.bool_, np.uint8):
            raise MaskError(
                f"the masks have shape {self.shape} and type {self.dtype}; "
                "pass (frames, height, width) of bool, or of uint8 numbers of objects"
            )

    @staticmethod
    def of(masks: NDArray[np.bool_] | NDArray[np.uint8] | MaskStream) -> MaskStream:
        """An (F, H, W) array as a stream; a stream as it is."""
        return masks if isinstance(masks, MaskStream) else MaskStream(masks.shape, masks.dtype, masks)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.shape[1], self.shape[2]

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[np.bool_] | NDArray[np.uint8]]:
        count = 0
        for count, mask in enumerate(self.frames, start=1):
            if mask.shape != self.size or mask.dtype != self.dtype or count > len(self):
                raise MaskError(
                    f"mask {count} is {mask.shape} of {mask.dtype}, but {len(self)} of {self.size} and "
                    f"{self.dtype} were announced; pass as many and as large ones"
                )
            yield mask
        if count < len(self):
            raise MaskError(f"only {count} of {len(self)} masks came; pass one for each frame")
