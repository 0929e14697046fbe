"""A server's handlers and the forms that visitors send, for the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dreammotion_core import (
    EditConfig,
)
from segmentation import load_segmenter
from web import Example, Models
from web.clip import Clip
from web.device import DeviceQueue
from web.editing import Edits
from web.editor import Editor
from web.form import (
    shown_settings,
)
from web.opening import Clips
from web.selection import Selections
from web.visitors import VisitorStore

SIDE = 64
ON_SQUARE = {"x": 12.0, "y": 24.0, "is_positive": True}
PROMPTS = {"source_prompt": "a red car", "target_prompt": "a blue car"}


def form(*, steps: Any = 3, **changes: Any) -> dict[str, Any]:
    """A form as the browser sends it."""
    shown = shown_settings(EditConfig(seed=7, preview_interval=1)) | {"num_optimization_steps": steps}
    return shown | {"preset": "fast", "mask_fill": "none", "mask_steady": 0, "mask_invert": False} | changes


def last(updates: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return list(updates)[-1]


class Page:
    """The handlers of one server, wired as the app wires them."""

    def __init__(self, editor: Editor, examples: list[Example]) -> None:
        segmenter, models = load_segmenter(), Models(editor)
        self.visitors, self.device = VisitorStore(), DeviceQueue()
        self.clips = Clips(visitors=self.visitors, models=models, segmenter=segmenter, examples=examples)
        self.selections = Selections(visitors=self.visitors)
        self.edits = Edits(visitors=self.visitors, device=self.device, models=models)

    def arrive(self) -> str:
        token = self.visitors.admit("session")
        self.clips.greet(token=token, example=None)
        return token

    def clip(self, token: str) -> Clip:
        clip = self.visitors.get(token).clip
        assert clip is not None
        return clip

    def do(self, token: str, /, *commands: Any, frame: int = 0, **changes: Any) -> dict[str, Any]:
        message = {"token": token, "clip": 1, "frame": frame, "commands": list(commands), "overlays": [frame]}
        return self.selections.answer(message | changes)

    def click(self, token: str, /, at: dict[str, Any] = ON_SQUARE, *, frame: int = 0) -> dict[str, Any]:
        return self.do(token, {"do": "click", "frame": frame} | at, frame=frame)
