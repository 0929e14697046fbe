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
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import api

from segmentation import Segmenter, load_segmenter
from web import (
    CLIP_OUTPUTS,
    CSS_FILES,
    EDIT_OUTPUTS,
    FORM_FIELDS,
    REFINEMENT_FIELDS,
    Clips,
    DeviceQueue,
    Editor,
    Edits,
    Endpoints,
    Example,
    HostedEditor,
    LazyEditor,
    Selections,
    VisitorStore,
    Wiring,
    advanced_drawer,
    click_canvas,
    examples_row,
    load_examples,
    losses_plot,
    masthead,
    outline_drawer,
    page_theme,
    player,
    preset_fields,
    preset_names,
)

EXAMPLES_FOLDER = Path(__file__).parent / "assets" / "examples"


def build_app(editor: Editor, segmenter: Segmenter, examples: Sequence[Example] = ()) -> gr.Blocks:
    """The whole page over an editor, a segmenter and some examples; nothing is loaded by it."""
    visitors, device = VisitorStore(), DeviceQueue()
    clips = Clips(visitors=visitors, editor=editor, segmenter=segmenter, examples=examples)
    selections = Selections(visitors=visitors)
    edits = Edits(visitors=visitors, device=device, editor=editor)
    endpoints = Endpoints(editor=editor, segmenter=segmenter, device=device)
    page: gr.Blocks = gr.Blocks(title="DreamMotion", analytics_enabled=False, delete_cache=(600, 3600))
    with page:
        token = gr.State(None)
        masthead(editor.spec, segmenter.spec)
        parts: dict[str, Component] = {"token": token, **_clip_row(examples)}
        with gr.Row(equal_height=False, elem_classes="dm-bench"):
            with gr.Column(min_width=320):
                parts |= _selection_part(selections) | _prompt_part() | advanced_drawer(editor.spec)
            with gr.Column(min_width=320, elem_classes="dm-screen"):
                parts |= _result_part()
        _connect(page, Wiring(parts), parts, clips, selections, edits)
        api(endpoints.segment, api_name="segment", concurrency_limit=2)
        api(endpoints.edit_video, api_name="edit_video", concurrency_limit=None)
    return page


def _clip_row(examples: Sequence[Example]) -> dict[str, Component]:
    with gr.Row(elem_classes="dm-source"):
        row = examples_row(examples)
        upload = gr.UploadButton(
            "Upload a video", file_types=["video"], elem_id="upload", scale=0, min_width=160
        )
    return {"example": row, "upload": upload}


def _selection_part(selections: Selections) -> dict[str, Component]:
    _heading("1", "Click the object")
    canvas = click_canvas(selections.answer)
    notes = gr.HTML("", elem_id="clip-notes")
    return {"canvas": canvas, "clip_notes": notes} | outline_drawer()


def _prompt_part() -> dict[str, Component]:
    _heading("2", "Say what it becomes")
    with gr.Row(elem_classes="dm-prompts"):
        source = gr.Textbox(
            label="The clip shows", placeholder="a red car, road", elem_id="source-prompt", min_width=200
        )
        target = gr.Textbox(
            label="It should show", placeholder="a blue car, road", elem_id="target-prompt", min_width=200
        )
    suggestions = gr.Radio([], label="Try", container=False, visible=False, elem_id="suggestions")
    with gr.Row():
        preset = gr.Radio(
            preset_names(), value=preset_names()[0], label="Preset", elem_id="preset", min_width=200
        )
        seed = gr.Textbox("-1", label="Seed (-1 draws one)", elem_id="seed", min_width=120)
    edit = gr.Button("Edit", variant="primary", elem_id="edit")
    return {
        "source_prompt": source,
        "target_prompt": target,
        "suggestions": suggestions,
        "preset": preset,
        "seed": seed,
        "edit": edit,
    }


def _result_part() -> dict[str, Component]:
    _heading("", "Watch it change")
    screen = player()
    stop = gr.Button("Stop", visible=False, elem_id="stop")
    losses = losses_plot()
    facts = gr.HTML("", elem_id="facts")
    with gr.Row():
        movie = gr.DownloadButton("Download the MP4", visible=False, elem_id="movie")
        receipt = gr.DownloadButton("Download the receipt", visible=False, elem_id="receipt")
    return {
        "player": screen,
        "stop": stop,
        "losses": losses,
        "facts": facts,
        "movie": movie,
        "receipt": receipt,
    }


def _heading(number: str, text: str) -> None:
    gr.HTML(f"<h2><span>{number}</span> {text}</h2>", elem_classes="dm-step")


def _connect(
    page: gr.Blocks, wiring: Wiring, parts: dict[str, Any], clips: Clips, selections: Selections, edits: Edits
) -> None:
    span = ("start_frame", "num_frames")
    light = {"concurrency_limit": None}
    arrived = page.load(clips.arrive, None, parts["token"], api_visibility="private", show_progress="hidden")
    wiring.connect(arrived.then, clips.greet, takes=("token",), gives=CLIP_OUTPUTS, **light)
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
    followed = wiring.connect(
        parts["canvas"].play, selections.propagate, takes=("token",), gives=("canvas",), concurrency_limit=2
    )
    for name in REFINEMENT_FIELDS:
        wiring.connect(
            parts[name].input,
            selections.refine,
            takes=("token", *REFINEMENT_FIELDS),
            gives=("canvas",),
            queue=False,
            trigger_mode="always_last",
        )
    edited = wiring.connect(
        parts["edit"].click,
        edits.run,
        takes=("token", "source_prompt", "target_prompt", *FORM_FIELDS, *REFINEMENT_FIELDS),
        gives=EDIT_OUTPUTS,
        **light,
    )
    wiring.connect(followed.then, selections.settle, takes=("token",), gives=("canvas",), queue=False)
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


def main() -> None:
    """Serve the page."""
    parser = argparse.ArgumentParser(description="Edit the appearance of a clicked object in a video.")
    parser.add_argument(
        "--model", default="toybox", help="name, hub id or folder of the model (default: toybox)"
    )
    parser.add_argument("--segmenter", default="embedded", help="what answers clicks (default: embedded)")
    parser.add_argument("--device", default="cpu", help="torch device, for example cuda (default: cpu)")
    parser.add_argument("--host", default=None, help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    options = parser.parse_args()
    editor = _editor(options.model, options.device)
    page = build_app(editor, load_segmenter(options.segmenter), load_examples(EXAMPLES_FOLDER))
    page.queue(max_size=32, default_concurrency_limit=1)
    page.launch(server_name=options.host, server_port=options.port, **launch_options())


if __name__ == "__main__":
    main()
