"""Masks of pixels: checked, grown, feathered, and brought to the latent grid."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dreammotion_core.errors import MaskError
from dreammotion_core.values import Mask, check_mask_shape, check_selects_something


def checked_mask(mask: NDArray[np.generic], num_frames: int, size: tuple[int, int]) -> Mask:
    """A mask that fits its clip, as (F, H, W) bool, or `MaskError`, also if nothing is selected.

    It may come as (F, H, W), or (H, W) for all frames; bool, or only the numbers 0 and 1, or 0 and 255.
    """
    mask = np.asarray(mask)
    check_mask_shape(mask.shape, num_frames=num_frames, size=size)
    if mask.dtype != np.bool_ and not np.isin(np.unique(mask), (0, 1, 255)).all():
        raise MaskError(
            "the mask holds values other than 0 and 1 (or 0 and 255); threshold it to yes and no first"
        )
    check_selects_something(mask)
    return np.broadcast_to(mask.astype(bool), (num_frames, *size)).copy()


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


def latent_mask(mask: Mask, latents: Tensor, *, groups: Sequence[range]) -> Tensor:
    """The mask on the latent grid: 1 where a latent touches a selected pixel (docs/method.md, equation 13).

    The maximum, unlike the mean, lets the whole object change; the composite cuts the outline exactly. The
    result is (1, 1, f, h, w) float32 on the device of the (1, C, f, h, w) latents; each of these stands for a
    group of frames.
    """
    grouped = torch.stack([torch.from_numpy(mask[group.start : group.stop]).any(dim=0) for group in groups])
    pooled = F.adaptive_max_pool2d(grouped.float()[:, None], latents.shape[-2:])
    return pooled.transpose(0, 1)[None].to(latents.device)


def object_shares(masks: Sequence[Mask], latents: Tensor, *, groups: Sequence[range]) -> list[Tensor]:
    """How much of each latent belongs to each of several objects, which may touch or overlap.

    The shares add up to 1 at every latent, (1, 1, f, h, w) float32 each; where there is no object, all
    belongs to the first.
    """
    covered, grid = [], (latents.shape[-2], latents.shape[-1])
    for mask in masks:
        pictures = (torch.from_numpy(mask[group.start : group.stop]).float().mean(dim=0) for group in groups)
        covered.append(F.adaptive_avg_pool2d(torch.stack([*pictures])[:, None], grid))
    total = torch.stack(covered).sum(dim=0)
    covered[0] = torch.where(total > 0, covered[0], torch.ones_like(total))
    total = torch.where(total > 0, total, torch.ones_like(total))
    return [(each / total).transpose(0, 1)[None].to(latents.device) for each in covered]
