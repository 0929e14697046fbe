"""Serves the page: run ``python app.py`` and open the address that it prints."""

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

from dreammotion_core import DreamMotionError, LoadOptions
from segmentation import SegmentationError, load_segmenter
from web import (
    CSS_FILES,
    Example,
    HostedEditor,
    LazyEditor,
    Models,
    Segmenters,
    Selections,
    SharedInstruments,
    VisitorStore,
    Wiring,
    connect_page,
    load_examples,
    page_parts,
    page_theme,
    runs_on,
)

EXAMPLES_FOLDER = Path(__file__).parent / "assets" / "examples"


def build_app(
    models: Models,
    segmenters: Segmenters,
    examples: Sequence[Example] = (),
    instruments: SharedInstruments | None = None,
) -> gr.Blocks:
    """The whole page over models, segmenters, some examples and what measures; nothing is loaded by it."""
    instruments, visitors = instruments or SharedInstruments(), VisitorStore()
    selections = Selections(visitors=visitors)
    page: gr.Blocks = gr.Blocks(title="DreamMotion", analytics_enabled=False, delete_cache=(600, 3600))
    with page:
        parts = page_parts(
            models.first.spec, examples=examples, judges=instruments.judges, answer=selections.answer
        )
        connect_page(
            page,
            Wiring(parts),
            visitors=visitors,
            selections=selections,
            models=models,
            segmenters=segmenters,
            examples=examples,
            instruments=instruments,
        )
    return page


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
