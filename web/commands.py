"""What a visitor may do to the objects of a clip, as the canvas sends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from segmentation import Box, Click, Project, Prompt, SelectionError, begin_prompt
from web.clip import Clip

MAX_CLICKS = 64
MAX_NAME = 40
_RELOAD = "the page sent something that cannot be read; reload it"


def apply_commands(clip: Clip, commands: Any) -> None:
    """Carry out commands in order; those before one that is refused count.

    Args:
        clip: with the objects.
        commands: a list of ``{"do": name, ...}``; see the functions below for what each takes. Clicks, boxes
            and the like are about the picked object.

    Raises:
        SelectionError: if a command is unknown or does not fit the clip.
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
    """Takes frame, x, y, is_positive."""
    prompt = _begun(clip, command)
    if len(prompt.selection.clicks) >= MAX_CLICKS:
        raise SelectionError(f"this frame has {MAX_CLICKS} clicks already; undo some and click again")
    _say(clip, prompt.with_click(Click(command["x"], command["y"], command["is_positive"])))


def _box(clip: Clip, command: Mapping[str, Any]) -> None:
    """Takes frame, x0, y0, x1, y1."""
    box = Box(*(command[edge] for edge in ("x0", "y0", "x1", "y1")))
    _say(clip, _begun(clip, command).with_box(box))


def _absent(clip: Clip, command: Mapping[str, Any]) -> None:
    """Takes frame."""
    nothing = np.zeros(clip.video.frames.shape[1:3], np.bool_)
    _say(clip, Prompt.of_mask(_begun(clip, command).frame_index, nothing))


def _clear(clip: Clip, command: Mapping[str, Any]) -> None:
    """Takes frame."""
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
    """Takes object."""
    clip.pick(command["object"])


def _remove(clip: Clip, command: Mapping[str, Any]) -> None:
    """Takes object. Where it was the last one, a new one takes its place."""

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
