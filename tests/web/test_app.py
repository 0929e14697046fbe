"""The page as a whole."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import gradio as gr

from app import build_app, launch_options
from segmentation import load_segmenter
from web import Example, LazyEditor, Models, Segmenters


def test_the_page_is_built_without_loading_weights(example: Example) -> None:
    editor = LazyEditor("toybox")

    async def build() -> gr.Blocks:
        return build_app(Models(editor), Segmenters(load_segmenter()), [example])

    # Outside a running event loop, Gradio makes loops of its own and leaves them open. The thread is
    # for the browser tests, which keep a loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(lambda: asyncio.run(build())).result()

    assert page.title == "DreamMotion"
    assert launch_options()["run_history"] is False
    assert editor.is_loaded is False
