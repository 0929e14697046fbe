"""S-SSM and T-SSM: losses that match the self-similarity of attention keys over space and time.

Pure functions on (B, F, N, C) keys: batch, frames, tokens of a frame, channels. They compute in float32;
float64 stays. Source: DreamMotion (ECCV 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dreammotion_core.errors import KeyLayoutError

Matching = Callable[[Tensor, Tensor], Tensor]
"""(keys of the target, keys of the source) -> loss."""

LARGEST_HALF_EXPONENT = -4
"""Exponent of the largest float16 gradient on a key: midway between infinity (15) and zero (-24)."""


def _unit(keys: Tensor) -> Tensor:
    if keys.ndim != 4:
        shape = tuple(keys.shape)
        raise KeyLayoutError(f"keys have shape {shape}; (batch, frames, tokens, channels) is needed")
    return F.normalize(_precise(keys), dim=-1)


def _precise(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def spatial_self_similarity(keys: Tensor) -> Tensor:
    """Cosine similarity of a frame's tokens, (B, F, N, N) in [-1, 1] (docs/method.md, equation 4)."""
    unit = _unit(keys)
    return unit @ unit.mT


def temporal_self_similarity(keys: Tensor) -> Tensor:
    """Cosine similarity of the frames' mean keys, (B, F, F) in [-1, 1] (docs/method.md, equation 6)."""
    unit = _unit(_precise(keys).mean(dim=-2, keepdim=True))[..., 0, :]
    return unit @ unit.mT


def spatial_matching_direct(keys: Tensor, source_keys: Tensor) -> Tensor:
    """S-SSM as the paper writes it, with N x N matrices."""
    difference = spatial_self_similarity(keys) - spatial_self_similarity(source_keys)
    return difference.square().sum() / keys.shape[1]


def spatial_matching_factored(keys: Tensor, source_keys: Tensor) -> Tensor:
    """S-SSM without any N x N matrix, in O(N C^2) time and O(C^2) memory (docs/method.md, equation 9).

    With unit keys A and B, D = A - B and S = A + B, the difference of the similarities is (D S' + S D') / 2.
    Its squared norm is (<D'D, S'S> + <S'D, D'S>) / 2. Unlike the expansion in A'A and B'B, this form has no
    cancellation when A and B are close.
    """
    unit, source_unit = _unit(keys), _unit(source_keys)
    difference, total = unit - source_unit, unit + source_unit
    cross = total.mT @ difference
    squared_norm = (difference.mT @ difference) * (total.mT @ total) + cross * cross.mT
    return 0.5 * squared_norm.sum() / keys.shape[1]


def spatial_matching(keys: Tensor, source_keys: Tensor) -> Tensor:
    """The S-SSM loss L_S >= 0, in the cheaper of both exact forms (docs/method.md, equation 5)."""
    tokens, channels = keys.shape[-2:]
    return (spatial_matching_factored if tokens > channels else spatial_matching_direct)(keys, source_keys)


def temporal_matching(keys: Tensor, source_keys: Tensor) -> Tensor:
    """The T-SSM loss L_T >= 0 (docs/method.md, equation 7). Arguments as for `spatial_matching`."""
    return (temporal_self_similarity(keys) - temporal_self_similarity(source_keys)).square().sum()


def match_keys(
    keys: Mapping[str, Tensor],
    source_keys: Mapping[str, Tensor],
    variable: Tensor,
    *,
    spatial_weight: float,
    temporal_weight: float,
) -> tuple[float, float, Tensor]:
    """L_S and L_T, each the mean over the key sites, and the gradient of their weighted sum.

    The gradient goes site by site to the keys, in float32, so that only one site's similarities are in memory
    at a time. From all keys together it goes on to the variable.

    Keys are site name -> (B, F, N, C), and may be empty; the target's depend on the variable, which gives the
    gradient its shape. The losses are not weighted; one of weight 0 is left out and 0.
    """
    if not keys:
        return 0.0, 0.0, torch.zeros_like(variable)
    share, weighted = (
        1 / len(keys),
        ((spatial_matching, spatial_weight), (temporal_matching, temporal_weight)),
    )
    weights: dict[Matching, float] = {loss: share * weight for loss, weight in weighted}
    sums = torch.zeros(2, device=variable.device)
    gradients: list[Tensor] = []
    for site, site_keys in keys.items():
        losses, gradient = _losses_of_site(site_keys, source_keys[site], weights)
        sums += losses
        # float16 comes later: it needs a scale that all sites share.
        gradients.append(gradient if site_keys.dtype == torch.float16 else gradient.to(site_keys.dtype))
    spatial, temporal = (sums / len(keys)).tolist()
    return spatial, temporal, _gradient_through([*keys.values()], variable, gradients)


def _losses_of_site(
    keys: Tensor, source_keys: Tensor, weights: Mapping[Matching, float]
) -> tuple[Tensor, Tensor]:
    leaf = _precise(keys.detach()).requires_grad_()
    none = leaf.new_zeros((), dtype=torch.float32)
    losses = torch.stack([loss(leaf, source_keys) if weight else none for loss, weight in weights.items()])
    (gradient,) = torch.autograd.grad(losses @ losses.new_tensor([*weights.values()]), leaf)
    return losses.detach(), gradient


def _gradient_through(keys: Sequence[Tensor], variable: Tensor, gradients: list[Tensor]) -> Tensor:
    """The gradient on the variable, given those on the keys.

    In float16 it is multiplied by a power of two before the network and divided afterwards, as is usual in
    training. Otherwise the gradient of T-SSM, which every token shares, would be rounded to zero.
    """
    scale = 1.0
    if any(site_keys.dtype == torch.float16 for site_keys in keys):
        highest = float(torch.stack([gradient.abs().max() for gradient in gradients]).max())
        if 0 < highest < math.inf:
            scale = 2.0 ** (LARGEST_HALF_EXPONENT - math.frexp(highest)[1])
        for index, site_keys in enumerate(keys):
            gradients[index] = (gradients[index] * scale).to(site_keys.dtype)
    (gradient,) = torch.autograd.grad(keys, variable, gradients)
    return gradient / scale
