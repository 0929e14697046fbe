"""Which masks of a clip deserve a look, and why, in plain words.

The truth is unknown; these are signs that followed masks went wrong. Each mask is compared with its neighbour
on the side of the nearest frame with a prompt (confirmed), because errors grow away from it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import cv2
import numpy as np

from segmentation.base import FrameMask, Frames
from segmentation.errors import FramesError
from segmentation.project import Project
from segmentation.schedule import nearest_confirmed, scene_at
from segmentation.tracks import Tracks
from segmentation.vision import colour_histogram, likeness, reduced, resized

GROWTH = (1.35, 2.0)
"""Ratios of area from one frame to the next that are doubtful and bad; the same for shrinking. All pairs
below are likewise doubtful and bad."""
OUTLINE_CHANGE = (0.45, 0.65)
DISTANCE = (0.75, 1.5)
SCATTERING = (0.15, 0.4)
LOW_SCORE = (0.5, 0.25)
LOW_RESEMBLANCE = (0.65, 0.5)
"""On five real clips 19 of 20 masks with an IoU above 0.6 lie above the first, three in four others below."""
HIDDEN_SHARE = 0.5  # Share of the largest recent area, below which a shrinking object is probably hidden.
RECENT = 8  # Frames towards the nearest confirmed one that a mask is compared with, at most.
FULL = 0.95  # Share of the frame above which a mask is nearly all of it.
LOOK_SIDE = 160  # Long side of the copies on which colours are compared: noise counts little there.


class Level(StrEnum):
    """How far a mask can be trusted."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"


@dataclass(frozen=True)
class FrameHealth:
    """Findings about the mask of one frame.

    Attributes:
        frame_index: 0-based.
        level: of the worst finding; confirmed frames are always good.
        reasons: the findings in plain words, the worst first.
        area: of the object as a share of the frame, in [0, 1].
        area_change: area divided by that of the neighbour on the side of the nearest confirmed frame; 1
            where one of them is empty.
        outline_change: from 0 (same outline) to 1, against the same neighbour.
        resemblance: of the object's colours to the nearest confirmed frame, in [0, 1]; None if unknown.
        score: of the model, in [0, 1]; None if it gives none.
    """

    frame_index: int
    level: Level
    reasons: tuple[str, ...]
    area: float
    area_change: float
    outline_change: float
    resemblance: float | None = None
    score: float | None = None


def review_object(tracks: Tracks, *, project: Project, number: int) -> tuple[FrameHealth, ...]:
    """Assess every frame's mask of an object that was followed; few of them are in memory at a time.

    Raises `SelectionError` if there is no such object, and `FramesError` if the project is of another clip.
    """
    confirmed = project.object(number).confirmed_frames

    def masks() -> Iterator[FrameMask]:
        for index in range(project.num_frames):
            yield tracks.mask(project, number=number, frame_index=index)

    likes = measure_resemblances(tracks.frames, masks=masks(), confirmed=confirmed, cuts=tracks.cuts)
    return assess_masks(masks(), confirmed=confirmed, cuts=tracks.cuts, resemblances=likes)


def assess_masks(
    masks: Iterable[FrameMask],
    *,
    confirmed: Collection[int] = (),
    cuts: Sequence[int] = (),
    resemblances: Sequence[float | None] | None = None,
    scores: Sequence[float | None] | None = None,
) -> tuple[FrameHealth, ...]:
    """Look for masks that probably went wrong; one finding for each mask.

    Args:
        masks: (H, W) bool each, of one object, in the order of the frames.
        confirmed: 0-based frames on which the user said what the object is, or that it is absent.
        cuts: first frames of all scenes but the first; nothing is compared over a cut.
        resemblances: from `measure_resemblances`, one for each mask.
        scores: of the model, in [0, 1], one for each mask; None if unknown.

    Raises `FramesError` if there are not as many resemblances or scores as masks.
    """
    measures, changes = measure_masks(masks)
    unknown = [None] * len(measures)
    likes, sure = (unknown if given is None else given for given in (resemblances, scores))
    if not len(likes) == len(sure) == len(measures):
        raise FramesError(
            f"there are {len(likes)} resemblances and {len(sure)} scores for {len(measures)} masks; "
            "pass one for each mask"
        )
    clip = _Clip(measures, changes, tuple(sorted(confirmed)), tuple(cuts))
    return tuple(_assess(clip, index, likes[index], sure[index]) for index in range(len(measures)))


def next_doubtful(health: Sequence[FrameHealth], *, after: int) -> int | None:
    """The next frame to look at after one, going round at the end of the clip; None if all are good.

    Only the first of neighbouring frames with the same complaint is offered.
    """
    worth_a_look = [
        each.frame_index
        for position, each in enumerate(health)
        if each.level is not Level.GOOD and (not position or health[position - 1].reasons != each.reasons)
    ]
    return min(worth_a_look, key=lambda index: (index <= after, index), default=None)


def measure_resemblances(
    frames: Frames, *, masks: Iterable[FrameMask], confirmed: Collection[int], cuts: Sequence[int] = ()
) -> tuple[float | None, ...]:
    """Compare the object's colours with those on the nearest confirmed frame of the same scene.

    For (F, H, W, 3) uint8 RGB frames and (H, W) bool masks, gives the overlap of the colour histograms, in
    [0, 1]; None where the object is missing here or on the confirmed frame.
    """
    looks = []
    for frame, mask in zip(frames, masks, strict=True):
        image = reduced(frame, LOOK_SIDE)
        small = resized(mask, image)
        looks.append(colour_histogram(image, small) if small.any() else None)
    found: list[float | None] = []
    for index, look in enumerate(looks):
        scene = scene_at(index, cuts=cuts, num_frames=len(looks))
        anchor = nearest_confirmed(index, confirmed=confirmed, scene=scene)
        confirmed_look = None if anchor is None else looks[anchor]
        found.append(None if look is None or confirmed_look is None else likeness(confirmed_look, look))
    return tuple(found)


@dataclass(frozen=True)
class MaskMeasures:
    """One mask in numbers.

    Attributes:
        area: share of the frame, in [0, 1]; 0 where there is no object.
        x, y: centre of the object in pixels; 0 without an object.
        scattered: share of the object outside its largest connected part, in [0, 1].
        is_at_border: whether it touches the rim of the frame.
    """

    area: float
    x: float
    y: float
    scattered: float
    is_at_border: bool


@dataclass(frozen=True)
class MaskChange:
    """How two masks differ.

    Attributes:
        outline: 1 minus the overlap (IoU) after laying centre on centre, in [0, 1].
        distance: between the centres, in breadths of the smaller object (roots of its area).
    """

    outline: float
    distance: float


def measure_masks(masks: Iterable[FrameMask]) -> tuple[tuple[MaskMeasures, ...], tuple[MaskChange, ...]]:
    """Measure (H, W) bool masks and the changes from each to the next; two are in memory at a time."""
    measures: list[MaskMeasures] = []
    changes: list[MaskChange] = []
    previous: FrameMask | None = None
    for mask in masks:
        measures.append(measure_mask(mask))
        if previous is not None:
            changes.append(_compare(previous, mask, measures[-2], measures[-1]))
        previous = mask
    return tuple(measures), tuple(changes)


def measure_mask(mask: FrameMask) -> MaskMeasures:
    """Measure one (H, W) bool mask."""
    if not mask.any():
        return MaskMeasures(0.0, 0.0, 0.0, 0.0, False)
    pixels = mask.astype(np.uint8)
    _, _, statistics, centres = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA].astype(np.float64)
    x, y = (areas[:, None] * centres[1:]).sum(axis=0) / areas.sum()
    return MaskMeasures(
        area=float(areas.sum() / mask.size),
        x=float(x),
        y=float(y),
        scattered=float(1 - areas.max() / areas.sum()),
        is_at_border=bool(mask[[0, -1]].any() or mask[:, [0, -1]].any()),
    )


def _compare(mask: FrameMask, other: FrameMask, first: MaskMeasures, second: MaskMeasures) -> MaskChange:
    if not (first.area and second.area):
        return MaskChange(outline=float(first.area != second.area), distance=0.0)
    height, width = mask.shape
    across, down = second.x - first.x, second.y - first.y
    shift = np.array([[1, 0, round(across)], [0, 1, round(down)]], dtype=np.float32)
    moved = cv2.warpAffine(mask.astype(np.uint8), shift, (width, height), flags=cv2.INTER_NEAREST) > 0
    union = int((moved | other).sum())
    breadth = math.sqrt(min(first.area, second.area) * mask.size)
    return MaskChange(1 - float((moved & other).sum()) / union, math.hypot(across, down) / breadth)


Finding = tuple[Level, str]


@dataclass(frozen=True)
class _Clip:
    measures: tuple[MaskMeasures, ...]
    changes: tuple[MaskChange, ...]
    confirmed: tuple[int, ...]
    cuts: tuple[int, ...]

    def scene(self, index: int) -> range:
        return scene_at(index, cuts=self.cuts, num_frames=len(self.measures))

    def anchor(self, index: int) -> int | None:
        return nearest_confirmed(index, confirmed=self.confirmed, scene=self.scene(index))

    def trail(self, index: int) -> range:
        """The frames from the neighbour towards the anchor, at most `RECENT`; without one, the earlier."""
        anchor, scene = self.anchor(index), self.scene(index)
        if anchor is not None and anchor > index:
            return range(index + 1, min(anchor, index + RECENT) + 1)
        return range(index - 1, max(scene.start if anchor is None else anchor, index - RECENT) - 1, -1)


def _assess(clip: _Clip, index: int, like: float | None, score: float | None) -> FrameHealth:
    mask, trail = clip.measures[index], clip.trail(index)
    change, growth = MaskChange(0.0, 0.0), 1.0
    if trail:
        change, before = clip.changes[min(index, trail[0])], clip.measures[trail[0]]
        growth = mask.area / before.area if mask.area and before.area else 1.0
    findings: list[Finding] = []
    if index not in clip.confirmed:
        findings += _findings(clip, index, change, growth)
        findings += _graded(like, LOW_RESEMBLANCE, "it no longer looks like what was selected")
        findings += _graded(score, LOW_SCORE, "the model is unsure here")
    findings.sort(key=lambda finding: -list(Level).index(finding[0]))
    level = findings[0][0] if findings else Level.GOOD
    reasons = tuple(reason for _, reason in findings)
    return FrameHealth(index, level, reasons, mask.area, growth, change.outline, like, score)


def _findings(clip: _Clip, index: int, change: MaskChange, growth: float) -> Iterator[Finding]:
    mask, trail = clip.measures[index], clip.trail(index)
    if not mask.area:
        yield from _findings_on_emptiness(clip, index)
        return
    if mask.area > FULL:
        yield Level.BAD, "nearly the whole frame is selected"
    if not trail:
        return
    before = clip.measures[trail[0]]
    if not before.area:
        yield Level.DOUBTFUL, "the object was found again here; is it the same one?"
        return
    words = "the object suddenly grew" if growth > 1 else "the object suddenly shrank"
    yield from _graded(math.exp(abs(math.log(growth))), GROWTH, words)
    yield from _graded(change.outline, OUTLINE_CHANGE, "the outline changed a lot")
    yield from _graded(change.distance, DISTANCE, "the object jumped")
    yield from _graded(mask.scattered - before.scattered, SCATTERING, "the object fell into pieces")
    if not mask.is_at_border and _shrinks_slowly([clip.measures[frame].area for frame in (index, *trail)]):
        yield Level.DOUBTFUL, "the object is getting small; it may be hidden behind something"


def _findings_on_emptiness(clip: _Clip, index: int) -> Iterator[Finding]:
    anchor, trail = clip.anchor(index), clip.trail(index)
    if anchor is None and clip.confirmed:
        yield Level.DOUBTFUL, "another scene, in which the object is not selected"
    elif anchor is not None and not clip.measures[anchor].area:
        return
    elif trail and clip.measures[trail[0]].area:
        left = clip.measures[trail[0]].is_at_border
        yield (Level.DOUBTFUL, "the object left the picture here") if left else (Level.BAD, "lost here")
    else:
        yield Level.DOUBTFUL, "the object is not found here"


def _shrinks_slowly(areas: Sequence[float]) -> bool:
    """Whether much of the object went step by step; a sudden step is a finding of its own frame."""
    is_steady = all(later * GROWTH[0] > earlier for later, earlier in pairwise(areas))
    return is_steady and areas[0] < HIDDEN_SHARE * max(areas)


def _graded(value: float | None, limits: tuple[float, float], words: str) -> Iterator[Finding]:
    """A finding if a value lies beyond the first limit, a bad one beyond the second, further away."""
    sign = 1 if limits[1] > limits[0] else -1
    if value is not None and sign * value > sign * limits[0]:
        yield (Level.BAD if sign * value > sign * limits[1] else Level.DOUBTFUL), words
