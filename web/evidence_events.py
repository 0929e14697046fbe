"""What happens after an edit: its figures are worked out, and the table of all runs can be saved."""

from __future__ import annotations

from typing import Any

from gradio.events import Dependency

from web.handlers import Handlers
from web.scoring import SCORE_OUTPUTS
from web.wiring import DOWNLOAD, Wiring


def connect_runs(wiring: Wiring, parts: dict[str, Any], handlers: Handlers, *, edited: Dependency) -> None:
    """Measure what an edit came to, and save the table of runs.

    Args:
        wiring: the event table.
        parts: the components by name.
        handlers: answer the events.
        edited: the edit.
    """
    scores = handlers.scores
    wiring.connect(edited.then, scores.measure, takes=("token",), gives=SCORE_OUTPUTS, concurrency_limit=None)
    saved = wiring.connect(
        parts["runs_export"].click,
        scores.export,
        takes=("token",),
        gives=("runs_file",),
        concurrency_limit=None,
    )
    saved.success(None, parts["runs_file"], None, js=DOWNLOAD, api_visibility="private")
