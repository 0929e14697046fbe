"""How an edit moves beside its source: motion fidelity and warping error, the point trackers and the flow.

`segmentation.vision` has an optical flow of its own, because it answers another question: it works quickly in
grey on large frames, where this one compares three colour planes and judges visibility in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dreammotion_core.errors import MetricError, ModelLoadError, reason_of
from dreammotion_core.evaluation.judges import LOAD_ERRORS
from dreammotion_core.evaluation.pixels import check_frames, check_mask, check_pair
from dreammotion_core.values import Frames, Mask

Points = NDArray[np.float64]
"""(T, 2) positions in pixels, x right then y down; whole numbers are centres of pixels."""
Positions = NDArray[np.float32] | NDArray[np.float64]  # (..., 2) positions in pixels, x right then y down
Flow = NDArray[np.float32]  # (H, W, 2) displacement in pixels, x right then y down
FlowPair = tuple[Flow, Flow]  # flow from a frame to the next, and back

DEFAULT_GRID = 24
"""Points along the longer side of the grid: enough for toys of 30 pixels, and compared in a second."""
STILL = 1 / 400
"""Length of a step, as a share of the longer side of the frame, below which its direction counts for little:
on points that stand still, a tracker measures its own noise."""
WORKING_SIDE = 192
"""Longer side in pixels to which smaller clips are enlarged: patches of 8 pixels must fit into small
objects."""
LARGEST_SIDE = 320  # longer side in pixels to which larger clips are reduced
WINDOW = 9  # side in pixels of the square in which colours are compared to choose between the planes' flows
FAR = 100
"""Largest difference of colour, summed over the channels, that a pixel adds: one that is hidden later must
not outweigh those round it."""

COTRACKER_ADVICE = (
    "install it with: pip install git+https://github.com/facebookresearch/co-tracker, fetch "
    "scaled_offline.pth of facebook/cotracker3 from the hub and pass its path"
)


@dataclass(frozen=True, eq=False)
class PointTracks:
    """Positions of T points on each of F frames; shapes that do not fit raise `MetricError`.

    Attributes:
        positions: (F, T, 2) in pixels, x right then y down.
        visible: (F, T), False where the point is hidden, lost or out of the frame.
        size: (H, W) of the clip in pixels.
    """

    positions: NDArray[np.float64]
    visible: NDArray[np.bool_]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if self.positions.ndim != 3 or self.positions.shape != (*self.visible.shape, 2):
            raise MetricError(
                f"tracks have positions of {self.positions.shape} and visibility of {self.visible.shape}; "
                "(frames, points, 2) and (frames, points) are needed"
            )

    def part(self, first: int, end: int | None = None) -> PointTracks:
        """The tracks of some points, by their numbers."""
        return PointTracks(self.positions[:, first:end], self.visible[:, first:end], self.size)


def motion_fidelity(
    source: PointTracks | Sequence[PointTracks],
    *,
    edited: PointTracks | Sequence[PointTracks],
    dmt: bool = False,
) -> float:
    """Mean agreement of each track, of both clips, with the track of the other clip that moves most alike.

    Two steps agree by the cosine of the angle between (dx, dy, s), with s = `STILL` of the longer side. For
    steps far longer than s this is the cosine of their directions, as in the paper. Two that stand still
    agree fully, and nothing is divided by zero (the device of the angular error of optical flow, Barron et
    al. 1994). A pair of tracks agrees by the mean over the steps on which the track in question is visible;
    steps on which its partner is not visible count as 0. The mean over tracks weighs each by its number of
    visible steps; where all points are seen throughout, that is the plain mean of the paper.

    Source: Yatim et al., Space-Time Diffusion Features for Zero-Shot Text-Driven Motion Transfer (CVPR
    2024), section "motion fidelity".

    Args:
        source: tracks of the source; or several sets of them, begun on different frames, each to be
            compared with its counterpart.
        edited: tracks of the edit, as many sets of as many frames; the points need not be the same.
        dmt: compute what the authors' published script computes, for comparison with its figures: one
            direction only (for each edited track the best source track), visibility ignored, no epsilon (a
            single zero step makes the result NaN), and the identity subtracted to keep a track from
            matching its own index (so that identical clips may score below 1). Takes one set.

    Returns:
        A number in [-1, 1]; exactly 1 for identical tracks (unless `dmt`).

    Raises:
        MetricError: if lengths or numbers of sets differ, there is one frame only, or no track survives.
    """
    ours, theirs = ([of] if isinstance(of, PointTracks) else of for of in (source, edited))
    if len(ours) != len(theirs) or (dmt and len(ours) != 1):
        raise MetricError(
            f"{len(ours)} and {len(theirs)} sets of tracks cannot be compared; pass as many of "
            "the edit as of the source, and with dmt one of each"
        )
    for one, other in zip(ours, theirs, strict=True):
        _check_comparable(one, other, needs_equal_counts=dmt)
    if dmt:
        return _published_fidelity(ours[0].positions, theirs[0].positions)
    compared = [_best_agreements(one, other) for one, other in zip(ours, theirs, strict=True)]
    return float(np.mean([_weighted_mean(half) for half in zip(*compared, strict=True)]))


def step_agreement(
    steps: NDArray[np.float64], *, other_steps: NDArray[np.float64], longer_side: int
) -> NDArray[np.float64]:
    """Agreement of steps from a frame to the next: the cosine between (dx, dy, s), see `motion_fidelity`.

    (...) in [-1, 1] of (..., 2) displacements in pixels; exactly 1 for equal ones. s is the share `STILL` of
    the longer side of the frame in pixels.
    """
    still = STILL * longer_side

    def dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + still * still)

    # In this form equal steps give exactly 1: the root of a square is exact.
    cosine = dot(steps, other_steps) / np.sqrt(dot(steps, steps) * dot(other_steps, other_steps))
    return np.minimum(cosine, 1.0)


Half = tuple[NDArray[np.float64], NDArray[np.int_]]
"""(T,) agreements of one clip's tracks with their best partners, and (T,) steps on which they are seen."""


def _best_agreements(source: PointTracks, edited: PointTracks) -> tuple[Half, Half]:
    steps, seen = _visible_steps(source)
    edited_steps, edited_seen = _visible_steps(edited)
    agreement = np.zeros((steps.shape[1], edited_steps.shape[1]))
    for one, other, visible, edited_visible in zip(steps, edited_steps, seen, edited_seen, strict=True):
        alike = step_agreement(one[:, None], other_steps=other[None], longer_side=max(source.size))
        agreement += alike * (visible[:, None] & edited_visible)

    def half(agreement: NDArray[np.float64], count: NDArray[np.int_]) -> Half:
        has_partners = agreement.shape[1] > 0
        return (agreement / count[:, None]).max(axis=1) if has_partners else np.zeros(len(count)), count

    return half(agreement, seen.sum(axis=0)), half(agreement.T, edited_seen.sum(axis=0))


def _weighted_mean(halves: Sequence[Half]) -> float:
    best, count = (np.concatenate(parts) for parts in zip(*halves, strict=True))
    if not len(best):
        raise MetricError(
            "no point could be followed over two frames, so there is no motion to compare; "
            "the clip may be flat or change too fast, or the mask too small"
        )
    return float((best * count).sum() / count.sum())


def _check_comparable(source: PointTracks, edited: PointTracks, *, needs_equal_counts: bool) -> None:
    frames, edited_frames = len(source.positions), len(edited.positions)
    if frames != edited_frames or frames < 2:
        raise MetricError(
            f"the tracks run over {frames} and {edited_frames} frames; "
            "motion is compared over the same number of frames, at least 2"
        )
    counts = source.positions.shape[1], edited.positions.shape[1]
    if needs_equal_counts and counts[0] != counts[1]:
        raise MetricError(f"the published score needs as many tracks in both clips, not {counts}")


def _visible_steps(tracks: PointTracks) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(F - 1, T, 2) displacements and (F - 1, T) whether both ends are seen, of tracks ever followed."""
    there = tracks.visible & np.isfinite(tracks.positions).all(axis=-1)
    steps = np.diff(np.where(there[..., None], tracks.positions, 0.0), axis=0)
    seen = there[:-1] & there[1:]
    survives = seen.any(axis=0)
    return steps[:, survives], seen[:, survives]


def _published_fidelity(source: NDArray[np.float64], edited: NDArray[np.float64]) -> float:
    with np.errstate(invalid="ignore"):
        units = [
            steps / np.linalg.norm(steps, axis=-1, keepdims=True)
            for steps in (np.diff(edited, axis=0), np.diff(source, axis=0))
        ]
    similarity = np.einsum("tnc,tmc->nm", *units) / (len(source) - 1)
    return float((similarity - np.eye(len(similarity))).max(axis=1).mean())


def warping_error(
    edited: Frames, *, source: Frames, mask: Mask | None = None, flow: ClipFlow | None = None
) -> float:
    """Mean squared difference between each frame and the next one warped back onto it.

    Flow and visibility are those of the source, so that an edit cannot hide its flicker in its own flow.

    Args:
        edited: (F, H, W, 3) uint8 RGB, at least two frames; the source itself gives the error that flow
            and noise leave anyway.
        source: (F, H, W, 3) uint8 RGB.
        mask: (F, H, W), where to look; None looks everywhere.

    Returns:
        A number >= 0, of RGB in [0, 1]; 0 where nothing flickers.

    Raises:
        VideoError: if the clips do not fit one another.
        MetricError: if no pixel can be followed from one frame to the next.

    Source: Lai et al., Learning Blind Video Temporal Consistency (ECCV 2018), section 4.
    """
    check_pair(source, edited=edited, fewest=2)
    where = np.ones(source.shape[:3], bool) if mask is None else check_mask(mask, frames=source)
    flow = ClipFlow.of(source) if flow is None else flow
    pixels = pixel_grid(source.shape[1:3])
    colours = edited.astype(np.float32) / 255
    errors = []
    for index, ((there, _), believed) in enumerate(zip(flow.pairs, flow.followed, strict=True)):
        followed = believed & where[index]
        if followed.any():
            warped = sample(colours[index + 1], points=pixels + there)
            errors.append(((colours[index] - warped) ** 2).sum(axis=-1)[followed].mean())
    if not errors:
        raise MetricError("no pixel can be followed from one frame to the next, so nothing can be compared")
    return float(np.mean(errors))


def grid_points(size: tuple[int, int], *, mask: NDArray[np.bool_] | None, grid_size: int) -> Points:
    """A square grid of points over a frame, or over the object on it. Raises `MetricError`.

    Args:
        size: (H, W) of the frame in pixels.
        mask: (H, W) where the object is; the grid spans the box round it and its points outside the
            object are left out. Where that leaves none, as on a line of one pixel, up to `grid_size` of the
            object's own pixels are taken instead, evenly spread. None takes the whole frame.
        grid_size: points along the longer side, at least 1; at most one a pixel.

    Returns:
        (T, 2) positions.
    """
    rows, columns = np.arange(size[0]), np.arange(size[1])
    if mask is not None:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            raise MetricError("the object is not on the first frame, so no point of it can be followed")
    top, left = rows[0], columns[0]
    height, width = rows[-1] - top + 1, columns[-1] - left + 1
    spacing = max(1.0, max(height, width) / grid_size)
    y = top + np.arange(0.5 * spacing, height, spacing)
    x = left + np.arange(0.5 * spacing, width, spacing)
    points = np.stack(np.meshgrid(x - 0.5, y - 0.5), axis=-1).reshape(-1, 2)
    if mask is not None:
        # Rounding may put the last points on the far border of the frame, which counts as outside.
        framed = np.pad(mask, ((0, 1), (0, 1)))
        points = points[framed[tuple(np.rint(points).astype(int).T[::-1])]]
        if not len(points):
            pixels = np.argwhere(mask)[:, ::-1]
            points = pixels[np.rint(np.linspace(0, len(pixels) - 1, min(len(pixels), grid_size))).astype(int)]
    return points.astype(np.float64)


class PointTracker(Protocol):
    """Follows points from the first frame of a clip on."""

    name: str

    def __call__(self, frames: Frames, *, points: Points) -> PointTracks:
        """Tracks of (T, 2) points of the first frame through (F, H, W, 3) frames."""


class FlowTracker:
    """The embedded tracker: follows points by DIS optical flow from frame to frame; needs no weights.

    A point that is hidden, leaves the frame or does not return by the flow back is not seen again.
    """

    name = "RGB DIS flow"

    def __call__(self, frames: Frames, *, points: Points) -> PointTracks:
        """Tracks of (T, 2) points of the first frame. Raises `VideoError`."""
        check_frames(frames, fewest=2)
        return self.along(ClipFlow.of(frames), points=points)

    def along(self, flow: ClipFlow, *, points: Points) -> PointTracks:
        """The same by a flow that is known already, of two frames at least."""
        positions, visible = [points], [np.ones(len(points), bool)]
        for there, back in flow.pairs:
            stays = visible[-1] & is_consistent(there, back=back, points=positions[-1])
            positions.append(positions[-1] + sample(there, points=positions[-1]))
            visible.append(stays)
        height, width = flow.pairs[0][0].shape[:2]
        return PointTracks(np.stack(positions), np.stack(visible), (height, width))


class CoTracker:
    """Follows points with a CoTracker predictor, for those who have installed it.

    Source: Karaev et al., CoTracker: It is Better to Track Together (ECCV 2024). Its code is not on PyPI;
    its weights are CC BY-NC 4.0.

    Args:
        predictor: called as ``predictor(video, queries=queries)`` with a (1, F, 3, H, W) float clip in
            [0, 255] and (1, T, 3) queries (frame, x, y), it gives (1, F, T, 2) positions in pixels and
            (1, F, T) visibility.
        device: torch name.
    """

    name = "CoTracker"

    def __init__(self, predictor: Any, *, device: str | torch.device = "cpu") -> None:
        self.predictor, self.device = predictor, device

    @classmethod
    def from_checkpoint(cls, path: str | Path, *, device: str | torch.device = "cpu") -> CoTracker:
        """Load the offline model, version 3. Raises `ModelLoadError`."""
        if find_spec("cotracker") is None:
            raise ModelLoadError(f"CoTracker is not installed; {COTRACKER_ADVICE}")
        if not Path(path).is_file():
            raise ModelLoadError(f"there is no file {path}; {COTRACKER_ADVICE}")
        from cotracker.predictor import CoTrackerPredictor

        try:
            predictor = CoTrackerPredictor(checkpoint=str(path), offline=True, v2=False, window_len=60)
        except LOAD_ERRORS as error:
            raise ModelLoadError(
                f"{path} cannot be loaded as CoTracker 3 ({reason_of(error)}); {COTRACKER_ADVICE}"
            ) from error
        return cls(predictor.to(device), device=device)

    @torch.inference_mode()
    def __call__(self, frames: Frames, *, points: Points) -> PointTracks:
        """Tracks of (T, 2) points of the first frame. Raises `VideoError`."""
        check_frames(frames, fewest=2)
        video = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)[None].float().to(self.device)
        queries = torch.from_numpy(np.pad(points, ((0, 0), (1, 0))))[None].float().to(self.device)
        positions, visible = self.predictor(video, queries=queries)
        return PointTracks(
            positions[0].double().cpu().numpy(), visible[0].bool().cpu().numpy(), frames.shape[1:3]
        )


@dataclass(frozen=True, eq=False)
class ClipFlow:
    """The optical flow of a clip, which several metrics share: F - 1 pairs."""

    pairs: Sequence[FlowPair]

    @classmethod
    def of(cls, frames: Frames) -> ClipFlow:
        """The flow of (F, H, W, 3) uint8 RGB frames."""
        return cls(consecutive_flows(frames))

    @cached_property
    def followed(self) -> list[NDArray[np.bool_]]:
        """(H, W) for each pair: the pixels whose flow there and back agree."""
        return [
            is_consistent(there, back=back, points=pixel_grid(there.shape[:2])) for there, back in self.pairs
        ]


def consecutive_flows(frames: Frames) -> list[FlowPair]:
    """Flow there and back between each frame and the next, F - 1 pairs of (F, H, W, 3) frames.

    The flow is computed in the red, the green and the blue plane, since an object may stand out in one of
    them only. Each pixel takes it from a plane in which it returns to where it was, if there is one, and
    among those from the one that leads to the likest colours.

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search (ECCV 2016), by OpenCV; the choice
    between the planes is ours.
    """
    # Present since OpenCV 4, absent from its type stubs.
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    working, size = [_working_frame(frame) for frame in frames], frames.shape[1:3]
    planes = [cv2.split(frame) for frame in working]
    pairs = []
    for now, after in pairwise(range(len(frames))):
        there, back = (
            [np.asarray(estimator.calc(one, two, None), np.float32) for one, two in zip(*of, strict=True)]
            for of in ((planes[now], planes[after]), (planes[after], planes[now]))
        )
        pairs.append(
            (
                _resized_flow(_likeliest(there, back=back, frame=working[now], towards=working[after]), size),
                _resized_flow(_likeliest(back, back=there, frame=working[after], towards=working[now]), size),
            )
        )
    return pairs


def _working_frame(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    side = max(height, width)
    scale = min(max(side, WORKING_SIDE), LARGEST_SIDE) / side
    size = max(16, round(width * scale)), max(16, round(height * scale))
    if size != (width, height):
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return frame


def _likeliest(
    flows: Sequence[Flow], *, back: Sequence[Flow], frame: NDArray[np.uint8], towards: NDArray[np.uint8]
) -> Flow:
    """The best of several flows towards another frame, each with the flow back, for each pixel."""
    points = pixel_grid(frame.shape[:2])
    # `FAR` is the largest difference of colours, so a flow that does not return comes after all that do.
    costs = [
        _colour_difference(frame, towards, flow=flow, points=points)
        + (FAR + 1) * ~is_consistent(flow, back=returning, points=points)
        for flow, returning in zip(flows, back, strict=True)
    ]
    chosen = np.argmin(costs, axis=0)
    return np.asarray(np.choose(chosen[..., None], flows), np.float32)


def _colour_difference(
    frame: NDArray[np.uint8], towards: NDArray[np.uint8], *, flow: Flow, points: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(H, W) difference between the colours round each pixel and those that the flow leads to."""
    x, y = cv2.split(points + flow)
    led_to = cv2.remap(towards, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    red, green, blue = cv2.split(cv2.absdiff(frame, led_to).astype(np.float32))
    difference = red + green + blue
    return np.asarray(cv2.blur(np.minimum(difference, FAR), (WINDOW, WINDOW)), np.float32)


def _resized_flow(flow: Flow, size: tuple[int, ...]) -> Flow:
    height, width = flow.shape[:2]
    if (height, width) == size:
        return flow
    flow = np.asarray(cv2.resize(flow, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return flow * np.array([size[1] / width, size[0] / height], np.float32)


def sample(values: NDArray[np.float32], *, points: Positions) -> NDArray[np.float32]:
    """Values (H, W, C) between pixels, at positions (..., 2); beyond the frame those of its rim."""
    x, y = np.moveaxis(points.astype(np.float32, copy=False).reshape(len(points), -1, 2), -1, 0)
    found = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32).reshape(*points.shape[:-1], -1)


def pixel_grid(size: tuple[int, ...]) -> NDArray[np.float32]:
    """(H, W, 2) positions (x, y) of all pixels."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return np.stack([columns, rows], axis=-1)


def is_consistent(there: Flow, *, back: Flow, points: Positions) -> NDArray[np.bool_]:
    """Whether points that follow the flow there and back return to about where they were.

    (...) bool for positions (..., 2) on the first of the two frames; False also for points that leave it.

    Source: Sundaram et al., Dense Point Trajectories by GPU-Accelerated Large Displacement Optical Flow
    (ECCV 2010), equation 5: |w + w'|^2 < 0.01 (|w|^2 + |w'|^2) + 0.5.
    """

    def squared_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        # Many times faster than a sum along so short an axis.
        return np.asarray(np.einsum("...c,...c->...", vectors, vectors))

    forward = sample(there, points=points)
    landed = points + forward
    backward = sample(back, points=landed)
    error = squared_length(forward + backward)
    length = squared_length(forward) + squared_length(backward)
    limit = np.array(there.shape[1::-1]) - 1
    x, y = landed[..., 0], landed[..., 1]
    inside = (x >= 0) & (x <= limit[0]) & (y >= 0) & (y <= limit[1])
    return np.asarray((error < 0.01 * length + 0.5) & inside)
