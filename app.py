"""The page: which components there are, what happens on which event, and how it is served.

Run ``python app.py`` and open the address it prints. Everything that is more than layout or wiring
lives in `web`.
"""

from __future__ import annotations

import os

# Every Gradio Space has the package; only this variable tells that GPUs are lent.
if os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):
    import spaces  # before torch
else:
    spaces = None

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import api

from dreammotion_core import DreamMotionError, LoadOptions
from segmentation import SegmentationError, load_segmenter
from web import (
    CLIP_OUTPUTS,
    CSS_FILES,
    EDIT_FIELDS,
    EDIT_OUTPUTS,
    LIST_OUTPUTS,
    PICKER_OUTPUTS,
    PRESET_OUTPUTS,
    REFINEMENT_FIELDS,
    Example,
    Handlers,
    HostedEditor,
    LazyEditor,
    Models,
    Segmenters,
    SharedInstruments,
    Wiring,
    advanced_drawer,
    clip_row,
    connect_board,
    connect_mask_files,
    connect_models,
    connect_runs,
    connect_segmenters,
    evidence_part,
    load_examples,
    masthead,
    page_theme,
    prompt_part,
    result_part,
    runs_on,
    selection_part,
)

EXAMPLES_FOLDER = Path(__file__).parent / "assets" / "examples"


def build_app(
    models: Models,
    segmenters: Segmenters,
    examples: Sequence[Example] = (),
    instruments: SharedInstruments | None = None,
) -> gr.Blocks:
    """The whole page over models, segmenters, some examples and what measures; nothing is loaded by it."""
    instruments = instruments or SharedInstruments()
    handlers = Handlers(models=models, segmenters=segmenters, examples=examples, instruments=instruments)
    spec, endpoints = models.first.spec, handlers.endpoints
    page: gr.Blocks = gr.Blocks(title="DreamMotion", analytics_enabled=False, delete_cache=(600, 3600))
    with page:
        token = gr.State(None)
        parts: dict[str, Component] = {"token": token, "masthead": masthead(spec), **clip_row(examples)}
        with gr.Row(equal_height=False, elem_classes="dm-bench"):
            with gr.Column(min_width=320):
                parts |= (
                    selection_part(handlers.selections.answer)
                    | prompt_part()
                    | advanced_drawer(spec, judges=instruments.judges)
                )
            with gr.Column(min_width=320, elem_classes="dm-screen"):
                parts |= result_part()
        parts |= evidence_part()
        wiring = Wiring(parts)
        _connect_clips(page, wiring, parts, handlers)
        _connect_selection(wiring, parts, handlers)
        _connect_edit(wiring, parts, handlers)
        connect_segmenters(wiring, parts, handlers)
        connect_models(wiring, parts, handlers)
        connect_mask_files(wiring, parts, handlers)
        connect_board(wiring, parts, handlers)
        api(endpoints.segment, api_name="segment", concurrency_limit=2)
        api(endpoints.edit_video, api_name="edit_video", concurrency_limit=None)
    return page


def _connect_clips(page: gr.Blocks, wiring: Wiring, parts: dict[str, Any], handlers: Handlers) -> None:
    clips, span = handlers.clips, ("start_frame", "num_frames")
    light = {"concurrency_limit": None}
    arrived = page.load(clips.arrive, None, parts["token"], api_visibility="private", show_progress="hidden")
    wiring.connect(arrived.then, clips.greet, takes=("token", "example"), gives=CLIP_OUTPUTS, **light)
    for show, gives in (
        (handlers.segmenter_picker.show, PICKER_OUTPUTS),
        (handlers.model_picker.show, LIST_OUTPUTS),
    ):
        wiring.connect(arrived.then, show, takes=("token",), gives=gives, **light)
    page.unload(clips.leave)
    for event, handler, name in (
        (parts["upload"].upload, clips.open_upload, "upload"),
        (parts["example"].select, clips.open_example, "example"),
    ):
        wiring.connect(event, handler, takes=("token", name, *span), gives=CLIP_OUTPUTS, **light)
    for part in (parts["start_frame"].submit, parts["num_frames"].release):
        wiring.connect(part, clips.reopen, takes=("token", *span), gives=CLIP_OUTPUTS, **light)


def _connect_selection(wiring: Wiring, parts: dict[str, Any], handlers: Handlers) -> None:
    selections = handlers.selections
    followed = wiring.connect(
        parts["canvas"].play, selections.propagate, takes=("token",), gives=("canvas",), concurrency_limit=2
    )
    wiring.connect_end(followed, selections.settle, takes=("token",), gives=("canvas",), queue=False)
    for name in REFINEMENT_FIELDS:
        wiring.connect(
            parts[name].input,
            selections.refine,
            takes=("token", *REFINEMENT_FIELDS),
            gives=("canvas",),
            queue=False,
            trigger_mode="always_last",
        )


def _connect_edit(wiring: Wiring, parts: dict[str, Any], handlers: Handlers) -> None:
    edits = handlers.edits
    edited = wiring.connect_job(
        parts["edit"].click,
        edits.run,
        settle=edits.settle,
        stop="stop",
        takes=EDIT_FIELDS,
        gives=EDIT_OUTPUTS,
    )
    connect_runs(wiring, parts, handlers, edited=edited)
    for stop in (parts["stop"].click, parts["canvas"].stop):
        stop(edits.stop, parts["token"], None, queue=False, api_visibility="private")
    wiring.connect(
        parts["preset"].input,
        handlers.model_picker.preset,
        takes=("token", "preset"),
        gives=PRESET_OUTPUTS,
        queue=False,
    )
    parts["suggestions"].input(
        None, parts["suggestions"], parts["target_prompt"], js="(text) => text", api_visibility="private"
    )


def launch_options() -> dict[str, Any]:
    """What `launch` needs besides the address."""
    return {
        "theme": page_theme(),
        "css_paths": list(CSS_FILES),
        "run_history": False,
        "max_file_size": "100mb",
        "state_session_capacity": 200,
        "footer_links": ["api"],
    }


def _models(model: str, device: str, options: LoadOptions | None) -> Models:
    if spaces is None:
        make = partial(LazyEditor, device=device, options=options)
        return Models(make(model), make=make, device=device, saves_memory=options is not None)
    # Where GPUs are shared, the work runs in a forked process: it needs weights that are loaded before.
    editor = LazyEditor(model, device="cuda")
    editor.pipeline()
    return Models(HostedEditor(editor, lend=spaces.GPU), device="cuda")


def _segmenters(name: str, checkpoint: Path | None, device: str) -> Segmenters:
    # Where GPUs are shared, none is there while clicks are answered.
    load = partial(load_segmenter, device="cpu" if spaces is not None else device)
    return Segmenters(load(name, checkpoint=checkpoint), load=load)


def _device(named: str | None) -> str:
    """The named device; where none is named, the GPU that a Space has to itself, if it can be used."""
    has_own_gpu = spaces is None and "SPACE_ID" in os.environ and runs_on("cuda")
    return named or ("cuda" if has_own_gpu else "cpu")


def main() -> None:
    """Serve the page."""
    parser = argparse.ArgumentParser(description="Edit the appearance of a clicked object in a video.")
    parser.add_argument(
        "--model", default="toybox", help="name, hub id or folder of the model (default: toybox)"
    )
    parser.add_argument(
        "--segmenter", default="embedded", help="what answers clicks at first (default: embedded)"
    )
    parser.add_argument("--checkpoint", type=Path, default=None, help="its weights, instead of the download")
    parser.add_argument(
        "--judge",
        action="append",
        default=[],
        metavar="MODEL",
        help="what judges words and frames: a folder with a CLIPModel, or owner/name@revision on the hub; "
        "may be repeated, visitors choose (toybox-clip is always there)",
    )
    parser.add_argument(
        "--device",
        default=None,
        help="torch device, for example cuda (default: cpu; on a Hugging Face Space its GPU, if it has one)",
    )
    parser.add_argument(
        "--low-memory",
        action="store_true",
        help="for graphics cards of 8 to 16 GB: slower, one part of the model at a time",
    )
    parser.add_argument("--host", default=None, help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    options = parser.parse_args()
    device = _device(options.device)
    try:
        models = _models(options.model, device, LoadOptions.low_memory() if options.low_memory else None)
        segmenters = _segmenters(options.segmenter, options.checkpoint, device)
        instruments = SharedInstruments(options.judge)
    except (DreamMotionError, SegmentationError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    page = build_app(models, segmenters, load_examples(EXAMPLES_FOLDER), instruments)
    page.queue(max_size=32, default_concurrency_limit=1)
    page.launch(server_name=options.host, server_port=options.port, **launch_options())


if __name__ == "__main__":
    main()
