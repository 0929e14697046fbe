"""Windows of a long clip: their borders move with every step, so that no seam stays in one place.

A window reads no other window's result of the same step, and the source branch comes from the source alone;
so nothing adds up from window to window, and they may be worked on in any order (docs/method.md, "Long
clips").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from dreammotion_core.values import StepLosses


@dataclass(frozen=True)
class Windows:
    """How a clip is cut into windows; all numbers count latent frames.

    Attributes:
        length: of a window; a clip or a scene that is not longer is one window.
        overlap: frames that neighbours share, fewer than `length`.
        cuts: first frame of every scene but the first; no window crosses one. They matter in clips of several
            windows alone.
    """

    num_frames: int
    length: int
    overlap: int = 0
    cuts: tuple[int, ...] = ()
    seed: int = 0

    def at(self, step: int) -> list[range]:
        """The windows of a step, in order. The first and the last of a scene are moved inwards, not cut."""
        if self.num_frames <= self.length:
            return [range(self.num_frames)]
        stride = self.length - self.overlap
        # The key of the noise has two numbers, so this draw is another one.
        generator = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(step,)))
        offset = int(generator.integers(stride))
        inner = sorted({cut for cut in self.cuts if 0 < cut < self.num_frames})
        found = []
        for first, end in pairwise((0, *inner, self.num_frames)):
            if end - first <= self.length:
                found.append(range(first, end))
                continue
            last = end - self.length
            starts = range(first + offset - (stride if offset else 0), last + stride, stride)
            found += [range(s, s + self.length) for s in sorted({min(max(first, s), last) for s in starts})]
        return found

    def stretches(self) -> list[range]:
        """The clip in parts of at most `length` frames, one after the other, to read and to write it."""
        return [
            range(first, min(first + self.length, self.num_frames))
            for first in range(0, self.num_frames, self.length)
        ]


def joined(parts: Iterable[tuple[range, Tensor]], *, num_frames: int) -> Tensor:
    """One clip, (1, C, F, h, w), of its windows' values, averaged where they overlap.

    A frame counts less, the nearer it lies to the end of its window. A single window stays as it is.
    """
    total, weights = torch.empty(0), torch.empty(0)
    for window, part in parts:
        if len(window) == num_frames:
            return part
        if not len(weights):
            total = part.new_zeros(*part.shape[:2], num_frames, *part.shape[3:])
            weights = part.new_zeros(num_frames, 1, 1)
        places = torch.arange(1, len(window) + 1, dtype=part.dtype, device=part.device)
        share = torch.minimum(places, places.flip(0))[:, None, None]
        total[:, :, window.start : window.stop] += share * part
        weights[window.start : window.stop] += share
    return total / weights


def mean_losses(losses: Sequence[StepLosses], windows: Sequence[range]) -> StepLosses:
    """The losses of a step from those of its windows, by their lengths."""
    if len(losses) == 1:
        return losses[0]
    shares = np.array([len(window) for window in windows]) / sum(map(len, windows))
    appearance, spatial, temporal = (
        np.array([[x.appearance**2, x.spatial, x.temporal] for x in losses]).T @ shares
    )
    return StepLosses(float(np.sqrt(appearance)), float(spatial), float(temporal))
