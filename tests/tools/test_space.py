"""What goes to a Space, and how it gets there."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from segmentation import list_segmenters
from segmentation.weights import EDGETAM
from tests.serving import ROOT
from tools import space
from tools.space import File, Installation


def test_only_what_a_space_needs_is_listed_and_it_is_small(capsys: pytest.CaptureFixture[str]) -> None:
    assert space.main(["dry"]) == 0

    files = space.needed_files()
    names = {file.name for file in files}
    assert {"app.py", "requirements.txt", "README.md", "assets/toybox/model_index.json"} <= names
    assert not [
        name for name in names if name.startswith(("tests", "benchmarks", "training", "docs", "tools"))
    ]
    assert sum(file.size for file in files) <= 75_000_000
    assert max(file.size for file in files) <= 10_000_000
    assert f"{len(files)} files" in capsys.readouterr().out


def test_what_is_too_large_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    large = [File("assets/one", 10_000_001), *(File(f"assets/{index}", 9_000_000) for index in range(8))]
    monkeypatch.setattr(space, "needed_files", lambda: large)

    assert space.main(["upload", "somebody/dreammotion"]) == 2

    said = capsys.readouterr().out
    assert "82.0 MB are more than 75 MB" in said
    assert "assets/one has 10.0 MB" in said


def test_the_front_matter_fits_the_requirements_and_the_segmenters() -> None:
    head = space.front_matter()
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))

    assert head["sdk"] == "gradio"
    assert head["sdk_version"] == pins["gradio"]
    assert head["python_version"] == "3.12.12"
    assert head["startup_duration_timeout"] == "1h"
    assert head["header"] == "mini"
    assert len(head["short_description"]) <= 60
    repository = EDGETAM.url.split("/resolve/")[0].removeprefix("https://huggingface.co/")
    commit, file = EDGETAM.url.split("/resolve/")[1].split("/")
    assert json.loads(head["preload_from_hub"]) == [f"{repository} {file} {commit}"]
    assert head["models"] == f"[{repository}]"
    assert EDGETAM.name in {spec.name for spec in list_segmenters()}


class Hub(ThreadingHTTPServer):
    """A stand-in for the hub: keeps the files of one Space."""

    def __init__(self, *, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.status = status
        self.files: dict[str, bytes] = {"tests/old.py": b"old", ".gitattributes": b""}
        self.commits = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        if "/tree/" in self.path:
            rows = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in self.server.files]
            self._say(rows)
        else:
            siblings = [{"rfilename": name} for name in self.server.files]
            self._say({"id": "somebody/dreammotion", "sha": "0" * 40, "siblings": siblings})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/repos/create"):
            self._say({"url": f"{self.server.address}/spaces/somebody/dreammotion"})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            answer = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in asked
            ]
            self._say({"files": answer})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                self._change(line["key"], line["value"])
            self.server.commits += 1
            self._say({"commitUrl": f"{self.server.address}/spaces/o/n/commit/1", "commitOid": "1" * 40})
        else:
            self._say({"type": "file"})

    def _change(self, key: str, value: dict[str, Any]) -> None:
        if key == "file":
            self.server.files[value["path"]] = base64.b64decode(value["content"])
        elif key == "deletedFile":
            self.server.files.pop(value["path"])

    def _say(self, answer: Any) -> None:
        refused = self.server.status != 200
        body = json.dumps({"error": "refused"} if refused else answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def upload(hub: Hub, home: Path, name: str = "somebody/dreammotion") -> subprocess.CompletedProcess[str]:
    variables = {
        "HF_ENDPOINT": hub.address,
        "HF_TOKEN": "hf_stand_in",
        "HF_HOME": str(home),
        "PATH": "/usr/bin",
    }
    command = [sys.executable, "-m", "tools.space", "upload", name]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


def test_an_upload_sends_these_files_and_deletes_the_others(hub: Hub, tmp_path: Path) -> None:
    done = upload(hub, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{hub.address}/spaces/somebody/dreammotion" in done.stdout
    expected = {file.name for file in space.needed_files()}
    assert set(hub.files) - {".gitattributes"} == expected
    assert hub.files["app.py"] == (ROOT / "app.py").read_bytes()
    assert hub.commits == 1


@pytest.mark.parametrize("status", [401, 403, 404, 429, 402])
def test_a_hub_that_refuses_is_told_in_one_line(hub: Hub, tmp_path: Path, status: int) -> None:
    hub.status = status

    done = upload(hub, tmp_path)

    assert done.returncode == 1
    assert str(status) in done.stdout
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_name_without_its_owner_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert space.main(["upload", ""]) == 2
    assert "make space SPACE=owner/name" in capsys.readouterr().out


def test_a_contradiction_is_told_and_the_other_places_are_still_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = dict.fromkeys(("torch", "torchvision", "gradio", "huggingface-hub", "pydantic", "numpy"), "1.0")

    def resolve(place: Installation) -> dict[str, str]:
        if "lent" in place.name:
            raise ValueError("torch 2.15.0 contradicts torch<=2.13.0")
        return found

    monkeypatch.setattr(space, "resolve", resolve)

    assert space.main(["check"]) == 1
    said = capsys.readouterr().out
    assert "✗ Space, lent GPU, Python 3.12\ntorch 2.15.0 contradicts" in said
    assert said.count("✓") == len(space.installations("1")) - 1


@pytest.mark.skipif(find_spec("uv") is None, reason="uv is not installed; see requirements-dev.txt")
def test_the_requirements_resolve_where_gpus_are_lent() -> None:
    (lent, *_) = space.installations(space.front_matter()["sdk_version"])
    try:
        found = space.resolve(lent)
    except ValueError as error:
        if re.search("Connect|dns|request|fetch", str(error)):
            pytest.skip("no package index can be reached")
        raise

    assert found["gradio"] == space.front_matter()["sdk_version"]
    assert tuple(map(int, found["torch"].split("."))) <= (2, 13, 0)
