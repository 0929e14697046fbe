"""Turns failures into sentences for the visitor. Nobody sees a traceback, and none is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

import gradio as gr

from dreammotion_core import DreamMotionError, EditConfig
from segmentation import SegmentationError
from web.device import QueueFullError
from web.visitors import VisitorGoneError

EXPECTED = (DreamMotionError, SegmentationError, QueueFullError, VisitorGoneError)
"""Errors whose message is written for people."""

UNEXPECTED = "Something went wrong on our side. Nothing of yours was lost; please try again."

_SETTINGS = {field.name for field in fields(EditConfig)}

_logger = logging.getLogger(__name__)


def message_of(error: Exception) -> str:
    """What to tell the visitor. Unexpected errors are logged with their traceback."""
    if isinstance(error, EXPECTED):
        text = str(error)
        name = text.partition(" ")[0]
        # Messages about a setting begin with its name in the library.
        if name in _SETTINGS:
            text = text.replace(name, name.replace("_", " "), 1)
        # Names of files are told as they are.
        elif not name.isalpha():
            return text
        return text[:1].upper() + text[1:]
    _logger.error("a handler of the page failed", exc_info=error)
    return UNEXPECTED


@contextmanager
def told_to_visitor() -> Iterator[None]:
    """Within it, every exception becomes the toast that Gradio shows.

    Raises:
        gr.Error: instead of any other exception.
    """
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(message_of(error), print_exception=False) from error
