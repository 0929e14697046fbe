"""A stand-in for who publishes weights: answers as it should, or as it should not."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import huggingface_hub
import pytest
import torch

from segmentation.sam import build_mobile_sam
from segmentation.weights import MOBILE_SAM, Variant
from tests.segmentation.test_sam import as_published

BLOCK = 1 << 18


class Publisher(ThreadingHTTPServer):
    """Serves one file under every address, as a plain server does and as the hub does.

    Attributes:
        content: of the file.
        status: of the answer.
        mode: ``"broken"`` sends other bytes, ``"short"`` ends early, ``"silent"`` sends none, ``"slow"`` is
            slow, ``"nonsense"`` speaks no HTTP, ``"endless"`` breaks off a file whose size it did not say.
        num_sent: files that were sent whole.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content, self.status, self.mode, self.num_sent = content, 200, "", 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def published(self, variant: Variant) -> Variant:
        """A set of weights of which this is the publisher."""
        path = (
            "/weights.pt" if variant._on_hub is None else variant.url.removeprefix("https://huggingface.co")
        )
        url = variant.url if variant._on_hub is not None else self.address + path
        digest = hashlib.sha256(self.content).hexdigest()
        return replace(variant, url=url, size_bytes=len(self.content), sha256=digest)

    def program(self) -> tuple[str, ...]:
        """Arguments of a Python that serves the page, for which this publishes MobileSAM."""
        ours = self.published(MOBILE_SAM)
        code = (
            "from dataclasses import replace\n"
            "import segmentation.catalog as catalog, segmentation.sam as sam\n"
            f"ours = replace(sam.MOBILE_SAM, url={ours.url!r}, size_bytes={ours.size_bytes}, "
            f"sha256={ours.sha256!r})\n"
            "catalog._WITH_WEIGHTS[ours.name] = sam.MOBILE_SAM = ours\n"
            "import app; app.main()\n"
        )
        return "-c", code

    def stand_in_for_the_hub(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the hub's library ask here, for the rest of a test."""
        constants = huggingface_hub.constants
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, self.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", self.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def random_mobile_sam() -> bytes:
    """A file with random weights of MobileSAM, of its real size."""
    torch.manual_seed(1)
    file = io.BytesIO()
    torch.save(as_published(build_mobile_sam()), file)
    assert len(file.getvalue()) == pytest.approx(MOBILE_SAM.size_bytes, rel=0.05)
    return file.getvalue()


@contextmanager
def publisher_of(content: bytes) -> Iterator[Publisher]:
    """A publisher at work."""
    with Publisher(content) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class _Answer(BaseHTTPRequestHandler):
    server: Publisher

    def do_HEAD(self) -> None:
        self._say_what_comes()

    def do_GET(self) -> None:
        content, mode = self.server.content, self.server.mode
        if mode == "nonsense":
            self.wfile.write(b"garbage\r\n\r\n")
            return
        self._say_what_comes()
        if self.server.status != 200:
            return
        if mode == "endless":
            self.wfile.write(b"5\r\nab")
            return
        if mode == "silent":
            time.sleep(4)
            return
        if mode == "broken":
            content = bytes(len(content))
        if mode == "short":
            content = content[: len(content) // 2]
        try:
            for begin in range(0, len(content), BLOCK):
                self.wfile.write(content[begin : begin + BLOCK])
                if mode == "slow":
                    time.sleep(0.02)
            self.server.num_sent += 1
        except OSError:
            pass

    def _say_what_comes(self) -> None:
        self.send_response(self.server.status)
        if self.server.mode == "endless" and self.command == "GET":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(self.server.content)))
        self.send_header("ETag", '"1"')
        self.send_header("X-Repo-Commit", self.path.split("/")[4] if "/resolve/" in self.path else "")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass
