"""What answers each event of the page.

One function a part of the page; `connect_page` makes the handlers and calls them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import gradio as gr
from gradio.events import Dependency, api

from web.boards import BOARD_OUTPUTS, Boards
from web.components import Example
from web.device import DeviceQueue
from web.editing import EDIT_OUTPUTS, SHOWN_AGAIN, Edits, refusal_of
from web.endpoints import Endpoints
from web.form import EDIT_FIELDS, FORM_FIELDS, PRESET_OUTPUTS, REFINEMENT_FIELDS
from web.mask_exchange import EXPORT_OUTPUTS, MaskExchange
from web.models import Models, Segmenters
from web.opening import CLIP_OUTPUTS, SPAN_OUTPUTS, Clips
from web.pickers import OFFER_OUTPUTS, ModelPicker, SegmenterOffer, SegmenterPicker
from web.preflight import PREFLIGHT_OUTPUTS, PREFLIGHT_PARTS, PROPOSAL_OUTPUTS, Measurements
from web.runs import RUN_OUTPUTS
from web.scoring import Scores, SharedInstruments
from web.selection import Selections
from web.views import Update
from web.visitors import VisitorStore
from web.wiring import DOWNLOAD, Wiring

LENT_AT_ONCE = 8  # Edits that may run side by side where each borrows a GPU.
_SPAN = ("token", "start_frame", "num_frames")


def connect_page(
    page: gr.Blocks,
    wiring: Wiring,
    *,
    visitors: VisitorStore,
    selections: Selections,
    models: Models,
    segmenters: Segmenters,
    examples: Sequence[Example],
    instruments: SharedInstruments,
    sharper: Sequence[str] = (),
) -> None:
    """Connect everything on the page, and the two endpoints; within the page's own `with`."""
    # Lent GPUs have a line of their own.
    device = DeviceQueue(max_waiting=models.limits.max_queue, at_once=LENT_AT_ONCE if models.are_lent else 1)
    first = segmenters.first
    clips = Clips(visitors=visitors, models=models, segmenter=first, examples=examples)
    edits = Edits(visitors=visitors, device=device, models=models)
    measurements = Measurements(visitors=visitors, device=device, models=models)
    boards = Boards(visitors=visitors, device=device, models=models, instruments=instruments)
    scores = Scores(visitors=visitors, instruments=instruments)
    answering = SegmenterPicker(visitors=visitors, segmenters=segmenters)
    editing = ModelPicker(visitors=visitors, models=models, clips=clips)

    arrived = connect_clips(page, wiring, clips)
    connect_selection(wiring, selections)
    connect_mask_files(wiring, selections, MaskExchange(visitors=visitors))
    connect_pickers(wiring, arrived, answering, editing, selections)
    offer = SegmenterOffer(visitors=visitors, segmenters=segmenters, picker=answering, names=sharper)
    connect_offer(wiring, arrived, offer, selections)
    is_busy = partial(offer_stop, visitors)
    edited = connect_edit(wiring, edits, is_busy)
    wiring.connect_end(edited, editing.go_back, takes=("token",), gives=editing.outputs)
    connect_runs(wiring, edited, edits, scores)
    connect_preflight(wiring, measurements, clips, is_busy)
    if models.are_lent:
        connect_loan(wiring, measurements)
    connect_board(wiring, boards, edits, is_busy)
    endpoints = Endpoints(models=models, segmenter=first, device=device)
    api(endpoints.segment, api_name="segment", concurrency_limit=2)
    api(endpoints.edit_video, api_name="edit_video", concurrency_limit=None)


def offer_stop(visitors: VisitorStore, button: str, *, token: str) -> Update:
    """Show a Stop button while the visitor has something to stop."""
    return {button: gr.Button(visible=visitors.get(token).is_busy)}


Settle = Callable[..., Update]
"""`offer_stop` of the visitors of this page: takes the name of the button and the token."""


def connect_clips(page: gr.Blocks, wiring: Wiring, clips: Clips) -> Dependency:
    """Arrivals, departures, and opening a clip; gives the arrival."""
    token = wiring["token"]
    arrived: Dependency = page.load(
        clips.arrive, None, token, api_visibility="private", show_progress="hidden"
    )
    page.unload(clips.leave)
    wiring.connect(arrived.then, clips.greet, takes=("token", "example"), gives=CLIP_OUTPUTS)
    for event, handler, name in (
        (wiring["upload"].upload, clips.open_upload, "upload"),
        (wiring["example"].select, clips.open_example, "example"),
    ):
        wiring.connect(event, handler, takes=(*_SPAN, name), gives=CLIP_OUTPUTS)
    for event in (wiring["start_frame"].submit, wiring["num_frames"].release):
        wiring.connect(event, clips.reopen, takes=_SPAN, gives=CLIP_OUTPUTS)
    wiring.connect(wiring["span"].select, clips.choose_span, takes=("token", "span"), gives=SPAN_OUTPUTS)
    return arrived


def connect_selection(wiring: Wiring, selections: Selections) -> None:
    """Following through the clip and refining the outline; clicks go past the queue, see `click_canvas`."""
    followed = wiring.connect(
        wiring["canvas"].play,
        selections.propagate,
        takes=("token",),
        gives=("canvas",),
        concurrency_limit=2,
        is_long=True,
    )
    wiring.connect_end(followed, selections.settle, takes=("token",), gives=("canvas",), queue=False)
    for name in REFINEMENT_FIELDS:
        wiring.connect(
            wiring[name].input,
            selections.refine,
            takes=("token", *REFINEMENT_FIELDS),
            gives=("canvas",),
            queue=False,
            trigger_mode="always_last",
        )


def connect_mask_files(wiring: Wiring, selections: Selections, exchange: MaskExchange) -> None:
    """Import and export of masks."""
    imported = wiring.connect(
        wiring["mask_upload"].upload,
        exchange.bring_in,
        takes=("token", "mask_upload"),
        concurrency_limit=2,
        is_long=True,
    )
    exported = wiring.connect(
        wiring["mask_export"].click,
        exchange.take_out,
        takes=("token", "mask_kind"),
        gives=EXPORT_OUTPUTS,
        concurrency_limit=2,
        is_long=True,
    )
    exported.success(None, wiring["mask_file"], None, js=DOWNLOAD, api_visibility="private")
    for ended in (imported, exported):
        wiring.connect_end(ended, selections.settle, takes=("token",), gives=("canvas",), queue=False)


def connect_pickers(
    wiring: Wiring,
    arrived: Dependency,
    answering: SegmenterPicker,
    editing: ModelPicker,
    selections: Selections,
) -> None:
    """The lists of segmenters and models, and what a preset sets."""
    for picker in (answering, editing):
        kind = picker.kind
        wiring.connect(arrived.then, picker.show, takes=("token",), gives=picker.list_outputs)
        changed = wiring.connect(wiring[kind].select, picker.use, takes=("token", kind), gives=picker.outputs)
        wiring.connect(wiring[kind].stop, picker.stop, takes=("token",), queue=False)
        if picker is answering:
            wiring.connect_end(changed, selections.settle, takes=("token",), gives=("canvas",), queue=False)
    for event in (wiring["preset"].input, wiring["source_prompt"].change, wiring["target_prompt"].change):
        wiring.connect(
            event,
            editing.preset,
            takes=("token", "preset", "source_prompt", "target_prompt", "mask_grow"),
            gives=(*PRESET_OUTPUTS, "preset_note"),
            queue=False,
        )


def connect_offer(wiring: Wiring, arrived: Dependency, offer: SegmenterOffer, selections: Selections) -> None:
    """The offer of a sharper segmenter beside the first mask."""
    wiring.connect(arrived.then, offer.show, takes=("token",), gives=("offer",))
    changed = wiring.connect(wiring["offer"].click, offer.accept, takes=("token",), gives=OFFER_OUTPUTS)
    wiring.connect_end(changed, selections.settle, takes=("token",), gives=("canvas",), queue=False)
    wiring.connect(wiring["offer_stop"].click, offer.stop, takes=("token",), queue=False)


def connect_edit(wiring: Wiring, edits: Edits, is_busy: Settle) -> Dependency:
    """The edit, its Stop and the suggested prompts; gives the edit."""
    for event in (wiring["stop"].click, wiring["canvas"].stop):
        wiring.connect(event, edits.stop, takes=("token",), queue=False)
    wiring["suggestions"].select(
        None, wiring["suggestions"], wiring["target_prompt"], js="(text) => text", api_visibility="private"
    )
    pressed = [wiring["edit"].click, wiring["target_prompt"].submit, wiring["source_prompt"].submit]
    return wiring.connect_job(
        partial(gr.on, pressed),
        edits.run,
        settle=is_busy,
        stop="stop",
        takes=EDIT_FIELDS,
        gives=EDIT_OUTPUTS,
        refused=refusal_of,
    )


def connect_runs(wiring: Wiring, edited: Dependency, edits: Edits, scores: Scores) -> None:
    """Measure what an edit came to, show an earlier one again, and save the table of runs."""
    wiring.connect_end(edited, scores.measure, takes=("token", "judge"), gives=RUN_OUTPUTS)
    wiring.connect(wiring["runs"].select, edits.show_again, takes=("token", "runs"), gives=SHOWN_AGAIN)
    saved = wiring.connect(wiring["runs_export"].click, scores.export, takes=("token",), gives=("runs_file",))
    saved.success(None, wiring["runs_file"], None, js=DOWNLOAD, api_visibility="private")


def connect_preflight(wiring: Wiring, measurements: Measurements, clips: Clips, is_busy: Settle) -> None:
    """The question whether an edit fits, and taking what was proposed."""
    wiring.connect_job(
        wiring["preflight_check"].click,
        measurements.run,
        settle=is_busy,
        stop="stop",
        takes=("token", *FORM_FIELDS),
        gives=PREFLIGHT_OUTPUTS,
    )
    accepted = wiring.connect(
        wiring["preflight_use"].click, measurements.accept, takes=("token",), gives=PROPOSAL_OUTPUTS
    )
    wiring.connect(accepted.then, clips.reopen, takes=_SPAN, gives=CLIP_OUTPUTS)


def connect_loan(wiring: Wiring, measurements: Measurements) -> None:
    """Say what the edit would borrow, before it does: whenever the form or the clip changes."""
    takes = ("token", "num_frames", *FORM_FIELDS)
    # Opening a clip empties the verdict.
    for name in ("num_optimization_steps", "num_frames", "resolution_scale", "preflight"):
        wiring.connect(
            wiring[name].change, measurements.foretell, takes=takes, gives=PREFLIGHT_PARTS, queue=False
        )


def connect_board(wiring: Wiring, boards: Boards, edits: Edits, is_busy: Settle) -> None:
    """Run the ablation, and stop it."""
    wiring.connect_job(
        wiring["board_run"].click,
        boards.run,
        settle=is_busy,
        stop="board_stop",
        takes=(*EDIT_FIELDS, "judge"),
        gives=BOARD_OUTPUTS,
    )
    wiring.connect(wiring["board_stop"].click, edits.stop, takes=("token",), queue=False)
