"""Connects named components with handlers that know names only, and failures with words for visitors.

Handlers take keyword arguments and give ``{name: value}``. Nobody sees a traceback, and none is lost.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from dreammotion_core import DreamMotionError, EditConfig
from segmentation import SegmentationError
from web.device import QueueFullError
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
        **options: Any,
    ) -> Dependency:
        """Run a handler on an event; any number at a time, unless `options` of Gradio say otherwise.

        The handler, a function or generator, takes the components `takes` by keyword and gives updates of
        `gives`. `refused` says on the page, in place of a toast, what an expected error of a generator means.
        """
        defaults = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
        return event(
            self._adapt(handler, takes, refused),
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
        done = self.connect(event, handler, takes=takes, gives=gives, refused=refused)
        self.connect_end(done, partial(settle, stop), takes=("token",), gives=(stop,), queue=False)
        return done

    def _adapt(
        self,
        handler: Callable[..., Any],
        takes: Sequence[str],
        refused: Callable[[Exception], Update] | None,
    ) -> Callable[..., Any]:
        def call(*values: Any) -> Any:
            with told_to_visitor():
                return self._by_component(handler(**dict(zip(takes, values, strict=True))))

        def stream(*values: Any) -> Iterator[Any]:
            with told_to_visitor(), closing(handler(**dict(zip(takes, values, strict=True)))) as updates:
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
