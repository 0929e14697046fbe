"""The edge of the server: what is let in, what is refused with which words, and what ends unheard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import gradio as gr
import httpx
import pytest

from web import Guard, Limits, VisitorStore
from web import guard as edge
from web.guard import is_foreign, long_job
from web.visitors import NO_LIMITS

MEGABYTE = 2**20
Value = TypeVar("Value")


@long_job
def work(_text: str, _upload: Any, request: gr.Request) -> str:
    del request
    return ""


def click(text: str) -> str:
    return text


def apart(work: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
    """Run something in a loop of its own; the browser tests keep one running in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


class Server:
    """A guard before an application that answers with what it was sent."""

    def __init__(self, limits: Limits = NO_LIMITS, **options: Any) -> None:
        # A stand-in, because Gradio leaves a loop of its own open with every page.
        box, upload = gr.Textbox(render=False), gr.UploadButton(render=False)
        functions = (
            SimpleNamespace(_id=0, fn=work, inputs=[box, upload], api_name="work", api_visibility="public"),
            SimpleNamespace(_id=1, fn=click, inputs=[box], api_name="click", api_visibility="private"),
        )
        queue = SimpleNamespace(event_ids_to_events={})
        self.page: Any = SimpleNamespace(fns=dict(enumerate(functions)), blocks={}, _queue=queue)
        self.seen: list[bytes] = []
        self.guard = Guard(self.page, VisitorStore(limits=limits), max_upload=MEGABYTE, **options)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.seen.append(body)
        answer = {"client": scope["client"][0]}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.guard.middleware(self._app), client=("203.0.113.7", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
                return await client.request(method, path, **request)

        return apart(once)

    def join(self, number: int = 0, session: Any = "abc", data: Any = ("words", None)) -> httpx.Response:
        body = {"fn_index": number, "session_hash": session, "data": data}
        return self.ask("POST", "/gradio_api/queue/join", json=body)

    def queued(self, *sessions: str, number: int = 0, address: str = "203.0.113.7", age: float = 0) -> None:
        """Let events wait, as Gradio's queue keeps them."""
        events = self.page._queue.event_ids_to_events
        for session in sessions:
            scope = {"client": (address, 1)}
            events[f"{session}{len(events)}"] = SimpleNamespace(
                session_hash=session,
                fn=self.page.fns[number],
                request=SimpleNamespace(scope=scope),
                enqueue_time=-age,
            )


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.mark.parametrize(
    "path",
    [
        *("/monitoring", "/monitoring/summary", "/openapi.json", "/docs", "/runs", "/monitoring//summary/"),
        *(
            "/gradio_api/openapi.json",
            "/gradio_api/dev/reload",
            "/gradio_api/vibe-code",
            "/gradio_api/mcp/sse",
        ),
        *("/gradio_api/proxy=http://127.0.0.1:1/x", "/gradio_api/deep_link", "/gradio_api/api/predict"),
        *("/gradio_api/process_recording", "/gradio_api/stream/1", "/below/gradio_api/profiling/summary"),
    ],
)
def test_doors_that_the_page_does_not_need_are_closed(server: Server, path: str) -> None:
    assert server.ask("GET", path).status_code == 404
    assert server.seen == []


@pytest.mark.parametrize(
    "path", ["/", "/config", "/gradio_api/info", "/gradio_api/file=/tmp/docs/runs/a.mp4", "/assets/a.js"]
)
def test_doors_that_the_page_needs_are_open(server: Server, path: str) -> None:
    assert server.ask("GET", path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/gradio_api/queue/join", "/gradio_api/component_server", "/gradio_api/cancel"]
)
def test_a_body_has_a_megabyte_at_most(server: Server, path: str) -> None:
    answer = server.ask("POST", path, content=b"x" * (MEGABYTE + 1))

    assert answer.status_code == 413
    assert "at most 1 MB" in answer.json()["detail"]
    assert server.ask("POST", path, content=iter_of(b"x" * MEGABYTE, b"y")).status_code == 413
    assert server.seen == []


def iter_of(*parts: bytes) -> Any:
    async def given() -> Any:
        for part in parts:
            yield part

    return given()


def test_a_body_that_was_read_comes_on(server: Server) -> None:
    assert server.ask("POST", "/gradio_api/cancel", content=b"body").status_code == 200
    assert server.seen == [b"body"]


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"sec-fetch-site": "same-origin", "origin": "https://page"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "https://page"}, True),
        ({"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:1", "host": "127.0.0.1:7860"}, True),
        ({"origin": "http://page", "host": "page"}, False),
        ({"origin": "https://page.example", "host": "inner:7860", "x-forwarded-host": "page.example"}, False),
        ({"origin": "http://page:1", "host": "page:2"}, True),
        ({"origin": "null", "host": "page"}, True),
        ({"origin": "http://evil.example"}, True),
    ],
)
def test_foreign_pages_are_told_by_what_browsers_say(headers: dict[str, str], foreign: bool) -> None:
    assert is_foreign(headers) is foreign


def test_foreign_pages_may_look_and_not_act(server: Server) -> None:
    evil = {"origin": "http://evil.example"}

    assert server.ask("GET", "/", headers=evil).status_code == 200
    assert server.ask("POST", "/gradio_api/upload", headers=evil, content=b"x").status_code == 403
    assert server.ask("POST", "/gradio_api/queue/join", headers=evil, content=b"{}").status_code == 403
    assert server.seen == [b""]


def test_an_upload_is_as_large_as_the_page_says(server: Server) -> None:
    assert server.ask("POST", "/gradio_api/upload", content=b"x" * MEGABYTE).status_code == 200
    answer = server.ask("POST", "/gradio_api/upload", content=b"x" * (2 * MEGABYTE))

    assert answer.status_code == 413
    assert (
        answer.text
        == "The upload has 2 MB, and this page takes at most 1; choose a smaller file, or cut it first."
    )
    assert server.ask("POST", "/gradio_api/upload", content=iter_of(b"x")).status_code == 411


def test_an_address_may_upload_so_much_in_an_hour() -> None:
    server = Server(limits=Limits(max_uploads=1))
    assert server.ask("POST", "/gradio_api/upload", content=b"x" * 900_000).status_code == 200

    answer = server.ask("POST", "/gradio_api/upload", content=b"x" * 200_000)

    assert answer.status_code == 429
    assert answer.text.startswith("Uploads from your address in an hour may take 1 MB, and 1 are used")


def test_an_event_is_for_a_function_and_brings_its_values(server: Server) -> None:
    assert server.join().status_code == 200
    for number, session, data in (
        (99, "abc", ["a", None]),
        (-1, "abc", ["a", None]),
        (True, "abc", ["a", None]),
        ([], "abc", ["a", None]),
        (0, "x" * 65, ["a", None]),
        (0, None, ["a", None]),
        (0, "a b", ["a", None]),
        (0, "abc", ["a"]),
        (0, "abc", {"a": 1}),
        (0, "abc", None),
    ):
        assert server.join(number, session, data).status_code == 400, (number, session, data)  # type: ignore[arg-type]
    for body in (b"", b"[]", b"nonsense", b"[" * 100_000, b'{"data": 1e999'):
        assert server.ask("POST", "/gradio_api/queue/join", content=body).status_code == 400
    assert len(server.seen) == 1


def test_half_a_character_is_refused_with_words(server: Server) -> None:
    body = b'{"fn_index": 0, "session_hash": "abc", "data": ["a \\ud83d car", null]}'

    answer = server.ask("POST", "/gradio_api/queue/join", content=body)

    assert answer.status_code == 400
    assert "half a character" in answer.json()["detail"]


def test_a_program_calls_published_endpoints_only(server: Server) -> None:
    def call(name: str, body: Any) -> int:
        return server.ask("POST", f"/gradio_api/call/{name}", json=body).status_code

    assert call("work", {"data": ["a", None]}) == 200
    assert call("v2/work", {"_text": "a", "_upload": None}) == 200
    assert call("v2/work", {"_text": "a"}) == 400
    assert call("v2/work", {"_text": "a", "_upload": None, "other": 1}) == 400
    assert call("click", {"data": ["a"]}) == 400
    assert call("work", {"data": ["a"]}) == 400


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


def test_files_are_those_that_were_uploaded(server: Server, folder: Path) -> None:
    sent = folder / "clip.mp4"
    sent.write_bytes(b"x")
    (folder / "link.mp4").symlink_to("/etc/passwd")
    mark = {"_type": "gradio.FileData"}

    assert server.join(data=["a", {"path": str(sent), "meta": mark}]).status_code == 200
    for value in (
        "/etc/passwd",
        5,
        {},
        [str(sent)],
        {"path": str(sent)},
        {"path": "/etc/passwd", "meta": mark},
        {"path": f"{folder}/../{folder.name}x", "meta": mark},
        {"path": str(folder), "meta": mark},
        {"path": str(folder / "link.mp4"), "meta": mark},
        {"path": "a\0b", "meta": mark},
        {"path": {"path": str(sent), "meta": mark}, "meta": mark},
    ):
        assert server.join(data=["a", value]).status_code == 400, value
    assert server.join(data=[{"nested": [{"path": "/etc/passwd", "meta": mark}]}, None]).status_code == 400


@pytest.mark.parametrize(
    ("limits", "sessions", "whose"),
    [
        (Limits(), ["abc"] * edge.MOST_OF_A_PAGE, "of your page"),
        (Limits(max_jobs=2), ["a", "b"], "from your address"),
        (Limits(max_queue=1), ["a", "b"], "2 jobs wait or run"),
    ],
)
def test_long_jobs_are_limited_and_short_ones_go_on(limits: Limits, sessions: list[str], whose: str) -> None:
    server = Server(limits=limits)
    server.queued(*sessions)

    answer = server.join()

    assert answer.status_code == 429
    assert whose in answer.json()["detail"]
    assert "try again when one is over" in answer.json()["detail"]
    assert server.join(1, data=["a"]).status_code == 200


def test_jobs_of_other_addresses_do_not_count_for_mine() -> None:
    server = Server(limits=Limits(max_jobs=2))
    server.queued("a", "b", address="198.51.100.1")

    assert server.join().status_code == 200


def test_addresses_behind_a_proxy_are_told_apart_and_cannot_be_made_up() -> None:
    forwarded = {"x-forwarded-for": "8.8.8.8, 1.1.1.1, 10.0.0.3"}

    assert Server(trusts_proxy=True).ask("GET", "/", headers=forwarded).json()["client"] == "1.1.1.1"
    assert Server().ask("GET", "/", headers=forwarded).json()["client"] == "203.0.113.7"


def test_passwords_are_not_tried_without_end(server: Server) -> None:
    answers = [server.ask("POST", "/login", content=b"x").status_code for _ in range(edge.MOST_LOGINS + 1)]

    assert answers == [200] * edge.MOST_LOGINS + [429]


def test_what_nobody_listens_to_ends_and_what_is_heard_goes_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    async def clean(*, session_hash: str) -> None:
        ended.append(session_hash)

    monkeypatch.setattr(edge, "LOOK_EVERY", 0.01)
    server.page._queue.clean_events = clean
    now = edge.time.monotonic()
    server.queued("unheard", "heard", age=edge.SILENCE + 1 - now)
    server.queued("fresh", age=-now)
    server.guard._listeners["heard"] += 1

    async def wait() -> None:
        task = asyncio.create_task(server.guard._look())
        await asyncio.sleep(0.1)
        task.cancel()

    apart(wait)

    assert set(ended) == {"unheard"}
