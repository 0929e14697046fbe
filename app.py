"""Serves the page: run ``python app.py`` and open the address that it prints."""

from __future__ import annotations

import os
import signal
import tempfile

if __name__ == "__main__":
    # Nothing is to be tidied up while this file is imported.
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"Stopped.\n"), os._exit(130)))

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

from dreammotion_core import (
    AUTOMATIC,
    DreamMotionError,
    LoadOptions,
    Place,
    Surroundings,
    find_surroundings,
)
from segmentation import SegmentationError, list_segmenters, load_segmenter
from web import (
    CSS_FILES,
    ICON_FILE,
    Example,
    HostedEditor,
    LazyEditor,
    Limits,
    Models,
    Segmenters,
    Selections,
    SharedInstruments,
    VisitorStore,
    Wiring,
    connect_page,
    load_examples,
    notice_part,
    own_temporary_folder,
    page_parts,
    page_theme,
    place_line,
)

EXAMPLES_FOLDER = Path(__file__).parent / "assets" / "examples"
MAX_UPLOAD_MB = 100
ABOUT = "Click an object in a video, say what it should become, and watch it change."


def build_app(
    models: Models,
    segmenters: Segmenters,
    examples: Sequence[Example] = (),
    instruments: SharedInstruments | None = None,
    found: Surroundings | None = None,
    max_upload_mb: int = MAX_UPLOAD_MB,
) -> gr.Blocks:
    """The page over models, segmenters, examples and instruments; it loads nothing.

    Args:
        found: where the page runs; the page shows it. None shows nothing.
        max_upload_mb: megabytes of the largest upload; the page shows it.
    """
    instruments, visitors = instruments or SharedInstruments(), VisitorStore()
    selections = Selections(visitors=visitors)
    page: gr.Blocks = gr.Blocks(title="DreamMotion", analytics_enabled=False, delete_cache=(600, 3600))
    with page:
        if found is not None:
            notice_part(found)
        parts = page_parts(
            models.first.spec,
            examples=examples,
            judges=instruments.judges,
            answer=selections.answer,
            max_upload_mb=max_upload_mb,
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
            sharper=found.sharper_segmenters if found is not None else (),
        )
        if found is not None:
            place_line(found)
    return page


def launch_options(max_upload_mb: int = MAX_UPLOAD_MB) -> dict[str, Any]:
    """Arguments of `launch` besides the address."""
    return {
        "theme": page_theme(),
        "css_paths": list(CSS_FILES),
        "run_history": False,
        "max_file_size": f"{max_upload_mb}mb",
        "state_session_capacity": 200,
        "footer_links": ["api"],
        "favicon_path": ICON_FILE,
        "head": f'<meta name="description" content="{ABOUT}">',
    }


def _models(found: Surroundings) -> Models:
    options = LoadOptions.low_memory() if found.low_memory.value else None
    device, max_frames = found.device.value, found.max_frames.value
    make = partial(LazyEditor, device=device, options=options, max_frames=max_frames)
    editor = make(found.model.value)
    limits = Limits(max_steps=found.max_steps.value, max_side=found.max_side.value)
    if found.place is Place.LENT:
        # The work runs in a forked process, which needs loaded weights.
        editor.pipeline()
        lent, seconds = found.lent_size.value, found.max_seconds.value
        hosted = HostedEditor(editor, lend=spaces.GPU, size=lent, max_seconds=seconds)
        return Models(hosted, device=device, limits=limits)
    return Models(
        editor,
        make=make,
        device=device,
        saves_memory=options is not None,
        may_download=found.may_download,
        limits=limits,
        max_frames=max_frames,
    )


def _segmenters(found: Surroundings, checkpoint: Path | None) -> Segmenters:
    load = partial(load_segmenter, device=found.segmenter_device)
    return Segmenters(
        load(found.segmenter.value, checkpoint=checkpoint), load=load, may_download=found.may_download
    )


def prepare(
    found: Surroundings, checkpoint: Path | None = None
) -> tuple[Surroundings, Models, Segmenters, SharedInstruments]:
    """Load what the page works with; the small ones, with a notice, replace what cannot be loaded.

    Raises:
        DreamMotionError, SegmentationError: if a model or segmenter was asked for by name, except on a Space.
    """
    try:
        models = _models(found)
    except DreamMotionError as error:
        found = found.without_model(_forgiven(error, found, asked_by=found.model.by))
        models = _models(found)
    try:
        segmenters = _segmenters(found, checkpoint)
    except SegmentationError as error:
        asked_by = found.segmenter.by if checkpoint is None else "--checkpoint"
        found = found.without_segmenter(_forgiven(error, found, asked_by=asked_by))
        segmenters = _segmenters(found, None)
    try:
        instruments = SharedInstruments(found.judges.value)
    except DreamMotionError as error:
        found = found.without_judges(_forgiven(error, found, asked_by=found.judges.by))
        instruments = SharedInstruments()
    return found, models, segmenters, instruments


def _forgiven(error: Exception, found: Surroundings, *, asked_by: str) -> str:
    if not found.space and asked_by != AUTOMATIC:
        raise error
    return str(error)


def main() -> None:
    """Serve the page."""
    parser = argparse.ArgumentParser(description="Edit the appearance of a clicked object in a video.")
    parser.add_argument(
        "--model",
        default="auto",
        help="name, hub id or folder of the model (default: auto, what fits and lies ready, else toybox)",
    )
    parser.add_argument(
        "--segmenter",
        default="auto",
        help="what answers clicks at first (default: auto, SAM where its weights lie ready, else embedded)",
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=None, help="weights of the segmenter, instead of the download"
    )
    parser.add_argument(
        "--judge",
        action="append",
        default=[],
        metavar="MODEL",
        help="what judges words and frames: a folder with a CLIP model, or owner/name@revision on the hub; "
        "may be repeated, visitors choose (toybox-clip is always there)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="torch device, for example cuda (default: auto, a GPU that works, else cpu)",
    )
    parser.add_argument(
        "--low-memory",
        action="store_true",
        help="for GPUs of 8 to 16 GB: slower, one part of the model at a time",
    )
    parser.add_argument("--host", default=None, help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    parser.add_argument(
        "--max-upload",
        type=_megabytes,
        default=MAX_UPLOAD_MB,
        metavar="MB",
        help=f"megabytes of the largest file that visitors may upload (default: {MAX_UPLOAD_MB})",
    )
    parser.add_argument(
        "--root-path",
        default=None,
        metavar="PREFIX",
        help="path under which a proxy serves the page, for example /dreammotion (default: none, or what "
        "GRADIO_ROOT_PATH says)",
    )
    options = parser.parse_args()
    try:
        _serve(options, parser)
    except KeyboardInterrupt:
        parser.exit(130, "Stopped.\n")


def _serve(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    # Whoever else ends the program gets what Ctrl-C gives. `nohup` is left alone.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has not both.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        found = find_surroundings(vars(options), segmenters=list_segmenters())
        found, models, segmenters, instruments = prepare(found, options.checkpoint)
    except (DreamMotionError, SegmentationError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    for line in (found.describe(), *found.notices):
        print(line, flush=True)  # noqa: T201
    tempfile.tempdir = str(own_temporary_folder())  # also what Gradio takes, unless a variable names another
    page = build_app(
        models, segmenters, load_examples(EXAMPLES_FOLDER), instruments, found, options.max_upload
    )
    page.queue(max_size=found.max_queue.value, default_concurrency_limit=1)
    page.launch(
        server_name=options.host,
        server_port=options.port,
        root_path=options.root_path,
        **launch_options(options.max_upload),
    )


def _megabytes(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of megabytes; pass 1 or more")
    return int(text)


if __name__ == "__main__":
    main()
