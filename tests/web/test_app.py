"""The page as a whole."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest
from gradio_client.utils import is_valid_file

from app import build_app, check_address, launch_options, open_to_others
from dreammotion_core import ConfigError, find_surroundings
from segmentation import list_segmenters, load_segmenter
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


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        (None, 99999, "--port is 99999; choose one from 1 to 65535"),
        (None, -1, "--port is -1"),
        ("203.0.113.1", 7860, "203.0.113.1 is no address of this machine"),
        ("no such host", 7860, "no such host is no address of this machine"),
    ],
)
def test_a_place_where_the_page_cannot_listen_is_one_sentence(host: str | None, port: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_address(host, port)


def test_a_port_in_use_is_told_before_anything_is_loaded() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError, match=f"port {port} is in use"):
            check_address(None, port)
    check_address(None, port)


def test_a_page_open_to_others_says_what_is_open() -> None:
    found = find_surroundings({}, segmenters=list_segmenters())
    public = find_surroundings({"public": True}, segmenters=list_segmenters())

    assert "everybody who reaches 0.0.0.0" in (said := open_to_others(found, "0.0.0.0", ""))
    assert "without a password" in said
    assert "models of many GB" in said
    assert "without a password" not in open_to_others(found, "0.0.0.0", "secret")
    assert open_to_others(found, None, "") == open_to_others(public, "0.0.0.0", "") == ""
    assert (public.max_steps.value, public.downloads.value) == (300, frozenset())


def test_a_password_is_asked_for_and_any_name_will_do() -> None:
    options = launch_options(password="größer")

    assert options["auth"]("anybody", "größer")
    assert not options["auth"]("anybody", "grösser")
    assert "auth" not in launch_options()
    assert launch_options()["enable_monitoring"] is False
