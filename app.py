"""The page: which components there are, what happens on which event, and how it is served.

Run ``python app.py`` and open the address it prints. Everything that is more than layout or wiring
lives in `web`.
"""

from __future__ import annotations

try:
    import spaces  # before torch, where GPUs are shared
except ImportError:
    spaces = None

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import api

from dreammotion_core import DreamMotionError
from segmentation import SegmentationError, load_segmenter
from web import (
    CLIP_OUTPUTS,
    CSS_FILES,
    EDIT_OUTPUTS,
    EXPORT_OUTPUTS,
    FORM_FIELDS,
    PICKER_OUTPUTS,
    REFINEMENT_FIELDS,
    Clips,
    DeviceQueue,
    Editor,
    Edits,
    Endpoints,
    Example,
    HostedEditor,
    LazyEditor,
    MaskExchange,
    SegmenterPicker,
    Segmenters,
    Selections,
    VisitorStore,
    Wiring,
    advanced_drawer,
    clip_row,
    load_examples,
    masthead,
    page_theme,
    preset_fields,
    prompt_part,
    result_part,
    selection_part,
)

_DOWNLOAD = """(file) => {
  if (!file?.url) return;
  Object.assign(document.createElement("a"), { href: file.url, download: file.orig_name ?? "masks" }).click();
}"""

EXAMPLES_FOLDER = Path(__file__).parent / "assets" / "examples"


def build_app(editor: Editor, segmenters: Segmenters, examples: Sequence[Example] = ()) -> gr.Blocks:
    """The whole page over an editor, segmenters and some examples; nothing is loaded by it."""
    visitors, device = VisitorStore(), DeviceQueue()
    clips = Clips(visitors=visitors, editor=editor, segmenter=segmenters.first, examples=examples)
    selections = Selections(visitors=visitors)
    edits = Edits(visitors=visitors, device=device, editor=editor)
    endpoints = Endpoints(editor=editor, segmenter=segmenters.first, device=device)
    picker = SegmenterPicker(visitors=visitors, segmenters=segmenters)
    exchange = MaskExchange(visitors=visitors)
    page: gr.Blocks = gr.Blocks(title="DreamMotion", analytics_enabled=False, delete_cache=(600, 3600))
    with page:
        token = gr.State(None)
        masthead(editor.spec)
        parts: dict[str, Component] = {"token": token, **clip_row(examples)}
        with gr.Row(equal_height=False, elem_classes="dm-bench"):
            with gr.Column(min_width=320):
                parts |= selection_part(selections.answer) | prompt_part() | advanced_drawer(editor.spec)
            with gr.Column(min_width=320, elem_classes="dm-screen"):
                parts |= result_part()
        _connect(page, Wiring(parts), parts, clips, selections, edits, picker)
        _connect_mask_files(Wiring(parts), parts, exchange, selections)
        api(endpoints.segment, api_name="segment", concurrency_limit=2)
        api(endpoints.edit_video, api_name="edit_video", concurrency_limit=None)
    return page


def _connect(
    page: gr.Blocks,
    wiring: Wiring,
    parts: dict[str, Any],
    clips: Clips,
    selections: Selections,
    edits: Edits,
    picker: SegmenterPicker,
) -> None:
    span = ("start_frame", "num_frames")
    light = {"concurrency_limit": None}
    arrived = page.load(clips.arrive, None, parts["token"], api_visibility="private", show_progress="hidden")
    wiring.connect(arrived.then, clips.greet, takes=("token",), gives=CLIP_OUTPUTS, **light)
    wiring.connect(arrived.then, picker.show, takes=("token",), gives=PICKER_OUTPUTS, **light)
    page.unload(clips.leave)
    wiring.connect(
        parts["upload"].upload,
        clips.open_upload,
        takes=("token", "upload", *span),
        gives=CLIP_OUTPUTS,
        **light,
    )
    wiring.connect(
        parts["example"].select,
        clips.open_example,
        takes=("token", "example", *span),
        gives=CLIP_OUTPUTS,
        **light,
    )
    for part in (parts["start_frame"].submit, parts["num_frames"].release):
        wiring.connect(part, clips.reopen, takes=("token", *span), gives=CLIP_OUTPUTS, **light)
    _connect_selection(wiring, parts, selections, picker)
    _connect_edit(wiring, parts, edits)


def _connect_selection(
    wiring: Wiring, parts: dict[str, Any], selections: Selections, picker: SegmenterPicker
) -> None:
    changed = wiring.connect(
        parts["segmenter"].select,
        picker.use,
        takes=("token", "segmenter"),
        gives=PICKER_OUTPUTS,
        concurrency_limit=None,
    )
    parts["segmenter"].stop(picker.stop, parts["token"], None, queue=False, api_visibility="private")
    followed = wiring.connect(
        parts["canvas"].play, selections.propagate, takes=("token",), gives=("canvas",), concurrency_limit=2
    )
    for ended in (changed, followed):
        wiring.connect(ended.then, selections.settle, takes=("token",), gives=("canvas",), queue=False)
    for name in REFINEMENT_FIELDS:
        wiring.connect(
            parts[name].input,
            selections.refine,
            takes=("token", *REFINEMENT_FIELDS),
            gives=("canvas",),
            queue=False,
            trigger_mode="always_last",
        )


def _connect_edit(wiring: Wiring, parts: dict[str, Any], edits: Edits) -> None:
    edited = wiring.connect(
        parts["edit"].click,
        edits.run,
        takes=("token", "source_prompt", "target_prompt", *FORM_FIELDS, *REFINEMENT_FIELDS),
        gives=EDIT_OUTPUTS,
        concurrency_limit=None,
    )
    wiring.connect(edited.then, edits.settle, takes=("token",), gives=("stop",), queue=False)
    for stop in (parts["stop"].click, parts["canvas"].stop):
        stop(edits.stop, parts["token"], None, queue=False, api_visibility="private")
    wiring.connect(
        parts["preset"].input,
        preset_fields,
        takes=("preset",),
        gives=("steps", "learning_rate", "optimizer", "preview_interval"),
        queue=False,
    )
    parts["suggestions"].input(
        None, parts["suggestions"], parts["target_prompt"], js="(text) => text", api_visibility="private"
    )


def _connect_mask_files(
    wiring: Wiring, parts: dict[str, Any], exchange: MaskExchange, selections: Selections
) -> None:
    imported = wiring.connect(
        parts["mask_upload"].upload,
        exchange.bring_in,
        takes=("token", "mask_upload"),
        concurrency_limit=2,
    )
    exported = wiring.connect(
        parts["mask_export"].click,
        exchange.take_out,
        takes=("token", "mask_kind"),
        gives=EXPORT_OUTPUTS,
        concurrency_limit=2,
    )
    exported.success(None, parts["mask_file"], None, js=_DOWNLOAD, api_visibility="private")
    for ended in (imported, exported):
        wiring.connect(ended.then, selections.settle, takes=("token",), gives=("canvas",), queue=False)


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


def _editor(model: str, device: str) -> Editor:
    if spaces is None:
        return LazyEditor(model, device=device)
    # Where GPUs are shared, the work runs in a forked process: it needs weights that are loaded before.
    editor = LazyEditor(model, device="cuda")
    editor.pipeline()
    return HostedEditor(editor.spec, spaces.GPU(duration=300)(editor.stream))


def _segmenters(name: str, checkpoint: Path | None, device: str) -> Segmenters:
    # Where GPUs are shared, none is there while clicks are answered.
    load = partial(load_segmenter, device="cpu" if spaces is not None else device)
    return Segmenters(load(name, checkpoint=checkpoint), load=load)


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
    parser.add_argument("--device", default="cpu", help="torch device, for example cuda (default: cpu)")
    parser.add_argument("--host", default=None, help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    options = parser.parse_args()
    try:
        editor = _editor(options.model, options.device)
        segmenters = _segmenters(options.segmenter, options.checkpoint, options.device)
    except (DreamMotionError, SegmentationError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    page = build_app(editor, segmenters, load_examples(EXAMPLES_FOLDER))
    page.queue(max_size=32, default_concurrency_limit=1)
    page.launch(server_name=options.host, server_port=options.port, **launch_options())


if __name__ == "__main__":
    main()
