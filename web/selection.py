"""Answers the canvas: clicks and other commands change the objects, and following makes their masks."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from segmentation import Box, Click, Project, Prompt, SelectionError, begin_prompt
from web.clip import Clip
from web.form import read_refinement
from web.selection_views import bench_view, following_view, next_doubtful, settled_view
from web.views import Update
from web.visitors import Visitor, VisitorStore
from web.wiring import message_of

MAX_CLICKS = 64
MAX_NAME = 40
MAX_STROKE_POINTS = 500
_RELOAD = "the page sent something that cannot be read; reload it"


def apply_commands(clip: Clip, commands: Any) -> None:
    """Carry out ``{"do": name, ...}`` commands in order; those before a refused one count.

    Raises `SelectionError` if a command is unknown or does not fit the clip.
    """
    if not isinstance(commands, list):
        raise SelectionError(_RELOAD)
    for command in commands:
        try:
            with clip.changing:
                _HANDLERS[command["do"]](clip, command)
        except (KeyError, TypeError) as error:
            raise SelectionError(_RELOAD) from error


def _click(clip: Clip, command: Mapping[str, Any]) -> None:
    prompt = _begun(clip, command)
    if len(prompt.selection.clicks) >= MAX_CLICKS:
        raise SelectionError(f"this frame has {MAX_CLICKS} clicks already; undo some and click again")
    _say(clip, prompt.with_click(Click(command["x"], command["y"], command["is_positive"])))


def _box(clip: Clip, command: Mapping[str, Any]) -> None:
    box = Box(*(command[edge] for edge in ("x0", "y0", "x1", "y1")))
    _say(clip, _begun(clip, command).with_box(box))


def _brush(clip: Clip, command: Mapping[str, Any]) -> None:
    """Takes points, [[x, y], ...] in pixels, radius in pixels, and is_positive: whether the stroke adds."""
    try:
        points, radius = np.asarray(command["points"], np.float64), float(command["radius"])
    except ValueError as error:
        raise SelectionError(_RELOAD) from error
    shape = clip.video.frames.shape[1:3]
    is_line = points.ndim == 2 and points.shape[1] == 2 and 1 <= len(points) <= MAX_STROKE_POINTS
    if not is_line or not np.isfinite(points).all() or not 0 < radius <= max(shape):
        raise SelectionError(_RELOAD)
    stroke = np.zeros(shape, np.uint8)
    # Beyond the frame a stroke is cut off; OpenCV takes no numbers beyond 32 bits.
    line = np.clip(points, -max(shape), 2 * max(shape)).round().astype(np.int32)
    cv2.polylines(stroke, [line], False, 1, thickness=max(1, round(2 * radius)))
    cv2.circle(stroke, [int(value) for value in line[0]], round(radius), 1, thickness=-1)
    frame, number = _begun(clip, command).frame_index, clip.picked.number
    said = clip.picked.prompt_on(frame)
    if said is not None and not said.says_absent:
        before = clip.tracks.preview(said)
    else:
        before = clip.tracks.mask(clip.project, number=number, frame_index=frame)
    after = before | (stroke > 0) if command["is_positive"] else before & (stroke == 0)
    _say(clip, Prompt.of_mask(frame, after))


def _absent(clip: Clip, command: Mapping[str, Any]) -> None:
    nothing = np.zeros(clip.video.frames.shape[1:3], np.bool_)
    _say(clip, Prompt.of_mask(_begun(clip, command).frame_index, nothing))


def _clear(clip: Clip, command: Mapping[str, Any]) -> None:
    number, frame = clip.picked.number, _begun(clip, command).frame_index
    if clip.picked.prompt_on(frame) is not None:
        clip.change(lambda project: project.without_prompt(number, frame))


def _undo(clip: Clip, _command: Mapping[str, Any]) -> None:
    clip.history = clip.history.undo()


def _redo(clip: Clip, _command: Mapping[str, Any]) -> None:
    clip.history = clip.history.redo()


def _add(clip: Clip, _command: Mapping[str, Any]) -> None:
    clip.change(Project.add_object)
    clip.pick(clip.project.objects[-1].number)


def _pick(clip: Clip, command: Mapping[str, Any]) -> None:
    clip.pick(command["object"])


def _remove(clip: Clip, command: Mapping[str, Any]) -> None:
    """Takes object. A new one takes the place of the last one."""

    def removed(project: Project) -> Project:
        rest = project.remove_object(command["object"])
        return rest if rest.objects else rest.add_object()

    clip.change(removed)


def _style(clip: Clip, command: Mapping[str, Any]) -> None:
    """Takes object, name, and colour as ``#rrggbb``."""
    name, colour = command["name"], _colour(command["colour"])
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise SelectionError(f"a name has at most {MAX_NAME} characters; choose a shorter one")
    clip.change(lambda project: project.restyled(command["object"], name=name, colour=colour))


def _choose(clip: Clip, command: Mapping[str, Any]) -> None:
    """Takes object, and value: whether the edit changes it."""
    number = frozenset({clip.project.object(command["object"]).number})
    clip.left_alone = clip.left_alone - number if command["value"] else clip.left_alone | number


_HANDLERS: dict[Any, Callable[[Clip, Mapping[str, Any]], None]] = {
    "click": _click,
    "box": _box,
    "brush": _brush,
    "absent": _absent,
    "clear": _clear,
    "undo": _undo,
    "redo": _redo,
    "add": _add,
    "pick": _pick,
    "remove": _remove,
    "style": _style,
    "choose": _choose,
}


def _begun(clip: Clip, command: Mapping[str, Any]) -> Prompt:
    return begin_prompt(
        clip.tracks, project=clip.project, number=clip.picked.number, frame_index=command["frame"]
    )


def _say(clip: Clip, prompt: Prompt) -> None:
    number = clip.picked.number
    clip.change(lambda project: project.with_prompt(number, prompt))


def _colour(text: Any) -> tuple[int, int, int]:
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except (AttributeError, ValueError) as error:
        raise SelectionError(f"the colour is {text!r}; pass one like #8b5cf6") from error
    return red, green, blue


MOST_OVERLAYS = 32
_serials = itertools.count(1)


@dataclass(kw_only=True, eq=False)
class Selections:
    """Answers what the canvas asks, and follows objects."""

    visitors: VisitorStore

    def answer(self, payload: Any) -> dict[str, Any]:
        """What the canvas calls to change or to see something.

        The payload is ``{"token", "clip", "frame", "commands", "overlays", "seek"}``: the frame that is
        shown, what to do (see `apply_commands`), more frames whose overlays are wanted, and whether to go on
        to the next doubtful frame. Gives `bench_view`, with an ``"error"`` if something was refused; or the
        error alone, because an exception would reach the canvas as an answer without content.
        """
        try:
            return self._answer(payload)
        except Exception as error:
            return {"error": message_of(error)}

    def propagate(self, *, token: str) -> Iterator[Update]:
        """Follow the objects through the clip and show every mask as it becomes known."""
        visitor = self.visitors.get(token)
        clip = require_clip(visitor)
        with visitor.job() as stop:
            yield from follow(clip, stop)

    def refine(self, *, token: str, **form: Any) -> Update:
        """Refine the masks as the form says, and show them."""
        clip = require_clip(self.visitors.get(token))
        clip.refinement = read_refinement(form)
        is_following = clip.following.locked()
        return {"canvas": settled_view(clip, serial=next(_serials), is_following=is_following)}

    def settle(self, *, token: str) -> Update:
        """Let the canvas show the masks after any change."""
        clip = self.visitors.get(token).clip
        if clip is None:
            return {}
        return {"canvas": settled_view(clip, serial=next(_serials))}

    def _answer(self, payload: Any) -> dict[str, Any]:
        if not isinstance(payload, Mapping):
            raise SelectionError("the canvas sent no selection; reload the page")
        clip = require_clip(self.visitors.get(payload.get("token")))
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
    """The clip that a visitor has open; without one, a `SelectionError`."""
    if visitor.clip is None:
        raise SelectionError("no clip is open; choose an example or upload a video first")
    return visitor.clip


def follow(clip: Clip, stop: threading.Event) -> Iterator[Update]:
    """Make the masks that the objects still lack, until it is stopped or the objects change.

    Yields updates of the canvas. Raises `SelectionError` if nothing is selected.
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
    is_list = isinstance(wanted, list) and len(wanted) <= MOST_OVERLAYS
    if not is_list or any(type(frame) is not int for frame in wanted):
        raise SelectionError(
            f"pass a list of at most {MOST_OVERLAYS} whole numbers, the frames whose overlays are wanted"
        )
    return set(wanted)


def _apply(clip: Clip, commands: Any) -> None:
    try:
        apply_commands(clip, commands)
    finally:
        # Masks of prompts are made here, so that showing them costs nothing.
        for tracked in clip.project.objects:
            missing = clip.tracks.missing_frames(clip.project, number=tracked.number)
            for prompt in tracked.prompts:
                if prompt.frame_index in missing:
                    clip.tracks.preview(prompt)
