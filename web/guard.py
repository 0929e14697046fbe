"""The edge of the server: stands before Gradio in the same process, and lets in what the page needs.

It refuses foreign pages, large bodies, closed doors and more than an address may have at once, and ends what
nobody listens to. What an event brings is checked where it is used, see `web.wiring` and `web.form`.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import json
import os
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from gradio.utils import get_upload_folder

from web.visitors import LimitError, VisitorStore

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY = 2**20  # Bytes of a request that is no upload.
FORM_ROOM = 2**16  # Bytes of an upload beside its file.
SILENCE = 15.0  # Seconds after which a job that nobody listens to ends.
LOOK_EVERY = 2.0  # Seconds between two looks for such jobs.
MOST_REQUESTS, MOST_STREAMS = 60, 300  # Of an address at once.
MOST_EVENTS = 200  # Of an address that wait or run, short ones included.
MOST_OF_A_PAGE = 8  # Long jobs of one page that wait or run.
MOST_LOGINS = 10  # Of an address in a minute.

_ANSWERED = {
    *("info", "user", "login_check", "token", "app_id", "startup-events", "theme.css", "config"),
    *("custom_component", "static", "assets", "file", "heartbeat", "queue", "call", "run", "upload"),
    *("upload_progress", "component_server", "cancel", "reset"),
}
"""First words of the paths below ``/gradio_api`` that the page and its clients need."""
_CLOSED = re.compile(r"/(monitoring|openapi\.json|docs|redoc|runs|profiling)(/|$)")
_STREAMS = re.compile(r"/(heartbeat|queue/data|upload_progress|call)(/|$)")
_LISTENING = re.compile(r"/(?:heartbeat|call/(?:v2/)?[^/]+)/([^/]+)$")
_EVENT = re.compile(r"/(queue/join|run/[^/]+|call/(?:v2/)?([^/]+))$")
_SESSION = re.compile(r"[\w-]{1,64}")
_HALF = re.compile("[\ud800-\udfff]")
FILE_MARK = {"_type": "gradio.FileData"}
LONGEST_PATH = 4096
UNREADABLE = "The page sent something that cannot be read; reload it."


class RefusalError(Exception):
    """An answer instead of the one that was asked for: a status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Guard:
    """What stands before the page; `middleware` is for ``FastAPI``.

    Args:
        page: the page, with its queue.
        visitors: whose limits count.
        max_upload: bytes of the largest file.
        trusts_proxy: whether the address of a visitor is the last public one of ``X-Forwarded-For``.
    """

    def __init__(
        self,
        page: gr.Blocks,
        visitors: VisitorStore,
        *,
        max_upload: int,
        trusts_proxy: bool = False,
    ) -> None:
        self._page, self._visitors = page, visitors
        self._max_upload, self._trusts_proxy = max_upload, trusts_proxy
        self._requests, self._streams, self._listeners = Counter[str](), Counter[str](), Counter[str]()
        self._heard: dict[str, float] = {}
        self._logins: list[tuple[float, str]] = []
        self._looking: asyncio.Task[None] | None = None

    def middleware(self, app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """This guard before an application of ASGI."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            is_read = False

            async def read() -> MutableMapping[str, Any]:
                nonlocal is_read
                message = await receive()
                is_read = not message.get("more_body", False)
                return message

            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            try:
                path = self._let_in(scope)
                body = await self._body(scope, path, read)
                with self._counted(scope, path):
                    await app(scope, receive if body is None else _replayed(body, receive), send)
            except RefusalError as refusal:
                if scope["method"] == "POST" and not is_read:
                    await self._discard(receive)
                await _answer(refusal, scope["path"], send)

        return guarded

    def _let_in(self, scope: Scope) -> str:
        """The path without doubled slashes; raises `RefusalError` for closed doors and foreign pages."""
        path = re.sub("/+", "/", scope["path"]).rstrip("/")
        outside, api, inside = path.partition("/gradio_api/")
        if _CLOSED.search(outside) or (api and re.split("[/=]", inside)[0] not in _ANSWERED):
            raise RefusalError(404, "There is nothing here.")
        headers = headers_of(scope)
        scope["client"] = (self._address(scope, headers), 0)
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and is_foreign(headers):
            raise RefusalError(403, "This request comes from another web page; open this page itself.")
        if path.endswith("/login") and scope["method"] == "POST":
            now, address = time.monotonic(), scope["client"][0]
            self._logins = [(at, who) for at, who in self._logins if at > now - 60]
            if sum(who == address for _, who in self._logins) >= MOST_LOGINS:
                raise RefusalError(429, f"{MOST_LOGINS} passwords were tried in a minute; wait for a minute.")
            self._logins.append((now, address))
        return path

    def _address(self, scope: Scope, headers: dict[str, str]) -> str:
        peer = str((scope.get("client") or ("", 0))[0])
        if self._trusts_proxy:
            for part in reversed(headers.get("x-forwarded-for", "").split(",")):
                with suppress(ValueError):
                    if ipaddress.ip_address(part.strip()).is_global:
                        return part.strip()
        return peer

    async def _body(self, scope: Scope, path: str, receive: Receive) -> bytes | None:
        """The body of a request that is no upload, after its checks; None where it is not read here."""
        if scope["method"] != "POST":
            return None
        headers, address = headers_of(scope), scope["client"][0]
        length = headers.get("content-length", "")
        if path.endswith("/gradio_api/upload"):
            if not length.isdecimal():
                raise RefusalError(411, "Send the length of the upload, as browsers do.")
            if int(length) > self._max_upload + FORM_ROOM:
                raise RefusalError(
                    413,
                    f"The upload has {int(length) / 2**20:,.0f} MB, and this page takes at most "
                    f"{self._max_upload / 2**20:,.0f}; choose a smaller file, or cut it first.",
                )
            await asyncio.to_thread(self._checked, self._visitors.check_upload, address, int(length))
            return None
        body = bytearray()
        while True:
            too_large = length.isdecimal() and int(length) > MAX_BODY
            if too_large or len(body) > MAX_BODY:
                raise RefusalError(
                    413, f"A request has at most {MAX_BODY // 2**20} MB; send files as uploads."
                )
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusalError(400, "The request ended early.")
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        if (event := _EVENT.search(path)) is not None:
            asked = read_object(bytes(body))
            function = self._function(event[2], asked)
            for value, component in zip(read_values(asked, function), function.inputs, strict=False):
                self._check_files(value, is_file=isinstance(component, gr.UploadButton | gr.DownloadButton))
            session = None if event[2] else asked.get("session_hash")
            self._checked(self._check_jobs, function, session, address)
        elif path.endswith("/component_server"):
            asked = read_object(bytes(body))
            is_known = asked.get("component_id") in self._page.blocks and "data" in asked
            if not (is_known and isinstance(asked.get("fn_name"), str) and is_session(asked)):
                raise RefusalError(400, UNREADABLE)
        return bytes(body)

    def _function(self, name: str | None, asked: dict[str, Any]) -> Any:
        """The function that an event is for: a published one by its name, or any by its number."""
        functions, number = self._page.fns, asked.get("fn_index")
        if name is not None:
            published = [each for each in functions.values() if each.api_visibility == "public"]
            function = next((each for each in published if each.api_name == name), None)
        else:
            function = functions.get(number) if type(number) is int and is_session(asked) else None
        # Some events are the browser's alone.
        if function is None or function.fn is None:
            raise RefusalError(400, UNREADABLE if name is None else f"There is no endpoint {name[:40]!r}.")
        return function

    def _check_files(self, value: Any, *, is_file: bool = False) -> None:
        """Raise `RefusalError` if a value names a file that is none of Gradio's folder."""
        if isinstance(value, list | dict) and not (is_file or (isinstance(value, dict) and "path" in value)):
            for each in value.values() if isinstance(value, dict) else value:
                self._check_files(each)
        elif isinstance(value, dict) or (is_file and value is not None):
            path = value.get("path") if isinstance(value, dict) and value.get("meta") == FILE_MARK else None
            is_path = isinstance(path, str) and "\0" not in path and len(path) < LONGEST_PATH
            place = os.path.realpath(str(path)) if is_path else ""
            within = os.path.realpath(get_upload_folder()) + os.sep
            if not (place.startswith(within) and os.path.isfile(place)):
                raise RefusalError(400, "This is no file that was uploaded here; send it again.")

    async def _discard(self, receive: Receive) -> None:
        """Read what is left of a refused body, as many clients look for the answer only then."""
        left = 2 * self._max_upload
        with suppress(TimeoutError):
            async with asyncio.timeout(SILENCE):
                message: MutableMapping[str, Any] = {"more_body": True}
                while message.get("more_body") and left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))

    def _checked(self, check: Callable[..., None], *arguments: Any) -> None:
        try:
            check(*arguments)
        except LimitError as error:
            text = str(error)
            raise RefusalError(429, f"{text[:1].upper()}{text[1:]}.") from error

    def _check_jobs(self, function: Any, session: str | None, address: str) -> None:
        """Raise `LimitError` if all, an address or a page have as many jobs as they may."""
        events = self._events()
        own = [event for event in events if _sender(event) == address]
        if len(own) >= MOST_EVENTS:
            raise LimitError(f"{len(own)} actions from your address wait or run; wait for their end")
        if not is_long(function.fn):
            return
        long = [event for event in events if is_long(event.fn.fn)]
        of_page = [event for event in long if event.session_hash == session]
        limits = self._visitors.limits
        for most, running, whose in (
            (MOST_OF_A_PAGE, of_page, " of your page"),
            (limits.max_jobs, [event for event in long if _sender(event) == address], " from your address"),
            (2 * limits.max_queue, long, ""),
        ):
            if most is not None and len(running) >= most:
                raise LimitError(
                    f"{len(running)} jobs{whose} wait or run, and {most} may; try again when one is over, or "
                    "stop one"
                )

    @contextmanager
    def _counted(self, scope: Scope, path: str) -> Iterator[None]:
        """Count a request and who listens while it is answered; `RefusalError` if there are too many."""
        address, is_stream = scope["client"][0], scope["method"] == "GET" and bool(_STREAMS.search(path))
        count, most = (self._streams, MOST_STREAMS) if is_stream else (self._requests, MOST_REQUESTS)
        if count[address] >= most:
            raise RefusalError(
                429, f"{most} requests from your address are being answered; wait for their end."
            )
        session = self._session(scope, path) if is_stream else None
        count[address] += 1
        if session is not None:
            self._listeners[session] += 1
        try:
            yield
        finally:
            count[address] -= 1
            if not count[address]:
                del count[address]
            if session is not None:
                self._listeners[session] -= 1
                self._heard[session] = time.monotonic()
                if not self._listeners[session]:
                    del self._listeners[session]

    def _session(self, scope: Scope, path: str) -> str | None:
        if path.endswith("/queue/data"):
            found = re.search(rb"(?:^|&)session_hash=([^&]*)", scope.get("query_string", b""))
            return found[1].decode("latin-1") if found else None
        if found_path := _LISTENING.search(path):
            event = self._page._queue.event_ids_to_events.get(found_path[1])
            return str(event.session_hash) if event is not None else found_path[1]
        return None

    def _events(self) -> list[Any]:
        return list(self._page._queue.event_ids_to_events.values())

    def is_heard(self, session: str) -> bool:
        """Whether somebody listens to a session, or did a moment ago."""
        return session in self._listeners or self._heard.get(session, -SILENCE) > time.monotonic() - SILENCE

    async def _look(self) -> None:
        """End jobs that nobody listens to, and close pages that are gone."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = time.monotonic()
            self._heard = {session: at for session, at in self._heard.items() if at > now - SILENCE}
            for event in self._events():
                if now - event.enqueue_time > SILENCE and not self.is_heard(event.session_hash):
                    # As Gradio does where a listener leaves; it waits for one that never came.
                    await self._page._queue.clean_events(session_hash=event.session_hash)
            self._visitors.close_quiet(self.is_heard)


def long_job(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Mark what answers an event as a long job, of which a page, an address and all may have only some."""
    handler.is_long_job = True  # type: ignore[attr-defined]
    return handler


def is_long(handler: Any) -> bool:
    """Whether `long_job` marked it."""
    return bool(getattr(handler, "is_long_job", False))


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers of a request by their names in small letters; of several the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def is_foreign(headers: dict[str, str]) -> bool:
    """Whether another web page makes a request, as browsers tell; programs tell nothing."""
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    own = {headers.get(name, "").lower() for name in ("host", "x-forwarded-host")}
    return urlsplit(origin).netloc.lower() not in own - {""}


def read_object(body: bytes) -> dict[str, Any]:
    """The object that a request brings as JSON; else a `RefusalError`."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise RefusalError(400, UNREADABLE)
    if _HALF.search(json.dumps(asked, ensure_ascii=False)):
        raise RefusalError(400, "The text holds half a character, as of a cut emoji; type it again.")
    return asked


def read_values(asked: dict[str, Any], function: Any) -> list[Any]:
    """The values for the inputs of a function, in a list or by their names; else a `RefusalError`."""
    data, count = asked.get("data"), len(function.inputs)
    if isinstance(data, list) and len(data) == count:
        return data
    if "data" not in asked and function.api_visibility == "public":
        wanted = list(inspect.signature(function.fn).parameters.values())[:count]
        needed = {each.name for each in wanted if each.default is inspect.Parameter.empty}
        if needed <= set(asked) <= {each.name for each in wanted}:
            return list(asked.values())
    came = len(data) if isinstance(data, list) else "something else"
    raise RefusalError(400, f"This takes a list of {count} values, and {came} came; reload the page.")


def is_session(asked: dict[str, Any]) -> bool:
    """Whether a request names a session as Gradio's clients do."""
    session = asked.get("session_hash")
    return isinstance(session, str) and _SESSION.fullmatch(session) is not None


def _sender(event: Any) -> str:
    client = event.request.scope.get("client") if event.request is not None else None
    return str(client[0]) if client else ""


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read already, and then what comes after it."""
    is_given = False

    async def replayed() -> MutableMapping[str, Any]:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _answer(refusal: RefusalError, path: str, send: Send) -> None:
    # As Gradio does: its upload button shows the text as it is.
    is_plain = path.rstrip("/").endswith("/upload")
    content = (str(refusal) if is_plain else json.dumps({"detail": str(refusal)})).encode()
    kind = b"text/plain; charset=utf-8" if is_plain else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
