"""What strangers send: every event of the page, private ones too, with values that fit and that do not."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving import ROOT, serve
from tests.tiny import save_tiny_unet3d
from web.wiring import UNEXPECTED

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed: requirements-dev.txt")
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

SAMPLE, ALL = 100, 10_000
PATHS = ("queue/join", "component_server", "call/edit_video", "call/v2/segment", "run/predict", "cancel")
RELAXED: dict[str, Any] = {
    **{"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)},
    "phases": [Phase.explicit, Phase.generate],
}

WORDS = ("click", "box", "absent", "clear", "undo", "redo", "add", "pick", "remove", "style", "choose")
MARK = {"_type": "gradio.FileData"}
ODD = (
    *(None, True, False, 0, -1, 1, 0.5, 10**30, -(2**63), 1e308, float("nan"), float("inf")),
    *("", " ", "0", "x", "-1", "<b>", "../../etc/passwd", "\0", "x" * 5000, "\U0001f600", "a\nb"),
    *([], [[]], {}, {"path": "/etc/passwd"}, {"path": "/etc/passwd", "meta": MARK}),
    *({"url": "http://127.0.0.1:1/x"}, [None] * 40),
)
VALUES = st.recursive(
    st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
COMMANDS = st.fixed_dictionaries(
    {"do": st.sampled_from(WORDS) | VALUES},
    optional=dict.fromkeys(
        ("frame", "x", "y", "x0", "y0", "x1", "y1", "is_positive", "object", "name", "colour", "value"),
        st.integers(0, 63) | VALUES,
    ),
)


class Stranger:
    """Speaks to a running page as its own scripts do, and with less care."""

    def __init__(self, url: str, log: Path) -> None:
        self.http = httpx.Client(base_url=f"{url}/gradio_api", timeout=60)
        config = httpx.get(f"{url}/config", timeout=60).json()
        self.events = config["dependencies"]
        self.shown = {each["id"]: each["props"].get("value") for each in config["components"]}
        self.canvas = next(e["id"] for e in config["components"] if e["props"].get("elem_id") == "canvas")
        self.log, self.session, self.token = log, "", None
        self.arrive()

    def arrive(self) -> None:
        self.session = secrets.token_hex(6)
        load = next(event for event in self.events if [0, "load"] in [list(t) for t in event["targets"]])
        assert self.send(load, [])["success"]
        for event in self.events:
            if event["targets"] and event["targets"][0][1] == "then" and len(event["inputs"]) == 2:
                found = json.dumps(self.send(event, [self.shown[each] for each in event["inputs"]]))
                if '"token": "' in found:
                    self.token = found.split('"token": "')[1].split('"')[0]
                    return

    def send(self, event: dict[str, Any], data: Any) -> dict[str, Any]:
        """An event and what came of it."""
        body = {"data": data, "fn_index": event["id"], "session_hash": self.session}
        answer = self.post("queue/join", body)
        if answer.status_code != 200:
            return {"success": False, "error": answer.json()["detail"]}
        with self.http.stream("GET", "queue/data", params={"session_hash": self.session}) as lines:
            for line in lines.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                is_own = message.get("event_id") == answer.json()["event_id"]
                if is_own and message["msg"] == "process_completed":
                    output = message["output"]
                    return {"success": message["success"], "error": output.get("error"), "output": output}
        return {"success": False, "error": "the stream ended"}

    def post(self, path: str, body: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode("ascii")
        return self.http.post(path, content=content, headers={"content-type": "application/json"})

    def check(self, found: Any) -> None:
        """One sentence where it failed; no path of the server, and no traceback in its log."""
        text = json.dumps(found, default=str)
        assert UNEXPECTED not in text
        assert str(ROOT) not in text
        assert "Traceback" not in self.log.read_text()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stranger]:
    folder = tmp_path_factory.mktemp("fuzzed")
    model = save_tiny_unet3d(folder / "tiny")
    with serve(
        folder / "log.txt", "--model", str(model), "--allow-downloads", "none", "--max-steps", "3"
    ) as url:
        found = Stranger(url, folder / "log.txt")
        with closing(found.http):
            yield found


def play(stranger: Stranger, count: int) -> None:
    @settings(max_examples=6 * count // 10, derandomize=count == SAMPLE, **RELAXED)
    @given(st.data())
    def events(data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(stranger.events))
        values = [stranger.shown[each] for each in event["inputs"]]
        for place in data.draw(st.lists(st.integers(0, max(0, len(values) - 1)), max_size=3)):
            if values:
                values[place] = data.draw(VALUES)
        if data.draw(st.integers(0, 19)) == 0:
            values = data.draw(VALUES)
        found = stranger.send(event, values)
        assert found["success"] or found["error"], (event["api_name"], values)
        stranger.check(found)

    @settings(max_examples=3 * count // 10, derandomize=count == SAMPLE, **RELAXED)
    @given(st.lists(COMMANDS | VALUES, max_size=3), VALUES, st.booleans())
    def canvas(commands: list[Any], odd: Any, is_odd: bool) -> None:
        payload = {"token": stranger.token, "clip": 1, "frame": 0, "commands": commands, "overlays": [0]}
        if is_odd:
            payload[secrets.choice(list(payload))] = odd
        body = {"data": payload, "component_id": stranger.canvas, "fn_name": "ask", "session_hash": "a"}
        answer = stranger.post("component_server", body)
        assert answer.status_code < 500
        stranger.check(answer.text)

    @settings(max_examples=count // 10, derandomize=count == SAMPLE, **RELAXED)
    @given(
        st.sampled_from(PATHS),
        st.binary(max_size=50) | VALUES.map(lambda value: json.dumps(value).encode("ascii")),
    )
    def bodies(path: str, body: bytes) -> None:
        answer = stranger.post(path, body)
        assert answer.status_code < 500, (path, body, answer.text)
        stranger.check(answer.text)

    events()
    canvas()
    bodies()


def test_a_sample_of_what_strangers_send_finds_nothing(stranger: Stranger) -> None:
    play(stranger, SAMPLE)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_requests_find_nothing(stranger: Stranger) -> None:
    play(stranger, ALL)
