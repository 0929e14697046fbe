"""Objects that overlap, each whole, in a fraction of the memory that their masks take."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from dreammotion_core.values import Mask


class PackedLayers(Mapping[int, Mask]):
    """The masks of several objects, (F, H, W) bool by number; compressed until one is asked for.

    What a small file unpacks to may be many times its clip, and would not fit into memory.

    Args:
        layers: numbers, the lowest layer first, and masks of one shape. They are taken one after the other.
    """

    def __init__(self, layers: Iterable[tuple[int, Mask]]) -> None:
        self._size = (0, 0)
        self._frames: dict[int, list[bytes]] = {}
        for number, mask in layers:
            self._size = mask.shape[1:]
            self._frames[number] = [zlib.compress(np.packbits(frame).tobytes(), 1) for frame in mask]

    def __getitem__(self, number: int) -> Mask:
        frames = self._frames[number]
        mask = np.empty((len(frames), *self._size), np.bool_)
        for index, content in enumerate(frames):
            bits = np.frombuffer(zlib.decompress(content), np.uint8)
            mask[index] = np.unpackbits(bits, count=mask[index].size).reshape(self._size)
        return mask

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)
