"""The selection editor: answers the canvas, follows the objects through the clip, refines their masks."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from segmentation import SelectionError
from web.clip import Clip
from web.commands import apply_commands
from web.failures import message_of
from web.mask_strip import next_doubtful
from web.selection_views import bench_view, following_view, settled_view
from web.form import read_refinement
from web.visitors import Visitor, VisitorStore
from web.wiring import Update

MOST_OVERLAYS = 32
"""That one answer may contain."""

_serials = itertools.count(1)


class Selections:
    """Answers what the canvas asks, and follows objects.

    Args:
        visitors: who is here.
    """

    def __init__(self, *, visitors: VisitorStore) -> None:
        self._visitors = visitors

    def answer(self, payload: Any) -> dict[str, Any]:
        """What the canvas calls to change or to see something.

        Args:
            payload: ``{"token", "clip", "frame", "commands", "overlays", "seek"}``: the frame that is shown,
                what to do (see `web.commands`), more frames whose overlays are wanted, and whether to go on
                to the next doubtful frame.

        Returns:
            `web.selection_views.bench_view`, with an ``"error"`` if something was refused; or the error
            alone, because an exception would reach the canvas as an answer without content.
        """
        try:
            return self._answer(payload)
        except Exception as error:
            return {"error": message_of(error)}

    def propagate(self, *, token: str) -> Iterator[Update]:
        """Follow the objects through the clip and show every mask as it becomes known."""
        visitor = self._visitors.get(token)
        clip = require_clip(visitor)
        with visitor.job() as stop:
            yield from follow(clip, stop)

    def refine(self, *, token: str, **form: Any) -> Update:
        """Take what is to be done to the masks, and show it."""
        clip = require_clip(self._visitors.get(token))
        clip.refinement = read_refinement(form)
        is_following = clip.following.locked()
        return {"canvas": settled_view(clip, serial=next(_serials), is_following=is_following)}

    def settle(self, *, token: str) -> Update:
        """After masks have changed, in whatever way: let the canvas show what there is."""
        clip = self._visitors.get(token).clip
        if clip is None:
            return {}
        return {"canvas": settled_view(clip, serial=next(_serials))}

    def _answer(self, payload: Any) -> dict[str, Any]:
        if not isinstance(payload, Mapping):
            raise SelectionError("the canvas sent no selection; reload the page")
        clip = require_clip(self._visitors.get(payload.get("token")))
        if payload.get("clip") != clip.number:
            raise SelectionError("another clip was opened meanwhile; click on the new one")
        frame, wanted = payload.get("frame", 0), payload.get("overlays", [])
        if frame not in range(len(clip.video)):
            raise SelectionError(f"frame {frame} is outside; choose one from 0 to {len(clip.video) - 1}")
        refusal: dict[str, Any] = {}
        try:
            _apply(clip, payload.get("commands", []))
        except Exception as error:
            refusal = {"error": message_of(error)}
        if payload.get("seek") and (found := next_doubtful(clip, after=frame)) is not None:
            frame, number = found
            clip.pick(number)
        clip.preparer.look_at(frame)
        return bench_view(clip, frame=frame, overlays=_frames(wanted)) | refusal


def require_clip(visitor: Visitor) -> Clip:
    """The clip that a visitor has open.

    Raises:
        SelectionError: if there is none.
    """
    if visitor.clip is None:
        raise SelectionError("no clip is open; choose an example or upload a video first")
    return visitor.clip


def follow(clip: Clip, stop: threading.Event) -> Iterator[Update]:
    """Make the masks that the objects still lack, until it is stopped or the objects change.

    Args:
        clip: with the objects.
        stop: checked after every frame.

    Yields:
        Updates of the canvas.

    Raises:
        SelectionError: if nothing is selected.
    """
    project, tracks = clip.project, clip.tracks
    if not any(tracked.prompts for tracked in project.objects):
        raise SelectionError("nothing is selected; click on the object or draw a box round it")
    total = tracks.num_missing(project)
    note = None
    with clip.following, closing(tracks.update(project)) as found:
        for done, each in enumerate(found, start=1):
            yield {"canvas": following_view(clip, frame=each.frame_index, done=done, total=total)}
            if stop.is_set() or clip.project is not project or clip.tracks is not tracks:
                note = f"Stopped. {done} of {total} frames are done and kept; follow again to go on."
                break
    yield {"canvas": settled_view(clip, serial=next(_serials), note=note)}


def _frames(wanted: Any) -> set[int]:
    if not isinstance(wanted, list) or len(wanted) > MOST_OVERLAYS:
        raise SelectionError(f"pass a list of at most {MOST_OVERLAYS} frames whose overlays are wanted")
    return set(wanted)


def _apply(clip: Clip, commands: Any) -> None:
    try:
        apply_commands(clip, commands)
    finally:
        # The masks of prompts are made here, so that a look at them costs nothing.
        for tracked in clip.project.objects:
            missing = clip.tracks.missing_frames(clip.project, number=tracked.number)
            for prompt in tracked.prompts:
                if prompt.frame_index in missing:
                    clip.tracks.preview(prompt)
