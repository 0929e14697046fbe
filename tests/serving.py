"""The app as a visitor meets it: a process of its own, found by its address."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
