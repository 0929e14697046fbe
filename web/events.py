"""What happens on the events of the drawers: choosing model and segmenter, measuring, masks in and out."""

from __future__ import annotations

from typing import Any

from web.handlers import Handlers
from web.mask_exchange import EXPORT_OUTPUTS
from web.preflight import PREFLIGHT_OUTPUTS, PROPOSAL_OUTPUTS
from web.model_picker import MODEL_OUTPUTS
from web.opening import CLIP_OUTPUTS
from web.pickers import PICKER_OUTPUTS
from web.form import FORM_FIELDS, REFINEMENT_FIELDS
from web.wiring import DOWNLOAD, Wiring

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
