"""The app as a visitor meets it: a process of its own, found by its address."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 150


@contextmanager
def serve(
    log: Path, *flags: str, program: Sequence[str] = (str(ROOT / "app.py"),), **variables: str
) -> Iterator[str]:
    """Run ``app.py`` and give its address. What it prints goes to `log`.

    Args:
        log: a file.
        flags: of the command line.
        program: what Python runs instead.
        variables: of the environment, beyond those of this process.
    """
    port = free_port()
    command = [sys.executable, *program, "--port", str(port), *flags]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(log.parent / "gradio")} | variables
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        wait_until_up(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)  # Gradio gives its listeners five seconds, more on a busy machine.


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the app ended at once:\n{log.read_text()}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise TimeoutError(f"the app did not start in {START_SECONDS} s:\n{log.read_text()}")


@contextmanager
def proxied(url: str, prefix: str) -> Iterator[tuple[str, list[str]]]:
    """Serve a page below a path, as nginx does with ``location /prefix/ { proxy_pass http://page/; }``.

    Gives the address for visitors, and the paths outside the prefix that were asked for, all of them refused.
    """
    page = url.removeprefix("http://")
    strays: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not self.path.startswith(f"{prefix}/"):
                strays.append(self.path)
                self.send_error(404)
                return
            connection = http.client.HTTPConnection(page, timeout=600)
            kept = {
                k: v for k, v in self.headers.items() if k.lower() not in ("connection", "accept-encoding")
            }
            connection.request(self.command, self.path.removeprefix(prefix), body or None, kept)
            response = connection.getresponse()
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            with suppress(ConnectionError, http.client.HTTPException):
                while piece := response.read1():
                    self.wfile.write(piece)
            connection.close()

        do_GET = do_HEAD = do_POST = answer  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}/", strays
    finally:
        server.shutdown()
        server.server_close()
