"""A stand-in for the service that lends GPUs, under the real package ``spaces``; and a page that borrows.

The service answers over HTTP as the platform's does, so the package forks, pickles, and turns exceptions
into its own errors. The stand-in can refuse a loan and kill a worker. Run as a program, this module is the
page: it plays the scenes below and prints what came of each as JSON.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlparse

GRANTED = 200, {"idle": False, "nvidiaIndex": 0, "nvidiaUUID": "stand-in", "allowToken": "token"}
REFUSALS: dict[str, tuple[int, Any, dict[str, str]]] = {
    "quota": (429, {"left": 5, "wait": 3723}, {"X-Approve-Result": "quota-exceeded"}),
    "illegal": (429, {"left": 120, "wait": -1}, {"X-Approve-Result": "illegal-duration"}),
    "pending": (429, {"left": 0, "wait": 60}, {"X-Approve-Result": "pending-overquota-exceeded"}),
    "expired": (401, {}, {}),
    "busy": (503, {}, {}),
    "timeout": (200, "event: failed\n\n", {"Content-Type": "text/event-stream", "X-Queuing-Reason": "node"}),
    "broken": (500, {}, {}),
}


@dataclass
class Lender:
    """Lends nothing but a process of its own.

    Attributes:
        refusal: how the next loans are refused; empty grants them.
        asked: the query of every loan.
        workers: process ids, in the order in which they began to work.
        released: how loans ended: whether they failed.
    """

    refusal: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    workers: list[int] = field(default_factory=list)
    released: list[bool] = field(default_factory=list)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        if path == "/schedule":
            self.asked.append(query)
            return REFUSALS[self.refusal] if self.refusal else (*GRANTED, {})
        if path == "/allow":
            self.workers.append(int(query["pid"]))
        if path == "/release":
            self.released.append(query["fail"].lower() == "true")
        return 200, {}, {}

    def serve(self) -> str:
        lender = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                url = urlparse(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                status, content, headers = lender.answer(url.path, query)
                body = content if isinstance(content, str) else json.dumps(content)
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"


def play() -> dict[str, Any]:
    """Every scene on one page, one after the other."""
    lender = Lender()
    os.environ |= {"SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": lender.serve()}
    import spaces
    import spaces.zero.torch as weights

    # There is no GPU to bring weights to.
    weights.init = weights.move = lambda *_, **__: None

    from dreammotion_core import write_video
    from tests.tiny import moving_square, save_tiny_unet3d
    from tests.web.pages import PROMPTS, Page, form
    from web import Example, HostedEditor, LazyEditor
    from web.boards import Boards
    from web.models import Models
    from web.scoring import SharedInstruments

    with tempfile.TemporaryDirectory() as folder:
        editor = LazyEditor(str(save_tiny_unet3d(Path(folder))))
        editor.pipeline()
        hosted = HostedEditor(editor, lend=spaces.GPU)
        clip = write_video(moving_square(num_frames=4, size=(64, 64))[0], Path(folder) / "clip.mp4")
        page = Page(hosted, [Example("square", clip, "a red car", ("a blue car",), (12.0, 24.0))])
        token = page.arrive()
        page.click(token)
        boards = Boards(
            visitors=page.visitors,
            device=page.device,
            models=Models(hosted),
            instruments=SharedInstruments(),
        )

        def run(handler: Callable[..., Iterator[dict[str, Any]]], act: Any = None, **changes: Any) -> Any:
            """What the page says at the end, after something was done once some captions were seen."""
            before = len(lender.asked), len(lender.released)
            captions, listed, error, is_acted = [], 0, "", False
            try:
                with closing(handler(token=token, **PROMPTS, **form(**changes))) as updates:
                    for update in updates:
                        caption = update.get("player", {}).get("caption") or update.get("board_status", "")
                        captions.append(caption)
                        if act is not None and re.search(r"tep [2-9]\d* of", caption) and not is_acted:
                            is_acted = True
                            act()
            except Exception as failure:
                error = f"{type(failure).__name__}: {failure}"
            listed = len(page.visitors.get(token).runs.rows)
            with page.device.enter() as ticket:
                is_free = ticket.wait(seconds=0.01)
            return {
                "caption": captions[-1] if captions else "",
                "captions": len(captions),
                "error": error,
                "runs": listed,
                "asked": lender.asked[before[0] :],
                "released": lender.released[before[1] :],
                "waiting": not is_free,
            }

        def kill() -> None:
            os.kill(lender.workers[-1], signal.SIGKILL)

        edit, found = page.edits.run, {}
        found["edit"] = run(edit)
        found["stop"] = run(edit, lambda: page.edits.stop(token), steps=200)
        found["abort"] = run(edit, kill, steps=200)
        found["after the abort"] = run(edit)
        for name in REFUSALS:
            lender.refusal = name
            found[name] = run(edit)
        lender.refusal = ""
        found["too long"] = run(edit, steps=9000)
        found["our error"] = run(edit, key_sites="nothing.like.this")
        found["board"] = run(boards.run, steps=2)
        # Workers that the package keeps for later loans would hold the program, and its output open.
        for worker in set(lender.workers):
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        return found


if __name__ == "__main__":
    print("\n" + json.dumps(play()), flush=True)
    sys.stdout.flush()
    os._exit(0)
