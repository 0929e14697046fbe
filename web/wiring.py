"""Connects named components with handlers that know names only, and failures with words for visitors.

Handlers take keyword arguments and give ``{name: value}``. Nobody sees a traceback, and none is lost.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from dreammotion_core import ConfigError, DreamMotionError, EditConfig
from segmentation import SegmentationError
from web.device import QueueFullError
from web.guard import long_job
from web.views import Update
from web.visitors import VisitorGoneError

EXPECTED = (DreamMotionError, SegmentationError, QueueFullError, VisitorGoneError)
"""Errors whose message is written for people."""
UNEXPECTED = "Something went wrong on our side. Nothing of yours was lost; please try again."
_FIELDS = {"start_frame": "The start frame", "num_frames": "The number of frames"}
"""What the page calls arguments that are no settings."""

_logger = logging.getLogger(__name__)


def message_of(error: Exception) -> str:
    """What to tell the visitor. Unexpected errors are logged with their traceback."""
    if isinstance(error, EXPECTED):
        text = str(error)
        name, blank, rest = text.partition(" ")
        # Messages about a setting begin with its name in the library.
        if setting := EditConfig.settings().get(name):
            return f"{setting.label}{blank}{rest}"
        if name in _FIELDS:
            return f"{_FIELDS[name]}{blank}{rest}"
        # Names of files are told as they are.
        if not name.isalpha():
            return text
        return text[:1].upper() + text[1:]
    _logger.error("a handler of the page failed", exc_info=error)
    return UNEXPECTED


@contextmanager
def told_to_visitor() -> Iterator[None]:
    """Within it, every exception becomes the `gr.Error` that Gradio shows as a toast."""
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(message_of(error), print_exception=False) from error


DOWNLOAD = """(file) => {
  if (!file?.url) return;
  Object.assign(document.createElement("a"), { href: file.url, download: file.orig_name ?? "" }).click();
}"""
"""JavaScript that saves the file of a hidden button."""


def read_value(component: Component, value: Any) -> Any:
    """What an event brings for a component, of the kind that it shows; ranges are the handler's.

    The guard has seen that a file is an upload of this page. Raises `ConfigError` for another kind.
    """
    label, wanted = getattr(component, "label", None) or "a field of the form", ""
    match component:
        case gr.UploadButton():
            return value["path"] if isinstance(value, Mapping) else None
        case gr.Textbox():
            value = "" if value is None else value
            wanted = "" if isinstance(value, str) else "text"
        case gr.Slider() | gr.Number():
            is_number = (
                isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            )
            wanted = "" if is_number else "a number"
        case gr.Checkbox():
            wanted = "" if isinstance(value, bool) else "true or false"
        case gr.Radio() | gr.Dropdown():
            wanted = "" if value is None or isinstance(value, str | int | float) else "one of the choices"
    if wanted:
        raise ConfigError(f"{label} is {str(value)[:40]!r}; enter {wanted}")
    return value


class Wiring:
    """Event table over named components."""

    def __init__(self, components: Mapping[str, Component]) -> None:
        self._components = components

    def __getitem__(self, name: str) -> Any:
        return self._components[name]

    def connect(
        self,
        event: Callable[..., Dependency],
        handler: Callable[..., Update | Iterator[Update]],
        *,
        takes: Sequence[str] = (),
        gives: Sequence[str] = (),
        refused: Callable[[Exception], Update] | None = None,
        is_long: bool = False,
        **options: Any,
    ) -> Dependency:
        """Run a handler on an event; any number at a time, unless `options` of Gradio say otherwise.

        The handler, a function or generator, takes the components `takes` by keyword and gives updates of
        `gives`. `refused` says on the page, in place of a toast, what an expected error of a generator means.
        `is_long` marks a `long_job`.
        """
        defaults: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        # Values are read here: Gradio's own reading fails without words, and with a traceback in the log.
        defaults |= {"concurrency_limit": None, "preprocess": False}
        adapted = self._adapt(handler, takes, refused)
        return event(
            long_job(adapted) if is_long else adapted,
            [self._components[name] for name in takes],
            [self._components[name] for name in gives],
            **(defaults | options),
        )

    def connect_end(self, over: Dependency, handler: Callable[..., Any], **options: Any) -> None:
        """Run a handler when an event is over, however it ended."""
        # `then` alone does not run after a failure.
        for event in (over.then, over.failure):
            self.connect(event, handler, **options)

    def connect_job(
        self,
        event: Callable[..., Dependency],
        handler: Callable[..., Iterator[Update]],
        *,
        settle: Callable[..., Update],
        stop: str,
        takes: Sequence[str],
        gives: Sequence[str],
        refused: Callable[[Exception], Update] | None = None,
    ) -> Dependency:
        """Run what takes long and can be stopped by the button `stop`.

        `settle` takes the name of the button and the token; it says, when the job is over, whether there is
        still one to stop.
        """
        done = self.connect(event, handler, takes=takes, gives=gives, refused=refused, is_long=True)
        self.connect_end(done, partial(settle, stop), takes=("token",), gives=(stop,), queue=False)
        return done

    def _adapt(
        self,
        handler: Callable[..., Any],
        takes: Sequence[str],
        refused: Callable[[Exception], Update] | None,
    ) -> Callable[..., Any]:
        def read(values: Sequence[Any]) -> dict[str, Any]:
            pairs = zip(takes, values, strict=True)
            return {name: read_value(self._components[name], value) for name, value in pairs}

        def call(*values: Any) -> Any:
            with told_to_visitor():
                return self._by_component(handler(**read(values)))

        def stream(*values: Any) -> Iterator[Any]:
            with told_to_visitor(), closing(handler(**read(values))) as updates:
                try:
                    for update in updates:
                        yield self._by_component(update)
                except EXPECTED as error:
                    if refused is None:
                        raise
                    yield self._by_component(refused(error))

        return stream if inspect.isgeneratorfunction(handler) else call

    def _by_component(self, update: Update) -> dict[Component, Any] | dict[str, Any]:
        # Gradio takes an empty dictionary for a value.
        return {self._components[name]: value for name, value in update.items()} or gr.skip()
