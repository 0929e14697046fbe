"""Clicks become a mask, and the mask is followed through the clip."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from segmentation import Selection, SelectionError, describe_problem, paint_mask
from web.encoding import MASK_COLOUR, encode_frame, encode_overlay
from web.failures import message_of
from web.views import player_view
from web.visitors import Clip, Visitor, VisitorStore
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
            yield from follow(visitor, clip, stop)
        if visitor.masks is not None:
            caption = _followed_caption(visitor.masks)
            frames = [_paint(clip, index, mask) for index, mask in enumerate(visitor.masks)]
            yield {"player": player_view(clip, stage="mask", frames=frames, caption=caption)}

    def _segment(self, payload: Any) -> dict[str, Any]:
        if not isinstance(payload, Mapping):
            raise SelectionError("the canvas sent no selection; reload the page")
        visitor = self._visitors.get(payload.get("token"))
        clip = require_clip(visitor)
        if payload.get("clip") != clip.number:
            raise SelectionError("another clip was opened meanwhile; click on the new one")
        selection = _read_selection(payload.get("selection"))
        if selection.is_empty:
            visitor.select(selection)
            return {"overlay": None, "share": 0.0, "problem": None}
        mask = clip.session.mask_at(selection)
        visitor.select(selection)
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


def follow(visitor: Visitor, clip: Clip, stop: threading.Event) -> Iterator[Update]:
    """Propagate the visitor's selection; leaves the masks with the visitor unless it is stopped or outdated.

    Args:
        visitor: whose selection it is.
        clip: that was selected on.
        stop: checked after every frame.

    Yields:
        Updates of the player.
    """
    selection = visitor.selection
    masks = np.zeros(clip.video.frames.shape[:3], bool)
    frames = list(clip.source_uris)
    for done, (index, mask) in enumerate(clip.session.propagate(selection), start=1):
        masks[index] = mask
        frames[index] = _paint(clip, index, mask)
        caption = f"Following the object: frame {done} of {len(frames)}."
        progress = done / len(frames)
        yield {
            "player": player_view(
                clip, stage="mask", frames=frames, caption=caption, progress=progress, show=index
            )
        }
        if stop.is_set():
            break
    else:
        if visitor.selection is selection and visitor.clip is clip:
            visitor.masks = masks
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
