"""What the canvas shows of a clip and its objects: overlays, the strip of frames, notes and notices."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from dreammotion_core import MaskError, feathered_alpha, grown_mask
from segmentation import FrameHealth, Level, Prompt, Selection, TrackedObject, describe_problem, invert
from segmentation import next_doubtful as next_doubtful_of_one
from web.clip import Clip, refined_masks
from web.encoding import DISPLAY_SIDE, data_uri
from web.form import Refinement

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
    """The next frame to look at after a 0-based one, and the number of the object to look at there."""
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


def overlay(clip: Clip, *, index: int) -> str | None:
    """A PNG data URI of the objects on a frame; None for a frame without objects.

    What the edit changes is tinted, as far as it is grown, shrunk, feathered or inverted; objects that it
    leaves alone are outlined. Raises `SelectionError` if there is no such frame.
    """
    snapshot, within = clip.snapshot(), range(index, index + 1)
    masks = {
        tracked: refined_masks(snapshot, number=tracked.number, within=within)
        for tracked in snapshot.selected
    }
    edited = [tracked for tracked in masks if tracked in snapshot.chosen]
    layers = [Layer(masks[tracked][0], tracked.colour) for tracked in masks if tracked not in edited]
    if edited:
        layers += _taken(snapshot.refinement, {tracked: masks[tracked] for tracked in edited})
    if not any(layer.mask.any() for layer in layers):
        return None
    return encode_overlay(layers, size=clip.video.size)


def _taken(refinement: Refinement, masks: Mapping[TrackedObject, NDArray[np.bool_]]) -> list[Layer]:
    """Refined as one, then shown in each object's colour."""
    together = np.any(list(masks.values()), axis=0)
    taken = _grown(invert(together) if refinement.is_inverted else together, pixels=refinement.grow)
    taken = _grown(taken, pixels=refinement.edge)
    opacity = feathered_alpha(taken, width=refinement.feather)[0]
    if refinement.is_inverted:
        return [Layer(taken[0], MASK_COLOUR, opacity)]
    reach = max(0, refinement.grow) + refinement.edge
    return [
        Layer((taken & _grown(mask, pixels=reach))[0], tracked.colour, opacity)
        for tracked, mask in masks.items()
    ]


def _grown(mask: NDArray[np.bool_], *, pixels: int) -> NDArray[np.bool_]:
    try:
        return grown_mask(mask, pixels=pixels)
    except MaskError:
        # Nothing is left of the mask on this frame.
        return np.zeros_like(mask)


MASK_COLOUR = (255, 45, 120)  # RGB; seldom found in nature, and visible on dark and light.
TINT = 130  # Opacity of an overlay's inside, to 255.
_RIM = np.ones((5, 5), np.uint8)


@dataclass(frozen=True, eq=False)
class Layer:
    """One (H, W) bool mask of an overlay; `opacity` (H, W) of the tint in [0, 1], or None for the outline."""

    mask: NDArray[np.bool_]
    colour: tuple[int, int, int]
    opacity: NDArray[np.float32] | None = None


def encode_overlay(layers: Sequence[Layer], *, size: tuple[int, int]) -> str:
    """A PNG data URI of masks, the lowest first: tinted with a white rim, transparent elsewhere.

    It is drawn at about `DISPLAY_SIDE`, so that the rim of a small mask is not a staircase.
    """
    scale = DISPLAY_SIDE / max(size)
    overlay = Image.new("RGBA", (max(1, round(size[1] * scale)), max(1, round(size[0] * scale))))
    for layer in layers:
        _paste(overlay, layer, scale)
    return data_uri(overlay, "png", compress_level=1)


def _paste(overlay: Image.Image, layer: Layer, scale: float) -> None:
    shape = Image.fromarray(layer.mask).convert("L").resize(overlay.size, Image.Resampling.BILINEAR)
    if scale > 1:
        shape = shape.filter(ImageFilter.GaussianBlur(0.7 * scale))
    inside = shape.point(lambda level: 255 * (level >= 128))
    core = Image.fromarray(cv2.erode(np.asarray(inside), _RIM))
    rim = ImageChops.subtract(inside, core)
    if layer.opacity is None:
        overlay.paste((*layer.colour, 255), mask=rim)
        return
    levels = Image.fromarray((layer.opacity * TINT).astype(np.uint8)).resize(overlay.size)
    tint = Image.new("RGBA", overlay.size, (*layer.colour, 0))
    tint.putalpha(levels)
    overlay.paste(tint, mask=core)
    overlay.paste((255, 255, 255, 255), mask=rim)


GREETING = "Click the object that you want to change."


def canvas_view(clip: Clip, *, token: str, hint: tuple[float, float] | None = None) -> dict[str, Any]:
    """A newly opened clip, ready for clicks; a first one would be good at `hint`, (x, y) in pixels."""
    height, width = clip.video.size
    return {
        "kind": "clip",
        "token": token,
        "clip": clip.number,
        "frames": list(clip.source_uris),
        "fps": clip.video.fps,
        "width": width,
        "height": height,
        "hint": hint,
        "cuts": list(clip.tracks.cuts),
        "bench": bench_view(clip, frame=0),
    }


def following_view(clip: Clip, *, frame: int, done: int, total: int) -> dict[str, Any]:
    """A frame whose masks have just become known."""
    note = f"Following: {done} of {total} frames."
    picture = overlay(clip, index=frame)
    return {"kind": "following", "clip": clip.number, "frame": frame, "overlay": picture, "note": note}


def settled_view(
    clip: Clip, *, serial: int, note: str | None = None, is_following: bool = False
) -> dict[str, Any]:
    """Tells the canvas that masks have changed, so that it asks anew for what it shows.

    `serial` differs from that of the message before; `note` is shown instead of the usual one.
    """
    return {
        "kind": "settled",
        "clip": clip.number,
        "serial": serial,
        "note": note,
        "isFollowing": is_following,
    }


def bench_view(clip: Clip, *, frame: int, overlays: Collection[int] = ()) -> dict[str, Any]:
    """All that is shown of the objects with one 0-based frame; `overlays` are wanted for more frames.

    Raises `SelectionError` if there is no such frame.
    """
    prompt = clip.picked.prompt_on(frame) or Prompt(Selection(frame))
    note, is_problem = _note(clip, frame)
    return {
        "frame": frame,
        "objects": [
            {
                "number": tracked.number,
                "name": tracked.name,
                "colour": "#" + bytes(tracked.colour).hex(),
                "isEdited": tracked.number not in clip.left_alone,
                "frames": list(tracked.confirmed_frames),
            }
            for tracked in clip.project.objects
        ],
        "picked": clip.picked.number,
        "prompt": prompt.selection.to_dict(),
        "isAbsent": prompt.says_absent,
        "canUndo": bool(clip.history.past),
        "canRedo": bool(clip.history.future),
        "toFollow": clip.tracks.num_missing(clip.project),
        "isFollowed": clip.is_followed,
        "overlays": {str(index): overlay(clip, index=index) for index in overlays},
        "cells": cells_view(clip),
        "notices": notices(clip),
        "note": note,
        "isProblem": is_problem,
    }


def _note(clip: Clip, frame: int) -> tuple[str, bool]:
    picked, missing = clip.picked, clip.tracks.num_missing(clip.project)
    prompt = picked.prompt_on(frame)
    if not picked.prompts:
        return (GREETING if len(clip.project.objects) == 1 else f"Click {picked.name}, on any frame."), False
    if prompt is not None and prompt.says_absent:
        return f"{picked.name} is marked as not in this frame.", False
    if prompt is not None:
        mask = clip.tracks.preview(prompt)
        problem = describe_problem(mask)
        if problem:
            return problem, True
        share = float(mask.mean())
        percent = "Under 1" if share < 0.01 else f"{share:.0%}".rstrip("%")
        selected = f"{percent} % of the frame is selected. "
        if len(picked.prompts) > 1 and missing:
            return f"{selected}Follow again to carry the correction to the frames round it.", False
        return f"{selected}Not right? Add clicks.", False
    if clip.is_followed:
        return "Not right here? A click corrects this frame and those round it.", False
    return "Not followed here yet. A click selects it on this frame.", False
