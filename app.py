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

# Gradio summarises its latest events after each of them, which nobody reads here.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")

import argparse
import errno
import secrets
import socket
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from dreammotion_core import (
    AUTOMATIC,
    ConfigError,
    DreamMotionError,
    LoadOptions,
    Place,
    Surroundings,
    find_surroundings,
    usable_memory,
)
from segmentation import SegmentationError, list_segmenters, load_segmenter
from web import (
    CSS_FILES,
    ICON_FILE,
    Example,
    Guard,
    HostedEditor,
    LazyEditor,
    Limits,
    Models,
    OwnedSourceCache,
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
MOST_THREADS = 128  # Of handlers. Who waits for the device takes one, and short ones must never wait.
CACHE_BYTES, CACHE_SHARE = 4 * 2**30, 8  # Answers about sources: at most, and a divisor of what is free.
LIMIT_FLAGS = {
    "max_steps": "steps of an edit",
    "max_frames": "frames of an edit",
    "max_side": "pixels of the longer side of a clip",
    "max_megapixels": "millions of pixels of all frames of a clip",
    "max_minutes": "minutes for which an edit may hold the device",
    "max_queue": "edits that may wait",
    "max_jobs": "edits and other long jobs of one address at once",
    "max_pages": "open pages",
    "max_pages_each": "open pages of one address",
    "max_memory": "MB of the frames of all open clips",
    "max_uploads": "MB that one address may upload in an hour",
    "max_disk": "MB of all uploads, results and long clips",
}
ABOUT = "Click an object in a video, say what it should become, and watch it change."


def build_app(
    models: Models,
    segmenters: Segmenters,
    examples: Sequence[Example] = (),
    instruments: SharedInstruments | None = None,
    found: Surroundings | None = None,
    max_upload_mb: int = MAX_UPLOAD_MB,
    visitors: VisitorStore | None = None,
) -> gr.Blocks:
    """The page over models, segmenters, examples and instruments; it loads nothing.

    Args:
        found: where the page runs; the page shows it. None shows nothing.
        max_upload_mb: megabytes of the largest upload; the page shows it.
        visitors: who is there; None is for a page of its own.
    """
    instruments, visitors = instruments or SharedInstruments(), visitors or VisitorStore()
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


def launch_options(
    max_upload_mb: int = MAX_UPLOAD_MB, *, guard: Guard | None = None, password: str = ""
) -> dict[str, Any]:
    """Arguments of `launch` besides the address."""
    options: dict[str, Any] = {}
    if guard is not None:
        options["app_kwargs"] = {"middleware": [Middleware(guard.middleware)], "openapi_url": None}
    if password:
        options["auth"] = lambda _, given: secrets.compare_digest(given.encode(), password.encode())
        options["auth_message"] = "This page has a password. Any name will do."
    return options | {
        "theme": page_theme(),
        "css_paths": list(CSS_FILES),
        "run_history": False,
        "max_file_size": f"{max_upload_mb}mb",
        # A session holds nothing but the token of its visitor, whose own store has limits.
        "state_session_capacity": 10_000,
        "enable_monitoring": False,
        "max_threads": MOST_THREADS,
        "footer_links": ["api"],
        "favicon_path": ICON_FILE,
        "head": f'<meta name="description" content="{ABOUT}">',
    }


def _models(found: Surroundings) -> Models:
    options = LoadOptions.low_memory() if found.low_memory.value else None
    device, max_frames = found.device.value, found.max_frames.value
    cache = OwnedSourceCache(max_bytes=min(CACHE_BYTES, usable_memory("cpu") // CACHE_SHARE or CACHE_BYTES))
    make = partial(LazyEditor, device=device, options=options, max_frames=max_frames, source_cache=cache)
    editor = make(found.model.value)
    limits = Limits(**{field.name: getattr(found, field.name).value for field in fields(Limits)})
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
        cache=cache,
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


def _parser() -> argparse.ArgumentParser:
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
    parser.add_argument(
        "--public",
        action="store_true",
        help="for strangers: stricter limits, and no downloads but those allowed (always so on a Space)",
    )
    parser.add_argument(
        "--allow-downloads",
        dest="downloads",
        default=None,
        metavar="NAMES",
        help="models and segmenters that visitors may download, with commas between, or all, or none "
        "(default: all; with --public none)",
    )
    parser.add_argument(
        "--password",
        default=os.environ.get("DREAMMOTION_PASSWORD", ""),
        help="asked of every visitor; better given as the variable DREAMMOTION_PASSWORD, which no list of "
        "processes shows (default: none)",
    )
    parser.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    parser.add_argument(
        "--max-upload",
        type=partial(_at_least_one, what="megabytes"),
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
    for name, what in LIMIT_FLAGS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=partial(_at_least_one, what=what.partition(" ")[0]),
            default=None,
            metavar="N",
            help=f"at most so many {what} (default: docs/security.md)",
        )
    return parser


def main() -> None:
    """Serve the page."""
    parser = _parser()
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
        check_address(options.host or os.environ.get("GRADIO_SERVER_NAME"), options.port)
        found = find_surroundings(vars(options), segmenters=list_segmenters())
        found, models, segmenters, instruments = prepare(found, options.checkpoint)
    except (DreamMotionError, SegmentationError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    for line in (found.describe(), *found.notices):
        print(line, flush=True)  # noqa: T201
    if problem := open_to_others(found, options.host, options.password):
        print(problem, flush=True)  # noqa: T201
    tempfile.tempdir = str(own_temporary_folder())  # also what Gradio takes, unless a variable names another
    uploads = Path(get_upload_folder())
    visitors = VisitorStore(limits=models.limits, on_leave=models.let_go, uploads=uploads)
    page = build_app(
        models, segmenters, load_examples(EXAMPLES_FOLDER), instruments, found, options.max_upload, visitors
    )
    # The guard counts what waits, of each kind and address.
    page.queue(max_size=None, default_concurrency_limit=1, api_open=False)
    guard = Guard(page, visitors, max_upload=options.max_upload * 2**20, trusts_proxy=bool(found.space))
    page.launch(
        server_name=options.host,
        server_port=options.port,
        root_path=options.root_path,
        **launch_options(options.max_upload, guard=guard, password=options.password),
    )


def check_address(host: str | None, port: int | None) -> None:
    """Try where the page will listen, before anything is loaded; `ConfigError` if that is impossible."""
    if port is not None and not 1 <= port <= 65535:
        raise ConfigError(f"--port is {port}; choose one from 1 to 65535")
    try:
        family, kind, _, _, place = socket.getaddrinfo(host or "127.0.0.1", port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} is in use; choose another with --port, or leave it out"
        elif error.errno == errno.EACCES:
            reason = f"port {port} needs the rights of an administrator; choose one from 1024 on"
        else:
            reason = (
                f"{host} is no address of this machine; choose 127.0.0.1 for yourself, 0.0.0.0 for others"
            )
        raise ConfigError(reason) from error


def open_to_others(found: Surroundings, host: str | None, password: str) -> str:
    """What a page open to other machines lets everybody do; empty where it is not, or is meant for them."""
    host = host or os.environ.get("GRADIO_SERVER_NAME")
    if host in (None, "127.0.0.1", "localhost", "::1") or found.public.value:
        return ""
    asks = "" if password else ", without a password"
    downloads = "no model" if found.downloads.value == frozenset() else "models of many GB"
    return (
        f"Note: everybody who reaches {host} may edit, upload and download {downloads} here{asks}. "
        "--public sets limits for strangers, --password asks for a password."
    )


def _at_least_one(text: str, *, what: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {what}; pass 1 or more")
    return int(text)


if __name__ == "__main__":
    main()
