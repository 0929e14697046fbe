"""The page as a whole."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
from gradio_client.utils import is_valid_file

from app import build_app, launch_options
from segmentation import load_segmenter
from web import Example, LazyEditor, Models, Segmenters


def test_the_page_is_built_without_loading_weights(example: Example) -> None:
    editor = LazyEditor("toybox")

    async def build() -> gr.Blocks:
        return build_app(Models(editor), Segmenters(load_segmenter()), [example], max_upload_mb=250)

    # Outside a running event loop, Gradio makes loops of its own and leaves them open. The thread is
    # for the browser tests, which keep a loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(lambda: asyncio.run(build())).result()

    assert page.title == "DreamMotion"
    assert launch_options()["run_history"] is False
    assert editor.is_loaded is False
    upload = next(block for block in page.blocks.values() if block.elem_id == "upload")
    assert isinstance(upload, gr.UploadButton)
    assert "up to 250 MB" in upload.label
    assert launch_options(250)["max_file_size"] == "250mb"
    for name in (
        "CLIP.MOV",
        "clip.mts",
        "clip.M2TS",
        "clip.3gp",
        "clip.ts",
        "clip.gif",
        "clip.mkv",
        "clip.webm",
    ):
        assert is_valid_file(name, upload.file_types), name
    assert not is_valid_file("song.mp3", upload.file_types)
