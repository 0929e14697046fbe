"""The two endpoints, through the client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from dreammotion_core import (
    Video,
    read_video,
)
from tests.serving import serve
from tests.tiny import save_tiny_unet3d
from tests.web.pages import SIDE
from web import Example


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("served")
    model = save_tiny_unet3d(folder / "tiny")
    with serve(folder / "log.txt", "--model", str(model)) as url:
        client = Client(url, verbose=False, download_files=str(folder))
        yield client
        client.close()


def test_only_the_two_clean_endpoints_are_published(client: Client) -> None:
    published = client.view_api(return_format="dict")["named_endpoints"]

    assert set(published) == {"/segment", "/edit_video"}


def test_the_segment_endpoint_returns_a_mask(client: Client, example: Example) -> None:
    path = client.predict(handle_file(str(example.path)), 12, 24, api_name="/segment")

    mask = np.asarray(Image.open(path))
    assert mask.shape == (SIDE, SIDE)
    assert set(np.unique(mask)) == {0, 255}


def test_the_edit_endpoint_returns_a_clip(client: Client, example: Example) -> None:
    path = client.predict(
        handle_file(str(example.path)), 12, 24, "a red car", "a blue car", 2, 5, api_name="/edit_video"
    )

    assert isinstance(video := read_video(path), Video)
    assert video.frames.shape == (3, SIDE, SIDE, 3)


def test_an_endpoint_says_what_is_wrong(client: Client, example: Example) -> None:
    with pytest.raises(AppError, match="outside"):
        client.predict(handle_file(str(example.path)), 999, 24, api_name="/segment")


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_an_endpoint_does_not_read_files_of_the_server(
    client: Client, example: Example, meta: dict[str, Any]
) -> None:
    # The client would upload the file itself, so the request is made by hand.
    theirs = str(example.path)
    call = f"{client.src.rstrip('/')}/gradio_api/call/segment"
    answer = httpx.post(call, json={"data": [{"path": theirs} | meta, 12, 24]}, timeout=30)

    assert answer.status_code == 400
    assert answer.json()["detail"] == "This is no file that was uploaded here; send it again."


def test_a_cancelled_endpoint_gives_the_device_back(client: Client, example: Example) -> None:
    arguments = (handle_file(str(example.path)), 12, 24, "a red car", "a blue car")
    job = client.submit(*arguments, 10_000, 5, api_name="/edit_video")
    started = threading.Event()
    for _ in range(600):
        if len(job.outputs()) > 5:
            started.set()
            break
        started.wait(0.1)

    job.cancel()

    assert started.is_set()
    assert client.predict(*arguments, 1, 5, api_name="/edit_video")
