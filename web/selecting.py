"""Clicks become a mask, and the mask is followed through the clip."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from segmentation import Prompt, Selection, SelectionError, describe_problem, paint_mask
from web.clip import Clip
from web.encoding import MASK_COLOUR, encode_frame, encode_overlay
from web.failures import message_of
from web.views import player_view
from web.visitors import Visitor, VisitorStore
from web.wiring import Update

MAX_CLICKS = 64


class Selections:
    """Answers clicks and follows selections.

    Args:
        visitors: who is here.
    """

    def __init__(self, *, visitors: VisitorStore) -> None:
        self._visitors = visitors

    def segment(self, payload: Any) -> dict[str, Any]:
        """What the click canvas calls at every change of the clicks.

        Args:
            payload: ``{"token", "clip", "selection"}``, the selection as `Selection.to_dict` writes it.

        Returns:
            ``{"overlay", "share", "problem"}``; or ``{"error"}``, because an exception would reach the
            canvas as an answer without content.
        """
        try:
            return self._segment(payload)
        except Exception as error:
            return {"error": message_of(error)}

    def propagate(self, *, token: str) -> Iterator[Update]:
        """Follow the selected object through the clip and show every mask as it becomes known."""
        visitor = self._visitors.get(token)
        clip = require_clip(visitor)
        with visitor.job() as stop:
            yield {"stop": gr.Button(visible=True)}
            yield from follow(clip, stop)
        if clip.is_followed:
            masks = clip.union()
            caption = _followed_caption(masks)
            frames = [_paint(clip, index, mask) for index, mask in enumerate(masks)]
            yield {"player": player_view(clip, stage="mask", frames=frames, caption=caption)}

    def _segment(self, payload: Any) -> dict[str, Any]:
        if not isinstance(payload, Mapping):
            raise SelectionError("the canvas sent no selection; reload the page")
        visitor = self._visitors.get(payload.get("token"))
        clip = require_clip(visitor)
        if payload.get("clip") != clip.number:
            raise SelectionError("another clip was opened meanwhile; click on the new one")
        selection = _read_selection(payload.get("selection"))
        number, prompt = clip.project.objects[0].number, Prompt(selection)
        changed = clip.history.do(lambda project: project.with_prompt(number, prompt))
        if selection.is_empty:
            clip.history = changed
            return {"overlay": None, "share": 0.0, "problem": None}
        mask = clip.tracks.preview(prompt)
        clip.history = changed
        problem = describe_problem(mask)
        return {"overlay": encode_overlay(mask), "share": float(mask.mean()), "problem": problem}


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
        Updates of the player.
    """
    project = clip.project
    missing = clip.tracks.num_missing(project)
    if not clip.has_selection:
        raise SelectionError("nothing is selected; click on the object or draw a box round it")
    frames = list(clip.source_uris)
    for done, found in enumerate(clip.tracks.update(project), start=1):
        index = found.frame_index
        frames[index] = _paint(clip, index, found.mask)
        caption = f"Following the object: frame {done} of {missing}."
        progress = done / max(missing, 1)
        yield {
            "player": player_view(
                clip, stage="mask", frames=frames, caption=caption, progress=progress, show=index
            )
        }
        if stop.is_set() or clip.project is not project:
            break
    else:
        return
    caption = "Stopped. Press Propagate to follow the object again."
    yield {"player": player_view(clip, stage="mask", frames=frames, caption=caption)}


def _paint(clip: Clip, index: int, mask: NDArray[np.bool_]) -> str:
    outline = max(1, min(clip.video.size) // 160)
    return encode_frame(paint_mask(clip.video.frames[index], mask, colour=MASK_COLOUR, outline=outline))


def _followed_caption(masks: NDArray[np.bool_]) -> str:
    lost = int((~masks.any(axis=(1, 2))).sum())
    if lost:
        return f"Followed, but the object was lost on {lost} of {len(masks)} frames. Look through them below."
    return "The object is followed through the clip. Now say what it should become."


def _read_selection(values: Any) -> Selection:
    if not isinstance(values, Mapping):
        raise SelectionError("the canvas sent no selection; reload the page")
    selection = Selection.from_dict(values)
    if len(selection.clicks) > MAX_CLICKS:
        raise SelectionError(f"more than {MAX_CLICKS} clicks; clear some and click again")
    if selection.frame_index != 0:
        raise SelectionError(f"the selection is on frame {selection.frame_index}; click on the first frame")
    return selection
