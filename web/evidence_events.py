"""What happens around edits: their figures, the table of all runs, and the ablation."""

from __future__ import annotations

from typing import Any

from gradio.events import Dependency

from web.boards import BOARD_OUTPUTS
from web.handlers import Handlers
from web.scoring import SCORE_OUTPUTS
from web.form import EDIT_FIELDS
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
    wiring.connect_end(
        edited, scores.measure, takes=("token", "judge"), gives=SCORE_OUTPUTS, concurrency_limit=None
    )
    saved = wiring.connect(
        parts["runs_export"].click,
        scores.export,
        takes=("token",),
        gives=("runs_file",),
        concurrency_limit=None,
    )
    saved.success(None, parts["runs_file"], None, js=DOWNLOAD, api_visibility="private")


def connect_board(wiring: Wiring, parts: dict[str, Any], handlers: Handlers) -> None:
    """Run the ablation, and stop it."""
    boards = handlers.boards
    wiring.connect_job(
        parts["board_run"].click,
        boards.run,
        settle=boards.settle,
        stop="board_stop",
        takes=(*EDIT_FIELDS, "judge"),
        gives=BOARD_OUTPUTS,
    )
    parts["board_stop"].click(
        handlers.edits.stop, parts["token"], None, queue=False, api_visibility="private"
    )
