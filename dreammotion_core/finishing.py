"""From optimised latents to finished frames at the clip's own size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dreammotion_core.backends.base import Backend
from dreammotion_core.composite import blend, composite
from dreammotion_core.config import EditConfig
from dreammotion_core.masks import feathered_alpha
from dreammotion_core.memory import out_of_memory_explained
from dreammotion_core.resizing import to_pixels
from dreammotion_core.steadying import steadied
from dreammotion_core.values import Frames, Mask, Video


@dataclass(frozen=True, eq=False)
class Finishing:
    """Decodes, restores the size and lost detail, takes out flicker, and keeps the source outside the mask.

    Attributes:
        backend: decodes the latents.
        source: the clip before the edit.
        alpha: (F, H, W) opacity of the edit in [0, 1].
        lost_detail: (F, H, W, 3) float32, what the source loses on its way through the autoencoder and
            the model's grid, in 8-bit levels; None where it is not to be given back.
        smoothing: of the object's mean colour over time, standard deviation in frames; 0 for none.
    """

    backend: Backend
    source: Video
    alpha: NDArray[np.float32]
    lost_detail: NDArray[np.float32] | None
    smoothing: float

    @classmethod
    @out_of_memory_explained()
    def prepare(
        cls, backend: Backend, source: Video, source_latents: Tensor, mask: Mask, config: EditConfig
    ) -> Self:
        """Measure once what every later frame needs.

        Args:
            backend: the video prior.
            source: the clip, F frames of (H, W).
            source_latents: (1, C, F, h, w), the clip's own.
            mask: (F, H, W) bool, what may change.
            config: settings; `keep_detail`, `mask_feather` and `colour_smoothing` matter here.
        """
        lost_detail = None
        if config.keep_detail:
            reconstruction = to_pixels(backend.decode_video(source_latents), source.size)
            lost_detail = source.frames.astype(np.float32) - reconstruction
        alpha = feathered_alpha(mask, width=config.mask_feather)
        return cls(backend, source, alpha, lost_detail, config.colour_smoothing * source.fps)

    @out_of_memory_explained()
    def __call__(self, latents: Tensor) -> Frames:
        """(1, C, F, h, w) latents as (F, H, W, 3) uint8 RGB; the source's own give the source exactly."""
        edited = to_pixels(self.backend.decode_video(latents), self.source.size)
        if self.lost_detail is not None:
            edited = edited + self.lost_detail
        blended = blend(self.source.frames, edited, self.alpha)
        if self.smoothing > 0:
            blended = steadied(blended, source=self.source.frames, alpha=self.alpha, smoothing=self.smoothing)
        return composite(self.source.frames, blended, self.alpha)
