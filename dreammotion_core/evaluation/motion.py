"""Motion fidelity: does the edit move as the source does?

Source: Yatim et al., Space-Time Diffusion Features for Zero-Shot Text-Driven Motion Transfer (CVPR 2024),
section "motion fidelity": unordered tracks of both clips are compared by the direction of their steps,
each track with the best partner in the other clip, both ways.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import MetricError
from dreammotion_core.metrics.tracks import PointTracks

STILL = 1 / 400
"""Length of a step, as a share of the longer side of the frame, below which its direction counts for little:
what is measured of points that stand still is the noise of the tracker."""


def motion_fidelity(
    source: PointTracks | Sequence[PointTracks],
    *,
    edited: PointTracks | Sequence[PointTracks],
    dmt: bool = False,
) -> float:
    """Mean over all tracks, of both clips, of how well the best track of the other clip moves along.

    Two steps agree by the cosine of the angle between (dx, dy, s), with s = `STILL` of the longer side:
    for steps far longer than s this is the cosine of their directions as in the paper; two that stand still
    agree fully, and there is no division by zero (the same device as in the angular error of optical flow,
    Barron et al. 1994). A pair of tracks agrees by the mean over the steps on which the track in question
    is visible; steps on which its partner is not count as 0. A track counts by the number of its visible
    steps: where all points are seen throughout, as the paper has it, that is the plain mean.

    Args:
        source: tracks of the source; or several sets of them, begun on different frames, each to be
            compared with its counterpart.
        edited: tracks of the edit, as many sets of as many frames; the points need not be the same.
        dmt: compute what the authors' published script computes instead: one direction only (for each
            edited track the best source track), visibility ignored, no epsilon (a single zero step makes
            the result NaN), and a track is kept from matching its own index by subtracting the identity
            (so that even identical clips may score below 1). For comparison with its figures only; takes
            one set.

    Returns:
        A number in [-1, 1]; exactly 1 for identical tracks (unless `dmt`).

    Raises:
        MetricError: if lengths or numbers of sets differ, there is one frame only, or no track survives.
    """
    sets = _sets(source), _sets(edited)
    if len(sets[0]) != len(sets[1]) or (dmt and len(sets[0]) != 1):
        raise MetricError(
            f"{len(sets[0])} and {len(sets[1])} sets of tracks cannot be compared; pass as many of "
            "the edit as of the source, and with dmt one of each"
        )
    for one, other in zip(*sets, strict=True):
        _check(one, other, needs_equal_counts=dmt)
    if dmt:
        return _as_published(sets[0][0].positions, sets[1][0].positions)
    compared = [_best_agreements(one, other) for one, other in zip(*sets, strict=True)]
    return float(np.mean([_weighted_mean(half) for half in zip(*compared, strict=True)]))


def step_agreement(
    steps: NDArray[np.float64], *, other_steps: NDArray[np.float64], longer_side: int
) -> NDArray[np.float64]:
    """How well steps from a frame to the next agree: the cosine between (dx, dy, s), see `motion_fidelity`.

    Args:
        steps: (..., 2) displacements in pixels.
        other_steps: (..., 2) others, of a shape that goes with it.
        longer_side: of the frame in pixels, of which s is the share `STILL`.

    Returns:
        (...) in [-1, 1]; exactly 1 for equal steps.
    """
    still = STILL * longer_side

    def dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + still * still)

    # In this form equal steps give exactly 1: the root of a square is exact.
    cosine = dot(steps, other_steps) / np.sqrt(dot(steps, steps) * dot(other_steps, other_steps))
    return np.minimum(cosine, 1.0)


Half = tuple[NDArray[np.float64], NDArray[np.int_]]
"""(T,) agreements of tracks with their best partners, and (T,) steps on which they are seen."""


def _sets(tracks: PointTracks | Sequence[PointTracks]) -> Sequence[PointTracks]:
    return [tracks] if isinstance(tracks, PointTracks) else tracks


def _best_agreements(source: PointTracks, edited: PointTracks) -> tuple[Half, Half]:
    """Of the tracks of the source, and of those of the edit."""
    steps, seen = _steps(source)
    edited_steps, edited_seen = _steps(edited)
    agreement = np.zeros((steps.shape[1], edited_steps.shape[1]))
    for one, other, visible, edited_visible in zip(steps, edited_steps, seen, edited_seen, strict=True):
        alike = step_agreement(one[:, None], other_steps=other[None], longer_side=max(source.size))
        agreement += alike * (visible[:, None] & edited_visible)
    return _half(agreement, seen.sum(axis=0)), _half(agreement.T, edited_seen.sum(axis=0))


def _half(agreement: NDArray[np.float64], count: NDArray[np.int_]) -> Half:
    partners = agreement.shape[1]
    return (agreement / count[:, None]).max(axis=1) if partners else np.zeros(len(count)), count


def _weighted_mean(halves: Sequence[Half]) -> float:
    """Over the tracks of all sets."""
    best, count = (np.concatenate(parts) for parts in zip(*halves, strict=True))
    if not len(best):
        raise MetricError(
            "no point could be followed over two frames, so there is no motion to compare; "
            "the clip may be flat or change too fast, or the mask too small"
        )
    return float((best * count).sum() / count.sum())


def _check(source: PointTracks, edited: PointTracks, *, needs_equal_counts: bool) -> None:
    frames, edited_frames = len(source.positions), len(edited.positions)
    if frames != edited_frames or frames < 2:
        raise MetricError(
            f"the tracks run over {frames} and {edited_frames} frames; "
            "motion is compared over the same number of frames, at least 2"
        )
    counts = source.positions.shape[1], edited.positions.shape[1]
    if needs_equal_counts and counts[0] != counts[1]:
        raise MetricError(f"the published score needs as many tracks in both clips, not {counts}")


def _steps(tracks: PointTracks) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(F - 1, T, 2) displacements and (F - 1, T) whether both ends are seen, of tracks ever followed."""
    there = tracks.visible & np.isfinite(tracks.positions).all(axis=-1)
    steps = np.diff(np.where(there[..., None], tracks.positions, 0.0), axis=0)
    seen = there[:-1] & there[1:]
    survives = seen.any(axis=0)
    return steps[:, survives], seen[:, survives]


def _as_published(source: NDArray[np.float64], edited: NDArray[np.float64]) -> float:
    with np.errstate(invalid="ignore"):
        units = [
            steps / np.linalg.norm(steps, axis=-1, keepdims=True)
            for steps in (np.diff(edited, axis=0), np.diff(source, axis=0))
        ]
    similarity = np.einsum("tnc,tmc->nm", *units) / (len(source) - 1)
    return float((similarity - np.eye(len(similarity))).max(axis=1).mean())
