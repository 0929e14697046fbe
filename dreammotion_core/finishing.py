"""From optimised latents to finished frames at the clip's own size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dreammotion_core.method.prior import Backend
from dreammotion_core.composite import blend, composite
from dreammotion_core.config import EditConfig
from dreammotion_core.detail import structure_kept
from dreammotion_core.masks import feathered_alpha
from dreammotion_core.memory import device_failures_explained
from dreammotion_core.resizing import to_pixels
from dreammotion_core.steadying import steadied
from dreammotion_core.values import Frames, Mask, Video

DETAIL_WINDOW = 4.0
"""Standard deviation in pixels of the model's grid: about one latent of a model that is 8 times smaller."""


@dataclass(frozen=True, eq=False)
class Finishing:
    """Decodes, restores the size and lost detail, takes out flicker, and keeps the source outside the mask.

    Attributes:
        backend: decodes the latents.
        source: the clip before the edit.
        alpha: (F, H, W) opacity of the edit in [0, 1].
        reconstruction: (F, H, W, 3) float RGB in [0, 255], what is left of the source after its way
            through the autoencoder and the model's grid; None where its detail is not to be given back.
        detail_window: neighbourhood that decides whether detail still fits, in pixels.
        smoothing: of the object's mean colour over time, standard deviation in frames; 0 for none.
    """

    backend: Backend
    source: Video
    alpha: NDArray[np.float32]
    reconstruction: NDArray[np.float32] | None
    detail_window: float
    smoothing: float

    @classmethod
    @device_failures_explained()
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
        reconstruction = None
        if config.keep_detail and backend.spec.keeps_detail:
            reconstruction = to_pixels(backend.decode_video(source_latents), source.size)
        grid = backend.spec.fit_size(source.size, scale=config.resolution_scale)
        return cls(
            backend,
            source,
            alpha=feathered_alpha(mask, width=config.mask_feather),
            reconstruction=reconstruction,
            detail_window=DETAIL_WINDOW * source.size[0] / grid[0],
            smoothing=config.colour_smoothing * source.fps,
        )

    @device_failures_explained()
    def __call__(self, latents: Tensor) -> Frames:
        """(1, C, f, h, w) latents as (F, H, W, 3) uint8 RGB; the source's own give the source exactly."""
        return self.finish(self.backend.decode_video(latents))

    def finish(self, images: Tensor) -> Frames:
        """(F, 3, h, w) RGB images, roughly in [-1, 1], as (F, H, W, 3) uint8 RGB at the source's size."""
        edited = to_pixels(images, self.source.size)
        if self.reconstruction is not None:
            edited = edited + self._fitting_detail(edited, self.reconstruction)
        blended = blend(self.source.frames, edited, self.alpha)
        if self.smoothing > 0:
            blended = steadied(blended, source=self.source.frames, alpha=self.alpha, smoothing=self.smoothing)
        return composite(self.source.frames, blended, self.alpha)

    def _fitting_detail(
        self, edited: NDArray[np.float32], reconstruction: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        share = structure_kept(edited, reconstruction, window=self.detail_window)
        return share[..., None] * (self.source.frames - reconstruction)
