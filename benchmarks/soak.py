"""Many visitors of one page for a long time: does anything grow, end wrongly, or cross over?

Each visitor has a clip whose background has a colour of its own, a watermark that every result must still
have. Visitors edit, click, stop listening, send nonsense and leave in the middle, by the API, in an order
drawn at random. ``python -m benchmarks.soak --seconds 3600``
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from dreammotion_core import Video, read_video, write_video

ROOT = Path(__file__).resolve().parents[1]
SIDE, FRAMES = 64, 9
TOLERANCE = 12  # Levels by which an MP4 changes a plain colour.
MARK = {"_type": "gradio.FileData"}


@contextmanager
def running_page(folder: Path, *flags: str) -> Iterator[tuple[str, int]]:
    """The app in a process of its own, with its files in a folder: its address and process number."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = {"GRADIO_TEMP_DIR": str(folder / "gradio"), "TMPDIR": str(folder)}
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), *flags]
    with (folder / "log.txt").open("w") as log:
        page = subprocess.Popen(command, cwd=ROOT, env=os.environ | places, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                httpx.get(url, timeout=5)
                break
            except httpx.HTTPError:
                time.sleep(0.5)
        yield url, page.pid
    finally:
        page.terminate()
        page.wait(30)


class SoakError(Exception):
    """Something that must not happen."""


def expect(holds: bool, otherwise: str) -> None:
    """Raise `SoakError` unless something holds."""
    if not holds:
        raise SoakError(otherwise)


class Visitor:
    """One who uses the API with a clip of their own; `number` decides its colour and all draws."""

    def __init__(self, url: str, number: int, folder: Path, counts: Counter[str]) -> None:
        self.http = httpx.Client(base_url=f"{url}/gradio_api", timeout=120)
        self.colour = np.array([40 + 20 * number, 200 - 18 * number, 60 + 30 * (number % 5)], np.uint8)
        self.draws, self.counts, self.folder = random.Random(number), counts, folder
        frames = np.broadcast_to(self.colour, (FRAMES, SIDE, SIDE, 3)).copy()
        for index in range(FRAMES):
            frames[index, 16:32, 8 + index : 24 + index] = (220, 30, 30)
        self.clip = write_video(Video(frames, 8.0), folder / f"{number}.mp4")

    def act(self) -> None:
        """One thing that visitors do, drawn at random."""
        what = self.draws.choice(("edit", "edit", "segment", "unheard", "left", "nonsense"))
        try:
            getattr(self, f"_{what}")()
            self.counts[what] += 1
        except (httpx.HTTPError, SoakError, KeyError) as error:
            self.counts[f"failed: {what}: {type(error).__name__} {str(error)[:120]}"] += 1

    def _call(self, name: str, data: list[Any]) -> str:
        with self.clip.open("rb") as file:
            path = self.http.post("/upload", files={"files": ("clip.mp4", file)}).json()[0]
        answer = self.http.post(f"/call/{name}", json={"data": [{"path": path, "meta": MARK}, *data]})
        if answer.status_code == 429:
            self.counts["refused by a limit"] += 1
            return ""
        expect(answer.status_code == 200, answer.text)
        return str(answer.json()["event_id"])

    def _result(self, name: str, event: str) -> bytes | None:
        kind = ""
        with self.http.stream("GET", f"/call/{name}/{event}") as lines:
            for line in lines.iter_lines():
                if line.startswith("event:"):
                    kind = line[6:].strip()
                if line.startswith("data:") and kind in ("complete", "error"):
                    found = json.loads(line[5:])
                    # A full line is a fair answer; the limits are the page's.
                    expect(kind == "complete" or "waiting" in str(found), str(found))
                    return self.http.get(found[0]["url"]).content if kind == "complete" else None
        raise SoakError("the answer ended early")

    def _edit_words(self) -> list[Any]:
        words = f"a blue square {self.draws.random()}"
        return [12, 24, "a red square", words, 1, self.draws.randrange(2**31)]

    def _edit(self) -> None:
        event = self._call("edit_video", self._edit_words())
        result = self._result("edit_video", event) if event else None
        if result is not None:
            place = self.folder / f"result-{threading.get_ident()}.mp4"
            place.write_bytes(result)
            corner = read_video(place).frames[:, -6:, -6:].astype(int)
            place.unlink()
            expect(abs(corner - self.colour).max() <= TOLERANCE, "the clip of another came back")

    def _segment(self) -> None:
        event = self._call("segment", [12, 24])
        expect(not event or self._result("segment", event) is not None, "no mask came")

    def _unheard(self) -> None:
        self._call("edit_video", [*self._edit_words()[:4], 500, 1])

    def _left(self) -> None:
        event = self._call("edit_video", [*self._edit_words()[:4], 500, 1])
        if event:
            with self.http.stream("GET", f"/call/edit_video/{event}") as lines:
                next(lines.iter_lines(), None)

    def _nonsense(self) -> None:
        answer = self.http.post("/queue/join", content=self.draws.randbytes(200))
        expect(answer.status_code == 400, answer.text)


def facts(pid: int, folder: Path) -> dict[str, int]:
    """Memory in MB, descriptors and threads of the page, and the files that it keeps."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return {
        "memory": int(resident.split()[1]) // 1024,
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "folders": len(list(folder.glob("dreammotion-*"))),
    }


def soak(seconds: float, visitors: int, *flags: str) -> tuple[Counter[str], list[dict[str, int]]]:
    """Let visitors act for so long; counts of what they did and what failed, and the facts over time."""
    counts, course = Counter[str](), list[dict[str, int]]()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        with running_page(folder, "--max-jobs", "64", *flags) as (url, pid):
            end = time.monotonic() + seconds

            def stay(number: int) -> None:
                visitor = Visitor(url, number, folder, counts)
                with visitor.http:
                    while time.monotonic() < end:
                        visitor.act()

            threads = [threading.Thread(target=stay, args=(number,)) for number in range(visitors)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                course.append(facts(pid, folder))
                time.sleep(min(15, seconds / 4))
            for thread in threads:
                thread.join()
            course.append(facts(pid, folder))
        log = (folder / "log.txt").read_text()
        if "Traceback" in log:
            counts["failed: traceback in the log"] = log.count("Traceback")
    return counts, course


def main() -> int:
    """Run it and print what came of it; 1 if anything failed."""
    parser = argparse.ArgumentParser(description="Many visitors of one page for a long time.")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--visitors", type=int, default=8)
    options = parser.parse_args()
    counts, course = soak(options.seconds, options.visitors)
    for row in course:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    for what, count in counts.most_common():
        print(f"{count:6d}  {what}")
    return int(any(what.startswith("failed") for what in counts))


if __name__ == "__main__":
    sys.exit(main())
