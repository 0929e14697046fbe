"""Masks that come one frame at a time, so that those of a long clip never lie in memory together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import MaskError


@dataclass(frozen=True, eq=False)
class MaskStream:
    """The masks of a clip, in the order of its frames. It can be gone through once.

    Attributes:
        shape: (F, H, W).
        dtype: bool, or uint8 where the values number objects.
        frames: F arrays of (H, W) and this type; of an array, its first axis.

    Raises:
        MaskError: if shape or type are none of masks; while it is gone through, if the frames are others
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
