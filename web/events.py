"""What happens on the events of the drawers: choosing model and segmenter, measuring, masks in and out.

All that answers the events of one page, made together because it shares visitors and device.

What happens around edits: their figures, the table of all runs, and the ablation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradio.events import Dependency

from web.boards import BOARD_OUTPUTS, Boards
from web.components import Example
from web.device import DeviceQueue
from web.editing import Edits
from web.endpoints import Endpoints
from web.form import EDIT_FIELDS, FORM_FIELDS, REFINEMENT_FIELDS
from web.mask_exchange import EXPORT_OUTPUTS, MaskExchange
from web.models import Models
from web.opening import CLIP_OUTPUTS, Clips
from web.pickers import MODEL_OUTPUTS, PICKER_OUTPUTS, ModelPicker, SegmenterPicker, Segmenters
from web.preflight import PREFLIGHT_OUTPUTS, PROPOSAL_OUTPUTS, Measurements
from web.scoring import SCORE_OUTPUTS, Scores, SharedInstruments
from web.selection import Selections
from web.visitors import VisitorStore
from web.wiring import DOWNLOAD, Wiring


class Handlers:
    """The handlers of a page; nothing is loaded by them.

    Args:
        models: that edit.
        segmenters: that answer clicks.
        examples: that may be opened by name.
        instruments: that measure results.
    """

    def __init__(
        self,
        *,
        models: Models,
        segmenters: Segmenters,
        examples: Sequence[Example],
        instruments: SharedInstruments,
    ) -> None:
        visitors, device, first = VisitorStore(), DeviceQueue(), segmenters.first
        self.visitors = visitors
        self.clips = Clips(visitors=visitors, models=models, segmenter=first, examples=examples)
        self.selections = Selections(visitors=visitors)
        self.edits = Edits(visitors=visitors, device=device, models=models)
        self.scores = Scores(visitors=visitors, instruments=instruments)
        self.boards = Boards(visitors=visitors, device=device, models=models, instruments=instruments)
        self.measurements = Measurements(visitors=visitors, device=device, models=models)
        self.endpoints = Endpoints(editor=models.first, segmenter=first, device=device)
        self.segmenter_picker = SegmenterPicker(visitors=visitors, segmenters=segmenters)
        self.model_picker = ModelPicker(visitors=visitors, models=models, clips=self.clips)
        self.exchange = MaskExchange(visitors=visitors)


_LIGHT = {"concurrency_limit": None}


def connect_segmenters(wiring: Wiring, parts: dict[str, Any], handlers: Handlers) -> None:
    """The list of segmenters."""
    picker, part = handlers.segmenter_picker, parts["segmenter"]
    changed = wiring.connect(
        part.select, picker.use, takes=("token", "segmenter"), gives=PICKER_OUTPUTS, **_LIGHT
    )
    part.stop(picker.stop, parts["token"], None, queue=False, api_visibility="private")
    settle = handlers.selections.settle
    wiring.connect_end(changed, settle, takes=("token",), gives=("canvas",), queue=False)


def connect_models(wiring: Wiring, parts: dict[str, Any], handlers: Handlers) -> None:
    """The list of models, and the measurement before an edit."""
    picker, measurements, part = handlers.model_picker, handlers.measurements, parts["model"]
    wiring.connect(part.select, picker.use, takes=("token", "model"), gives=MODEL_OUTPUTS, **_LIGHT)
    part.stop(picker.stop, parts["token"], None, queue=False, api_visibility="private")
    wiring.connect_job(
        parts["preflight_check"].click,
        measurements.run,
        settle=handlers.edits.settle,
        stop="stop",
        takes=("token", *FORM_FIELDS, *REFINEMENT_FIELDS),
        gives=PREFLIGHT_OUTPUTS,
    )
    accepted = wiring.connect(
        parts["preflight_use"].click, measurements.accept, takes=("token",), gives=PROPOSAL_OUTPUTS
    )
    span = ("token", "start_frame", "num_frames")
    wiring.connect(accepted.then, handlers.clips.reopen, takes=span, gives=CLIP_OUTPUTS, **_LIGHT)


def connect_mask_files(wiring: Wiring, parts: dict[str, Any], handlers: Handlers) -> None:
    """Import and export of masks."""
    imported = wiring.connect(
        parts["mask_upload"].upload,
        handlers.exchange.bring_in,
        takes=("token", "mask_upload"),
        concurrency_limit=2,
    )
    exported = wiring.connect(
        parts["mask_export"].click,
        handlers.exchange.take_out,
        takes=("token", "mask_kind"),
        gives=EXPORT_OUTPUTS,
        concurrency_limit=2,
    )
    exported.success(None, parts["mask_file"], None, js=DOWNLOAD, api_visibility="private")
    for ended in (imported, exported):
        settle = handlers.selections.settle
        wiring.connect_end(ended, settle, takes=("token",), gives=("canvas",), queue=False)


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
