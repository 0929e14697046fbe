"""From optimised latents to finished frames at the clip's own size: resize, detail, steady, composite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dreammotion_core.config import EditConfig
from dreammotion_core.errors import MaskError, NumericsError
from dreammotion_core.media.limits import gather_frames, let_go, stored_array, stretch_of
from dreammotion_core.memory import device_failures_explained
from dreammotion_core.method.prior import Backend
from dreammotion_core.values import Frames, Mask, Video

DETAIL_WINDOW = 4.0
"""Standard deviation in pixels of the model's grid, about one latent of an 8 times smaller grid."""


@dataclass(frozen=True, eq=False)
class Finishing:
    """Decodes, restores size and detail, removes flicker, and keeps the source outside the mask.

    A long clip goes through in stretches, and what is not in use lies in files.

    Attributes:
        mask: (F, H, W) bool, the object.
        region: (F, H, W) bool, what the edit may change.
        source_latents: of the source, whose detail is given back; None if it is not.
        stretches: the clip in latent frames; one if it is short.
        cuts: first frame of every scene but the first; colours are steadied within a scene.
        objects: (F, H, W) bool each; the colour of each is steadied by itself. One object may be left out.
    """

    backend: Backend
    source: Video
    mask: Mask
    region: Mask
    source_latents: Tensor | None
    config: EditConfig
    stretches: Sequence[range]
    cuts: Sequence[int] = ()
    objects: Sequence[Mask] = ()
    _prepared: dict[range, _Stretch] = field(default_factory=dict)

    @classmethod
    def prepare(
        cls,
        backend: Backend,
        source: Video,
        source_latents: Tensor,
        mask: Mask,
        config: EditConfig,
        *,
        stretches: Sequence[range] | None = None,
        cuts: Sequence[int] = (),
        objects: Sequence[Mask] = (),
    ) -> Self:
        """Compute once what every preview and the result of a short clip need."""
        stretches = stretches or [range(source_latents.shape[2])]
        latents = source_latents if config.keep_detail and backend.spec.keeps_detail else None
        parts = frame_parts(backend, stretches, len(source))
        if len(parts) == 1:
            region = changeable(mask, config)
        else:
            region = stored_array(mask.shape, np.bool_)
            for part in parts:
                region[part.start : part.stop] = changeable(stretch_of(mask, part), config)
                let_go(region)
        finish = cls(backend, source, mask, region, latents, config, stretches, cuts, objects)
        if len(parts) == 1:
            finish._prepared[parts[0]] = finish._stretch(stretches[0], parts[0])
        return finish

    def __call__(self, latents: Tensor) -> Frames:
        """(1, C, f, h, w) latents as (F, H, W, 3) uint8 RGB; the source's latents give the source exactly."""
        return self._finished(decoded(self.backend, latents, stretch) for stretch in self.stretches)

    def finish(self, images: Tensor) -> Frames:
        """(F, 3, h, w) RGB images, roughly in [-1, 1], as (F, H, W, 3) uint8 RGB at the source's size."""
        return self._finished(images[part.start : part.stop] for part in self._parts)

    @property
    def _parts(self) -> list[range]:
        return frame_parts(self.backend, self.stretches, len(self.source))

    def _finished(self, images: Iterable[Tensor]) -> Frames:
        parts, shape = self._parts, self.source.frames.shape
        is_short, smoothing = len(parts) == 1, self.config.colour_smoothing * self.source.fps
        alpha: NDArray[np.float32] = np.empty(0, np.float32)
        blended = alpha
        for latent_frames, part, image in zip(self.stretches, parts, images, strict=True):
            stretch = self._prepared.get(part) or self._stretch(latent_frames, part)
            opacity, colours = stretch.shares * stretch.feather, stretch.blended(image)
            if is_short:
                alpha, blended = opacity, colours
                continue
            if not len(alpha):
                alpha, blended = (stored_array(size, np.float32) for size in (shape[:3], shape))
            for array, values in ((alpha, opacity), (blended, colours)):
                array[part.start : part.stop] = values
                let_go(array)
        source = self.source.frames
        for opacity in self._opacities(alpha, parts) if smoothing > 0 else ():
            blended = steadied(
                blended, source=source, alpha=opacity, smoothing=smoothing, parts=parts, cuts=self.cuts
            )
        if is_short:
            return composite(source, blended, alpha)
        pictures = (
            picture
            for part in parts
            for picture in composite(*(stretch_of(array, part) for array in (source, blended, alpha)))
        )
        return gather_frames(pictures, count=shape[0], size=self.source.size)

    def _opacities(self, alpha: NDArray[np.float32], parts: Sequence[range]) -> Iterator[NDArray[np.float32]]:
        """The opacity of each object alone; a pixel belongs to the first that it may be of."""
        if len(self.objects) < 2:
            yield alpha
            return
        for index in range(len(self.objects)):
            alone = np.empty_like(alpha) if len(parts) == 1 else stored_array(alpha.shape, np.float32)
            for part in parts:
                *before, own = (
                    changeable(stretch_of(mask, part), self.config) for mask in self.objects[: index + 1]
                )
                owned = own & ~np.logical_or.reduce(before) if before else own
                alone[part.start : part.stop] = stretch_of(alpha, part) * owned
                let_go(alone)
            yield alone

    @device_failures_explained()
    def _stretch(self, latent_frames: range, part: range) -> _Stretch:
        """What the frames of a stretch need, apart from the edit."""
        frames, config, size = stretch_of(self.source.frames, part), self.config, self.source.size
        reconstruction = None
        if self.source_latents is not None:
            reconstruction = to_pixels(decoded(self.backend, self.source_latents, latent_frames), size)
        grid = self.backend.spec.fit_size(size, scale=config.resolution_scale)
        shares, edges = shares_of(frames, stretch_of(self.mask, part), width=config.mask_edge)
        feather = feathered_alpha(stretch_of(self.region, part), width=config.mask_feather)
        window = DETAIL_WINDOW * size[0] / grid[0]
        return _Stretch(frames, shares, feather, edges, reconstruction, window)

    def difference_outside(self, frames: Frames) -> int | None:
        """Largest difference of a finished clip from the source outside `region`, in 8-bit levels."""
        found = [
            max_difference_outside(
                *(stretch_of(array, part) for array in (self.source.frames, frames, self.region))
            )
            for part in self._parts
        ]
        return max((difference for difference in found if difference is not None), default=None)


@dataclass(frozen=True, eq=False)
class _Stretch:
    """Frames of the source, and what is worked out of them once.

    Attributes:
        frames: (F, H, W, 3) uint8 RGB.
        shares: (F, H, W), the object's share in each pixel, in [0, 1].
        feather: (F, H, W), opacity of the edit over the source, in [0, 1].
        edges: of each frame; None where there is no outline.
        reconstruction: (F, H, W, 3) float RGB in [0, 255], the source after autoencoder and grid; None if its
            detail is not given back.
        detail_window: neighbourhood that decides whether detail fits, in pixels.
    """

    frames: Frames
    shares: NDArray[np.float32]
    feather: NDArray[np.float32]
    edges: Sequence[Edge | None]
    reconstruction: NDArray[np.float32] | None
    detail_window: float

    def blended(self, images: Tensor) -> NDArray[np.float32]:
        """The edit (F, 3, h, w), RGB roughly in [-1, 1], over the source: (F, H, W, 3) in [0, 255]."""
        edited, kept = to_pixels(images, (self.frames.shape[1], self.frames.shape[2])), None
        if self.reconstruction is not None:
            kept = structure_kept(edited, self.reconstruction, window=self.detail_window)
            edited = edited + kept[..., None] * (self.frames - self.reconstruction)
        background = self.frames.astype(np.float32)
        for index, edge in enumerate(self.edges):
            if edge is not None:
                share = None if kept is None else kept[index]
                parts = edge.purified(self.frames[index], edited[index], share)
                edited[index][edge.box], background[index][edge.box] = parts
        return blend(self.frames, blend(background, edited, self.shares), self.feather)


CONTEXT = 3
"""Latent frames before a stretch that a causal video autoencoder sees too; their frames are cut off again."""


def frame_parts(backend: Backend, stretches: Sequence[range], num_frames: int) -> list[range]:
    """The frames of stretches of latent frames: from behind those of the one before to its own last one."""
    groups = backend.frame_groups(num_frames)
    ends = [0, *(groups[stretch.stop - 1][-1] + 1 for stretch in stretches)]
    return [range(*pair) for pair in pairwise(ends)]


def _context(backend: Backend, stretch: range) -> int:
    """First latent frame to work on so that those of a stretch come out right."""
    return max(0, stretch.start - CONTEXT) if backend.spec.frame_step > 1 else stretch.start


@device_failures_explained()
def encoded(backend: Backend, frames: Frames, grid: tuple[int, int], stretches: Sequence[range]) -> Tensor:
    """(F, H, W, 3) uint8 RGB as (1, C, f, h, w) latents at the (h, w) of the model's grid."""
    groups, found = backend.frame_groups(len(frames)), []
    for stretch in stretches:
        before = _context(backend, stretch)
        part = range(groups[before][-1] if before else 0, groups[stretch.stop - 1][-1] + 1)
        latents = backend.encode_video(to_model(stretch_of(frames, part), grid))
        found.append(latents[:, :, stretch.start - before :])
    return found[0] if len(found) == 1 else torch.cat(found, dim=2)


@device_failures_explained()
def decoded(backend: Backend, latents: Tensor, stretch: range) -> Tensor:
    """The frames of a stretch of latent frames, (F, 3, H, W) RGB, roughly in [-1, 1]."""
    if len(stretch) == latents.shape[2]:
        return backend.decode_video(latents)
    before = _context(backend, stretch)
    images = backend.decode_video(latents[:, :, before : stretch.stop].contiguous())
    if before == stretch.start:
        return images
    return images[-len(stretch) * backend.spec.frame_step :]


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
    blended: NDArray[np.float32],
    *,
    source: Frames,
    alpha: NDArray[np.float32],
    smoothing: float,
    parts: Sequence[range] | None = None,
    cuts: Sequence[int] = (),
) -> NDArray[np.float32]:
    """A clip without the flicker that an edit adds to the object's mean colour (docs/method.md, equation 17).

    Every frame is optimised under noise of its own, which leaves the object a little lighter or darker from
    frame to frame. Only the *change* is smoothed, so what the light does in the source stays.

    Args:
        blended: (F, H, W, 3) float RGB in [0, 255], the edit over the source; unchanged where alpha is 0.
            Given in several parts, it is changed in place.
        alpha: (F, H, W) opacity of the edit in [0, 1]; the shift is proportional to it.
        smoothing: standard deviation over time, in frames, > 0.
        parts: of the frames, to hold in memory one after the other; None holds all.
        cuts: first frame of every scene but the first; nothing is smoothed across one.
    """
    parts = parts or [range(len(source))]
    for _ in range(PASSES):
        means = [_change(*(stretch_of(array, part) for array in (blended, source, alpha))) for part in parts]
        change, area = (np.concatenate(each) for each in zip(*means, strict=True))
        shift = _smooth(change, area, smoothing, cuts) - change
        for part in parts:
            colours, opacity = stretch_of(blended, part), stretch_of(alpha, part)
            moved = _shifted(colours, opacity, shift[part.start : part.stop])
            if len(parts) == 1:
                blended = moved
            else:
                blended[part.start : part.stop] = moved
                let_go(blended)
    return blended


def _change(
    blended: NDArray[np.float32], source: Frames, alpha: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(F, 3), by how much the edit changes the object's mean colour, in CIELAB, and its (F,) area."""
    edited_part = alpha > 0
    change = _lab(blended.clip(0, 255)) - _lab(source.astype(np.float32))
    return _object_mean(change, edited_part), edited_part.sum(axis=(1, 2))


def _shifted(
    blended: NDArray[np.float32], alpha: NDArray[np.float32], shift: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The clip with the object's mean colour moved by a (F, 3) shift in CIELAB."""
    mean = _object_mean(alpha[..., None], alpha > 0)[:, None, None]
    opacity, blended = alpha[..., None] / np.maximum(mean, TINY), blended.clip(0, 255)
    after = _lab(blended)
    shifted = after + (shift[:, None, None] * opacity).astype(np.float32)
    # In this order, a pixel without a shift keeps its bits.
    return np.asarray(blended + (_rgb(shifted) - _rgb(after)), np.float32)


def _object_mean(values: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """(F, C) means of (F, H, W, C) values over a mask; 0 if it is empty."""
    total = np.einsum("fhwc,fhw->fc", values, mask)
    mean: NDArray[np.float32] = (total / np.maximum(mask.sum(axis=(1, 2)), 1)[:, None]).astype(np.float32)
    return mean


ROWS = 512
"""Frames whose neighbourhoods are worked out at once."""


def _smooth(
    course: NDArray[np.float32], weight: NDArray[np.int64], deviation: float, cuts: Sequence[int] = ()
) -> NDArray[np.float32]:
    """(F, C) values under a Gaussian over time, within each scene; frames count by their (F,) weight."""
    times = np.arange(len(course), dtype=np.float32)
    scenes = np.searchsorted(np.array(cuts), times, side="right")
    found = []
    for first in range(0, len(course), ROWS):
        rows = slice(first, first + ROWS)
        kernel = np.exp(-0.5 * ((times[rows, None] - times) / deviation) ** 2) * weight
        kernel *= scenes[rows, None] == scenes
        found.append(kernel @ course / np.maximum(kernel.sum(axis=1, keepdims=True), TINY))
    smooth: NDArray[np.float32] = np.concatenate(found).astype(np.float32)
    return smooth


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


def grown_mask(mask: Mask, *, pixels: int) -> Mask:
    """A (F, H, W) bool mask with its outline moved outwards by a Euclidean distance (inwards if negative).

    It raises `MaskError` if shrinking leaves nothing.
    """
    if pixels == 0:
        return mask
    grown = np.stack([_distance_to(m) <= pixels if pixels > 0 else _distance_to(~m) > -pixels for m in mask])
    if pixels < 0 and not grown.any():
        raise MaskError(f"shrinking the mask by {-pixels} pixels leaves nothing of it; shrink it less")
    return grown


def feathered_alpha(mask: Mask, *, width: int) -> NDArray[np.float32]:
    """Opacity of the edit, (F, H, W) float32: 0 outside the mask, rising to 1 over `width` pixels inside it.

    The rim lies inside the (F, H, W) bool mask, so that pixels outside stay exactly the source's. A width of
    0 gives a hard edge; the border of the frame has no rim.
    """
    if width == 0:
        return mask.astype(np.float32)
    return np.stack([np.clip(_distance_to(~m) / (width + 1), 0, 1) for m in mask]).astype(np.float32)


def outline_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Pixels to the outline of one (H, W) mask, above 0 inside; infinite where a frame has no outline."""
    return np.where(mask, _distance_to(~mask) - 0.5, 0.5 - _distance_to(mask))


def _distance_to(selected: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Euclidean distance in pixels to the nearest selected pixel; infinite if none is selected."""
    if not selected.any():
        return np.full(selected.shape, np.inf, dtype=np.float32)
    distance = cv2.distanceTransform((~selected).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance.astype(np.float32, copy=False)
