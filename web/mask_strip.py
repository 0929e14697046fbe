"""The strip under the canvas: for each frame, how far its masks can be believed, and why, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from segmentation import FrameHealth, Level, TrackedObject
from segmentation import next_doubtful as next_doubtful_of_one
from web.clip import Clip

_WORST_LAST = ("known", Level.GOOD, Level.DOUBTFUL, Level.BAD, "missing")


def cells_view(clip: Clip) -> list[dict[str, Any]]:
    """One for each frame: ``{"state", "words"}``; of several objects the worst state counts.

    The state is that of the health (good, doubtful, bad), "missing" where a mask has still to be made, or
    "empty" where nothing is selected at all.
    """
    selected = [tracked for tracked in clip.project.objects if tracked.prompts]
    if not selected:
        return [{"state": "empty", "words": "nothing is selected yet"}] * len(clip.video)
    columns = [_states(clip, tracked) for tracked in selected]
    has_names = len(selected) > 1
    cells = []
    for states in zip(*columns, strict=True):
        worst = max((state for state, _ in states), key=_WORST_LAST.index)
        reasons = [
            f"{tracked.name}: {words}" if has_names and worst is not Level.GOOD else words
            for tracked, (state, words) in zip(selected, states, strict=True)
            if state == worst and words
        ]
        cells.append({"state": str(worst), "words": "; ".join(dict.fromkeys(reasons))})
    return cells


def next_doubtful(clip: Clip, *, after: int) -> tuple[int, int] | None:
    """The next frame to look at, and the number of the object to look at there.

    Args:
        clip: with objects that are followed.
        after: 0-based frame that is shown now.
    """
    found = [
        (frame <= after, frame, tracked.number)
        for tracked, health in _reviewed(clip)
        if (frame := next_doubtful_of_one(health, after=after)) is not None
    ]
    if not found:
        return None
    _, frame, number = min(found)
    return frame, number


def notices(clip: Clip) -> list[str]:
    """What a visitor should know about the whole clip: remarks, cuts, scenes without an object, losses."""
    texts = list(clip.remarks)
    if clip.tracks.cuts:
        frames = " and ".join(str(cut + 1) for cut in clip.tracks.cuts)
        texts.append(f"A new scene begins at frame {frames}. Objects are not followed from scene to scene.")
    unreached = clip.tracks.unreached_scenes(clip.project)
    texts += [scene.message for scene in unreached]
    for tracked, health in _reviewed(clip):
        elsewhere = {index for scene in unreached if scene.number == tracked.number for index in scene.within}
        lost = [
            each.frame_index
            for each in health
            if each.area == 0 and each.level is not Level.GOOD and each.frame_index not in elsewhere
        ]
        if lost:
            texts.append(
                f"{tracked.name} was not found on {_listed(lost)}. Click it there; "
                "where it is hidden, nothing has to be done."
            )
    return texts


def _states(clip: Clip, tracked: TrackedObject) -> list[tuple[str, str]]:
    missing = set(clip.tracks.missing_frames(clip.project, number=tracked.number))
    if missing:
        words = {True: "not followed yet", False: ""}
        return [("missing" if i in missing else "known", words[i in missing]) for i in range(len(clip.video))]
    return [(each.level, _words(tracked, each)) for each in clip.review(tracked.number)]


def _words(tracked: TrackedObject, health: FrameHealth) -> str:
    if health.frame_index in tracked.confirmed_frames:
        return "selected by you"
    return ", ".join(health.reasons) or "looks good"


def _reviewed(clip: Clip) -> Iterator[tuple[TrackedObject, tuple[FrameHealth, ...]]]:
    for tracked in clip.project.objects:
        if tracked.prompts and not clip.tracks.missing_frames(clip.project, number=tracked.number):
            yield tracked, clip.review(tracked.number)


def _listed(frames: Sequence[int]) -> str:
    """For example "frames 3 to 5 and 9", counted from 1."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    words = [str(a + 1) if a == b else f"{a + 1} to {b + 1}" for a, b in runs]
    plural = "frames" if len(frames) > 1 else "frame"
    return f"{plural} {' and '.join(words)}"
