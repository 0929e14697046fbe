"""From optimised latents to finished frames at the clip's own size: resize, detail, steady, composite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dreammotion_core.config import EditConfig
from dreammotion_core.errors import NumericsError
from dreammotion_core.masks import feathered_alpha, grown_mask, outline_distance
from dreammotion_core.memory import device_failures_explained
from dreammotion_core.method.prior import Backend
from dreammotion_core.values import Frames, Mask, Video

DETAIL_WINDOW = 4.0
"""Standard deviation in pixels of the model's grid, about one latent of an 8 times smaller grid."""


@dataclass(frozen=True, eq=False)
class Finishing:
    """Decodes, restores size and detail, removes flicker, and keeps the source outside the mask.

    Attributes:
        region: (F, H, W) bool, what the edit may change.
        shares: (F, H, W), the object's share in each pixel, in [0, 1].
        feather: (F, H, W), opacity of the edit over the source, in [0, 1].
        edges: of each frame; None where there is no outline.
        reconstruction: (F, H, W, 3) float RGB in [0, 255], the source after autoencoder and grid; None if its
            detail is not given back.
        detail_window: neighbourhood that decides whether detail fits, in pixels.
        smoothing: standard deviation in frames for the object's mean colour over time; 0 for none.
    """

    backend: Backend
    source: Video
    region: Mask
    shares: NDArray[np.float32]
    feather: NDArray[np.float32]
    edges: Sequence[Edge | None]
    reconstruction: NDArray[np.float32] | None
    detail_window: float
    smoothing: float

    @classmethod
    @device_failures_explained()
    def prepare(
        cls, backend: Backend, source: Video, source_latents: Tensor, mask: Mask, config: EditConfig
    ) -> Self:
        """Compute once what every preview and the result need."""
        reconstruction = None
        if config.keep_detail and backend.spec.keeps_detail:
            reconstruction = to_pixels(backend.decode_video(source_latents), source.size)
        grid = backend.spec.fit_size(source.size, scale=config.resolution_scale)
        region = changeable(mask, config)
        shares, edges = shares_of(source.frames, mask, width=config.mask_edge)
        feather = feathered_alpha(region, width=config.mask_feather)
        window, smoothing = DETAIL_WINDOW * source.size[0] / grid[0], config.colour_smoothing * source.fps
        return cls(backend, source, region, shares, feather, edges, reconstruction, window, smoothing)

    @device_failures_explained()
    def __call__(self, latents: Tensor) -> Frames:
        """(1, C, f, h, w) latents as (F, H, W, 3) uint8 RGB; the source's latents give the source exactly."""
        return self.finish(self.backend.decode_video(latents))

    def finish(self, images: Tensor) -> Frames:
        """(F, 3, h, w) RGB images, roughly in [-1, 1], as (F, H, W, 3) uint8 RGB at the source's size."""
        edited, kept = to_pixels(images, self.source.size), None
        if self.reconstruction is not None:
            kept = structure_kept(edited, self.reconstruction, window=self.detail_window)
            edited = edited + kept[..., None] * (self.source.frames - self.reconstruction)
        background = self.source.frames.astype(np.float32)
        for index, edge in enumerate(self.edges):
            if edge is not None:
                share = None if kept is None else kept[index]
                parts = edge.purified(self.source.frames[index], edited[index], share)
                edited[index][edge.box], background[index][edge.box] = parts
        blended = blend(self.source.frames, blend(background, edited, self.shares), self.feather)
        alpha = self.shares * self.feather
        if self.smoothing > 0:
            blended = steadied(blended, source=self.source.frames, alpha=alpha, smoothing=self.smoothing)
        return composite(self.source.frames, blended, alpha)

    def difference_outside(self, frames: Frames) -> int | None:
        """Largest difference of a finished clip from the source outside `region`, in 8-bit levels."""
        return max_difference_outside(self.source.frames, frames, self.region)


def to_model(frames: Frames, size: tuple[int, int]) -> Tensor:
    """(F, H, W, 3) uint8 RGB as (F, 3, h, w) float32 RGB in [-1, 1], at the (h, w) of the model's grid."""
    images = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size, mode="bicubic", antialias=True).clamp(-1, 1)


def to_pixels(images: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    """(F, 3, h, w) RGB, roughly in [-1, 1], as (F, H, W, 3) float32 RGB in [0, 255], at the clip's (H, W).

    Raises `NumericsError` if a picture is not finite, which would become black.
    """
    if not torch.isfinite(images).all():
        raise NumericsError(
            "the model gave a picture that is not a number, as autoencoders in float16 do; load it in a "
            "wider precision: bfloat16 instead of float16, or float32"
        )
    if images.shape[-2:] != size:
        images = F.interpolate(images, size, mode="bicubic", antialias=True)
    return ((images.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).cpu().numpy()


def blend(
    background: NDArray[np.generic], edited: NDArray[np.float32], alpha: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The edit over a background, both in [0, 255], by an opacity in [0, 1], not yet rounded."""
    base = background.astype(np.float32)
    return base + alpha[..., None] * (edited - base)


def composite(source: Frames, blended: NDArray[np.float32], alpha: NDArray[np.float32]) -> Frames:
    """`blend`'s output in 8 bits, the source's own bytes where alpha is 0 (docs/method.md, equation 16)."""
    return np.where(alpha[..., None] > 0, np.rint(blended).clip(0, 255).astype(np.uint8), source)


def max_difference_outside(source: Frames, result: Frames, mask: Mask) -> int | None:
    """Largest absolute difference of uint8 frames outside the mask; None if nothing is outside."""
    outside = ~mask
    if not outside.any():
        return None
    return int((np.maximum(source, result) - np.minimum(source, result))[outside].max())


def changeable(mask: Mask, config: EditConfig) -> Mask:
    """What an edit may change, (F, H, W): the grown mask and the band round its outline."""
    return grown_mask(mask, pixels=config.mask_edge)


LUMINANCE_FLOOR = (0.01 * 255) ** 2
CONTRAST_FLOOR = (0.03 * 255) ** 2
"""Variance below which a place is plain, so that it counts as alike."""

Levels = NDArray[np.float32]
"""(H, W), grey in [0, 255]."""


def structural_similarity(
    frame: NDArray[np.generic], *, other: NDArray[np.generic], window: float
) -> NDArray[np.float32]:
    """SSIM of luminance of (H, W, 3) RGB in [0, 255]: (H, W) in [-1, 1], 1 where neighbourhoods are equal.

    The window is the standard deviation of the Gaussian neighbourhood, in pixels, > 0.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity (2004).
    """
    a, b = _grey(frame), _grey(other)
    mean_a, mean_b = _window_mean(a, window), _window_mean(b, window)
    luminance = (2 * mean_a * mean_b + LUMINANCE_FLOOR) / (mean_a**2 + mean_b**2 + LUMINANCE_FLOOR)
    return np.asarray(luminance * _contrast_and_structure(a, b, mean_a, mean_b, window), np.float32)


def structural_likeness(
    frame: NDArray[np.generic], *, other: NDArray[np.generic], window: float
) -> NDArray[np.float32]:
    """The contrast and structure terms of `structural_similarity`, which a new colour does not change."""
    a, b = _grey(frame), _grey(other)
    return _contrast_and_structure(a, b, _window_mean(a, window), _window_mean(b, window), window)


def _contrast_and_structure(a: Levels, b: Levels, mean_a: Levels, mean_b: Levels, window: float) -> Levels:
    variance_a = _window_mean(a * a, window) - mean_a * mean_a
    variances = variance_a + (_window_mean(b * b, window) - mean_b * mean_b)
    covariance = _window_mean(a * b, window) - mean_a * mean_b
    return np.asarray((2 * covariance + CONTRAST_FLOOR) / (variances + CONTRAST_FLOOR), np.float32)


def _grey(frame: NDArray[np.generic]) -> Levels:
    return np.asarray(cv2.cvtColor(frame.astype(np.float32), cv2.COLOR_RGB2GRAY), np.float32)


def _window_mean(values: Levels, window: float) -> Levels:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), window), np.float32)


def structure_kept(
    edited: NDArray[np.float32], reconstruction: NDArray[np.float32], *, window: float
) -> NDArray[np.float32]:
    """How much of the source's structure an edit keeps (docs/method.md, equation 15).

    A repainted car keeps its windows, so the detail of the source fits. If the car became a bus, the detail
    would draw the outlines of the car over it.

    Both are decoded clips, (F, H, W, 3) float RGB in [0, 255]; the window is as for `structural_similarity`.
    The result is (F, H, W) in [0, 1], exactly 1 where both are the same.
    """
    pairs = zip(edited, reconstruction, strict=True)
    return np.stack([structural_likeness(a, other=b, window=window) for a, b in pairs]).clip(0, 1)


PASSES = 2
"""Colours beyond those of a screen are cut off and lose part of a shift; a second pass makes up for it."""

TINY = np.finfo(np.float32).tiny

Lab = NDArray[np.float32]
"""(F, H, W, 3) CIELAB, L in [0, 100]."""


def steadied(
    blended: NDArray[np.float32], *, source: Frames, alpha: NDArray[np.float32], smoothing: float
) -> NDArray[np.float32]:
    """A clip without the flicker that an edit adds to the object's mean colour (docs/method.md, equation 17).

    Every frame is optimised under noise of its own, which leaves the object a little lighter or darker from
    frame to frame. Only the *change* is smoothed, so what the light does in the source stays.

    Args:
        blended: (F, H, W, 3) float RGB in [0, 255], the edit over the source; unchanged where alpha is 0.
        alpha: (F, H, W) opacity of the edit in [0, 1]; the shift is proportional to it.
        smoothing: standard deviation over time, in frames, > 0.
    """
    edited_part = alpha > 0
    opacity = alpha[..., None] / np.maximum(_object_mean(alpha[..., None], edited_part), TINY)[:, None, None]
    before = _lab(source.astype(np.float32))
    for _ in range(PASSES):
        blended = blended.clip(0, 255)
        after = _lab(blended)
        change = _object_mean(after - before, edited_part)
        shift = _smooth(change, edited_part.sum(axis=(1, 2)), smoothing) - change
        shifted = after + (shift[:, None, None] * opacity).astype(np.float32)
        # In this order, a pixel without a shift keeps its bits.
        blended = blended + (_rgb(shifted) - _rgb(after))
    return blended


def _object_mean(values: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """(F, C) means of (F, H, W, C) values over a mask; 0 if it is empty."""
    total = np.einsum("fhwc,fhw->fc", values, mask)
    mean: NDArray[np.float32] = (total / np.maximum(mask.sum(axis=(1, 2)), 1)[:, None]).astype(np.float32)
    return mean


def _smooth(course: NDArray[np.float32], weight: NDArray[np.int64], deviation: float) -> NDArray[np.float32]:
    """(F, C) values under a Gaussian over time; frames count by their (F,) weight."""
    times = np.arange(len(course), dtype=np.float32)
    kernel = np.exp(-0.5 * ((times[:, None] - times) / deviation) ** 2) * weight
    smooth: NDArray[np.float64] = kernel @ course / np.maximum(kernel.sum(axis=1, keepdims=True), TINY)
    return smooth.astype(np.float32)


def _lab(rgb: NDArray[np.float32]) -> Lab:
    lab: Lab = np.stack([cv2.cvtColor(frame / 255, cv2.COLOR_RGB2LAB) for frame in rgb])
    return lab


def _rgb(lab: Lab) -> NDArray[np.float32]:
    rgb: NDArray[np.float32] = np.stack([cv2.cvtColor(frame, cv2.COLOR_LAB2RGB) for frame in lab])
    return 255 * rgb


PRIOR_VARIANCE = 0.5
"""Variance of the object's share in a pixel on the outline; large, so that the colours decide if they can."""
COLOUR_VARIANCE = 64.0
"""Least variance of a colour, in squared levels, from noise and compression."""
PURITY = 8
"""Power by which a pixel counts less as an example of its side, the nearer it lies to the other one."""


@dataclass(frozen=True, eq=False)
class Edge:
    """The band round an outline in a frame of the source, with object and background apart (docs/method.md).

    Attributes:
        box: rows and columns of all arrays: the band with a margin.
        alpha: (h, w, 1), share of the object in a pixel, in [0, 1].
        mixed: (h, w, 1) in [0, 1], how little the edit's own colour can be trusted.
        purity: (h, w, 1) weight of a pixel as an example of the object.
        width: pixels of the band to each side.
        detail: (h, w, 3), the object's colour without the background, less its smooth part.
        background: (h, w, 3), the background's colour without the object.
    """

    box: tuple[slice, slice]
    alpha: NDArray[np.float32]
    mixed: NDArray[np.float32]
    purity: NDArray[np.float32]
    width: int
    detail: NDArray[np.float32]
    background: NDArray[np.float32]

    @classmethod
    def estimate(cls, frame: NDArray[np.uint8], mask: NDArray[np.bool_], *, width: int) -> Self | None:
        """Continue object and background smoothly into the band; each pixel's colour gives its share.

        The share counts as far as the two colours differ by more than they vary; else the mask decides.
        None if the mask has no outline in the frame.
        """
        distance = outline_distance(mask)
        rows, columns = (np.flatnonzero((abs(distance) < width).any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return None
        top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
        margin = 3 * width
        box = np.s_[max(0, top - margin) : bottom + margin + 1, max(0, left - margin) : right + margin + 1]
        image, depth = frame[box].astype(np.float32), distance[box][..., None] / width
        guess = feathered_alpha(mask[None], width=1)[0][box][..., None]
        inner, outer = (np.power((1 + side).clip(0, 2) / 2, PURITY) for side in (depth, -depth))
        inside, outside = (_continued(image, purity=purity, width=width) for purity in (inner, outer))
        inside_variance, outside_variance = (
            _continued(image * image, purity=purity, width=width) - mean * mean
            for purity, mean in ((inner, inside), (outer, outside))
        )
        step = inside - outside
        contrast = _summed(step * step) + TINY
        share = (_summed((image - outside) * step) / contrast).clip(0, 1)
        variance = guess * inside_variance + (1 - guess) * outside_variance
        noise = COLOUR_VARIANCE + _summed(variance * step * step) / contrast
        noise = noise + _summed((image - outside - share * step) ** 2)
        signal = PRIOR_VARIANCE * (1 - depth * depth).clip(0) * contrast
        belief = signal / (signal + noise)
        alpha = guess + belief * (share - guess)
        rest = (image - alpha * inside - (1 - alpha) * outside) / (alpha**2 + (1 - alpha) ** 2)
        mixed = belief * (1 - depth.clip(0, 1))
        return cls(box, alpha, mixed, inner, width, alpha * rest, outside + (1 - alpha) * rest)

    def purified(
        self, source: NDArray[np.uint8], edited: NDArray[np.float32], kept: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Within `box`, the edit without the background, and the background without the object.

        `kept` is the (H, W) share of the source's structure that the edit keeps; None means nothing.
        """
        before, after = source[self.box].astype(np.float32), edited[self.box]
        pure = _continued(after, purity=self.purity, width=self.width)
        if kept is not None:
            pure = pure + kept[self.box][..., None] * self.detail
        return after + self.mixed * (pure - after), before + self.mixed * (self.background - before)


def _continued(
    values: NDArray[np.float32], *, purity: NDArray[np.float32], width: int
) -> NDArray[np.float32]:
    """(h, w, C) values near each pixel, averaged by (h, w, 1) weights."""
    weighted = np.concatenate([values * purity, purity], axis=-1)
    near = cv2.GaussianBlur(weighted, (0, 0), 0.75 * width)
    return near[..., :-1] / (near[..., -1:] + TINY)


def _summed(values: NDArray[np.float32]) -> NDArray[np.float32]:
    total: NDArray[np.float32] = values.sum(axis=-1, keepdims=True)
    return total


def shares_of(source: Frames, mask: Mask, *, width: int) -> tuple[NDArray[np.float32], Sequence[Edge | None]]:
    """The object's share in each pixel, (F, H, W) in [0, 1], and the edges of all frames.

    A width of 0 takes the mask as it is.
    """
    if width == 0:
        return mask.astype(np.float32), [None] * len(mask)
    edges = [Edge.estimate(*pair, width=width) for pair in zip(source, mask, strict=True)]
    shares = feathered_alpha(mask, width=1)
    for share, edge in zip(shares, edges, strict=True):
        if edge is not None:
            share[edge.box] = edge.alpha[..., 0]
    return shares, edges
