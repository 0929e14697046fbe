"""What the canvas shows of a clip and its objects, as plain JSON values."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from segmentation import Prompt, Selection, TrackedObject, describe_problem
from web.clip import Clip
from web.mask_strip import cells_view, notices
from web.overlays import overlay

GREETING = "Click the object that you want to change."


def canvas_view(clip: Clip, *, token: str, hint: tuple[float, float] | None = None) -> dict[str, Any]:
    """A newly opened clip, ready for clicks on any frame.

    Args:
        clip: the open clip.
        token: by which the canvas finds its visitor again.
        hint: (x, y) in pixels, where a first click would be good.
    """
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
    """A frame whose masks have just become known.

    Args:
        clip: the open clip.
        frame: 0-based.
        done: masks made so far.
        total: masks to be made.
    """
    note = f"Following: {done} of {total} frames."
    picture = overlay(clip, index=frame)
    return {"kind": "following", "clip": clip.number, "frame": frame, "overlay": picture, "note": note}


def settled_view(
    clip: Clip, *, serial: int, note: str | None = None, is_following: bool = False
) -> dict[str, Any]:
    """Tells the canvas that masks have changed, so that it asks anew for what it shows.

    Args:
        clip: the open clip.
        serial: differs from that of the message before, so that none looks like a repetition.
        note: to be shown instead of the usual one.
        is_following: whether more masks are being made.
    """
    return {
        "kind": "settled",
        "clip": clip.number,
        "serial": serial,
        "note": note,
        "isFollowing": is_following,
    }


def bench_view(clip: Clip, *, frame: int, overlays: Collection[int] = ()) -> dict[str, Any]:
    """Everything about the objects that is shown round one frame.

    Args:
        clip: with the objects.
        frame: 0-based, the one that is shown.
        overlays: the frames whose overlays are wanted.

    Raises:
        SelectionError: if there is no such frame.
    """
    prompt = clip.picked.prompt_on(frame) or Prompt(Selection(frame))
    note, is_problem = _note(clip, frame)
    return {
        "frame": frame,
        "objects": [_object_view(clip, tracked) for tracked in clip.project.objects],
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


def _object_view(clip: Clip, tracked: TrackedObject) -> dict[str, Any]:
    return {
        "number": tracked.number,
        "name": tracked.name,
        "colour": "#" + bytes(tracked.colour).hex(),
        "isEdited": tracked.number not in clip.left_alone,
        "frames": list(tracked.confirmed_frames),
    }


def _note(clip: Clip, frame: int) -> tuple[str, bool]:
    """What to do next, and whether something is wrong."""
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
        return f"{selected}Not right? Add clicks, or mark what does not belong.", False
    if clip.is_followed:
        return "Not right here? A click corrects this frame and those round it.", False
    return "Not followed here yet. A click selects it on this frame.", False
