"""Choosing what answers the clicks: said before it costs anything, shared by all, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import app
import segmentation
from segmentation import (
    CheckpointError,
    Click,
    Prompt,
    Segmenter,
    Selection,
    Tracks,
    UnknownSegmenterError,
    download_weights,
    list_segmenters,
    load_segmenter,
)
from segmentation.sam import SamSegmenter
from segmentation.weights import SAM_VARIANTS
from tests.segmentation.tiny_models import tiny_sam
from tests.tiny import moving_square
from web.clip import Clip
from web.models import Segmenters
from web.pickers import SegmenterPicker
from web.visitors import VisitorStore

SAM = SAM_VARIANTS[0].spec
ON_SQUARE = Prompt(Selection(clicks=(Click(12, 24),)))


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMMOTION_CACHE", str(tmp_path / "cache"))


class Loader:
    """Gives Segment Anything at a tiny size under its published name, slowly."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, name: str) -> Segmenter:
        self.calls += 1
        time.sleep(0.05)
        if self.calls == 1 and name == "sam-vit-l":
            raise CheckpointError("the first download fails")
        return SamSegmenter(tiny_sam(), spec=next(spec for spec in list_segmenters() if spec.name == name))


class Page:
    """The picker with two visitors who have a clip open."""

    def __init__(self, load: Any = None, download: Any = lambda _: (each for each in ())) -> None:
        self.segmenters = Segmenters(load_segmenter(), load=load or Loader(), download=download)
        self.visitors = VisitorStore()
        self.picker = SegmenterPicker(visitors=self.visitors, segmenters=self.segmenters)

    def arrive(self) -> str:
        token = self.visitors.admit()
        video, _ = moving_square(3, (64, 64))
        tracks = Tracks(self.segmenters.first.open(video.frames), video.frames)
        self.visitors.get(token).clip = Clip(Path("clip.mp4"), video, tracks, "embedded")
        return token

    def clip(self, token: str) -> Clip:
        clip = self.visitors.get(token).clip
        assert clip is not None
        return clip

    def use(self, token: str, name: object) -> list[dict[str, Any]]:
        return [update["segmenter"] for update in self.picker.use(token=token, segmenter=name)]


@pytest.fixture
def page() -> Page:
    return Page()


def choice(view: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in view["choices"] if each["name"] == name)


def test_every_segmenter_is_listed_with_licence_size_and_state(page: Page) -> None:
    update = page.picker.show(token=page.arrive())

    view = update["segmenter"]
    assert [each["name"] for each in view["choices"]] == [spec.name for spec in list_segmenters()]
    assert view["active"] == "embedded"
    assert "Embedded" in update["segmenter_box"].label
    assert choice(view, "embedded")["facts"] == "no weights · Apache-2.0"
    assert choice(view, "embedded")["words"] == "ready"
    assert choice(view, "mobile-sam")["facts"] == "41 MB · Apache-2.0"
    assert choice(view, "mobile-sam")["words"] == "will download"
    assert choice(view, "sam-vit-h")["action"] == "Download 2.6 GB and use Segment Anything (huge)"
    assert "SAM" not in choice(view, "embedded")["label"]


def test_one_that_cannot_run_here_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(load_segmenter, download_weights)
    token = page.arrive()
    monkeypatch.setattr("segmentation.base.find_spec", lambda name: None if name == "timm" else object())

    view = page.picker.show(token=token)["segmenter"]
    mobile = choice(view, "mobile-sam")
    after = page.use(token, "mobile-sam")[-1]

    assert mobile["words"] == "not available here"
    assert mobile["action"] is None
    assert "install timm" in mobile["advice"]
    assert "install timm" in after["note"]
    assert after["active"] == "embedded"


def test_a_download_is_announced_with_its_size_before_it_begins(page: Page) -> None:
    token = page.arrive()
    updates = page.picker.use(token=token, segmenter="sam-vit-b")

    view = next(updates)["segmenter"]

    assert view["note"].startswith("Downloading Segment Anything (base), 375 MB, once for this machine")
    assert view["is_busy"]
    assert page.segmenters._make.calls == 0  # type: ignore[attr-defined]
    assert not list(updates)[-1]["segmenter"]["is_busy"]


class Download:
    """Three steps of a download, of which the second waits until it is let go on."""

    def __init__(self) -> None:
        self.go_on, self.closed, self.begun = threading.Event(), threading.Event(), 0

    def __call__(self, _name: str) -> Generator[segmentation.Download, None, None]:
        self.begun += 1
        try:
            for received in (0, 40_000_000, 375_000_000):
                yield segmentation.Download(received, 375_000_000)
                if received:
                    self.go_on.wait(5)
        finally:
            self.closed.set()


@pytest.fixture
def _every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.views.SECONDS_BETWEEN_UPDATES", 0.0)
    monkeypatch.setattr("web.models._SECONDS_BETWEEN_LOOKS", 0.01)


@pytest.mark.usefixtures("_every_step")
def test_a_download_shows_how_far_it_is() -> None:
    page = Page(download=(download := Download()))
    download.go_on.set()

    views = page.use(page.arrive(), "sam-vit-b")

    shares = [None, 0.0, pytest.approx(0.107, abs=1e-3), 1.0, None, None]
    assert [view["progress"] for view in views] == shares
    assert views[2]["note"].startswith("Downloading Segment Anything (base): 40 MB of 375 MB.")
    assert views[-2]["note"] == "Preparing Segment Anything (base)."
    assert views[-1]["active"] == "sam-vit-b"


@pytest.mark.usefixtures("_every_step")
def test_a_download_can_be_stopped_and_the_former_segmenter_stays() -> None:
    page = Page(download=(download := Download()))
    token = page.arrive()
    updates = page.picker.use(token=token, segmenter="sam-vit-b")
    while not next(updates)["segmenter"]["progress"]:
        pass

    page.picker.stop(token)
    download.go_on.set()
    view = list(updates)[-1]["segmenter"]

    assert view["note"] == "Stopped. Embedded (colour and motion) still answers your clicks."
    assert not view["is_busy"]
    assert download.closed.is_set()
    assert page.segmenters._make.calls == 0  # type: ignore[attr-defined]
    assert page.use(token, "sam-vit-b")[-1]["active"] == "sam-vit-b"


@pytest.mark.usefixtures("_every_step")
def test_who_waits_for_the_download_of_another_sees_it_and_goes_on_where_it_was_stopped() -> None:
    page = Page(download=(download := Download()))
    first, second = page.arrive(), page.arrive()
    begun = page.picker.use(token=first, segmenter="sam-vit-b")
    while not next(begun)["segmenter"]["progress"]:
        pass
    waiting = page.picker.use(token=second, segmenter="sam-vit-b")
    next(waiting)

    assert next(waiting)["segmenter"]["note"].startswith("Downloading Segment Anything (base): 40 MB")
    begun.close()
    download.go_on.set()

    assert list(waiting)[-1]["segmenter"]["active"] == "sam-vit-b"
    assert download.begun == 2


def test_clip_and_clicks_stay_and_only_what_was_followed_is_made_anew(page: Page) -> None:
    token = page.arrive()
    clip = page.clip(token)
    clip.history = clip.history.do(lambda project: project.with_prompt(1, ON_SQUARE))
    list(clip.tracks.update(clip.project))
    before = clip.history

    view = page.use(token, "sam-vit-b")[-1]

    assert page.clip(token) is clip
    assert clip.history is before
    assert not clip.is_followed
    assert clip.tracks.num_missing(clip.project) == 2
    assert clip.segmenter == view["active"] == "sam-vit-b"
    assert choice(view, "sam-vit-b")["words"] == "ready"
    list(clip.tracks.update(clip.project))
    assert clip.is_followed


def test_another_visitor_keeps_an_own_choice(page: Page) -> None:
    first, second = page.arrive(), page.arrive()

    page.use(first, "sam-vit-b")

    assert page.clip(second).segmenter == "embedded"
    assert page.picker.show(token=second)["segmenter"]["active"] == "embedded"


def test_many_who_choose_the_same_at_once_share_one(page: Page) -> None:
    start = threading.Barrier(6)

    def get(_: int) -> Segmenter:
        start.wait()
        return page.segmenters.get("sam-vit-b")

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(get, range(6)))

    assert len({id(segmenter) for segmenter in found}) == 1
    assert page.segmenters._make.calls == 1  # type: ignore[attr-defined]


def test_without_a_network_the_former_segmenter_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    page = Page(load_segmenter, download_weights)
    token = page.arrive()

    view = page.use(token, "sam2-tiny")[-1]

    assert view["is_problem"]
    assert view["note"].startswith("SAM 2.1 (tiny) could not be downloaded. Check the network connection")
    assert "--segmenter sam2-tiny --checkpoint" in view["note"]
    assert str(tmp_path) not in view["note"]
    assert view["note"].endswith("Embedded (colour and motion) still answers your clicks.")
    assert view["active"] == view["chosen"] == page.clip(token).segmenter == "embedded"
    assert not view["is_busy"]
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_one_that_cannot_take_the_open_clip_leaves_the_former_at_work(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("out of memory")

    token = page.arrive()
    monkeypatch.setattr(SamSegmenter, "open", fails)

    view = page.use(token, "sam-vit-b")[-1]

    assert view["is_problem"]
    assert view["note"].endswith(". Embedded (colour and motion) still answers your clicks.")
    assert ".." not in view["note"]
    assert view["active"] == page.clip(token).segmenter == "embedded"
    assert page.visitors.get(token).segmenter is None


def test_what_failed_once_can_be_tried_again(page: Page) -> None:
    token = page.arrive()

    assert page.use(token, "sam-vit-l")[-1]["is_problem"]
    assert page.use(token, "sam-vit-l")[-1]["active"] == "sam-vit-l"


@pytest.mark.parametrize("name", ["magic", None, 7, {"choices": []}])
def test_a_choice_that_is_none_is_answered_with_those_there_are(page: Page, name: object) -> None:
    view = page.use(page.arrive(), name)[-1]

    assert "choose one of: embedded" in view["note"]
    assert view["active"] == "embedded"


def test_one_that_the_server_was_started_with_is_the_first() -> None:
    own = SamSegmenter(tiny_sam(), spec=SAM)
    segmenters = Segmenters(own, load=Loader())
    picker = SegmenterPicker(visitors=(visitors := VisitorStore()), segmenters=segmenters)

    view = picker.show(token=visitors.admit())["segmenter"]

    assert view["active"] == SAM.name
    assert choice(view, SAM.name)["words"] == "ready"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--segmenter", "magic"], "there is no segmenter 'magic'"),
        (["--checkpoint", "weights.pth"], "has no weights but the checkpoint weights.pth was passed"),
        (["--segmenter", "sam-vit-b", "--checkpoint", "missing.pth"], "missing.pth"),
    ],
)
def test_a_start_that_cannot_be_is_refused_in_one_sentence(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["app.py", *words])

    with pytest.raises(SystemExit) as stopped:
        app.main()

    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_an_unknown_name_is_refused_before_anything_is_loaded(page: Page) -> None:
    with pytest.raises(UnknownSegmenterError, match="choose one of"):
        page.segmenters.get("magic")

    assert page.segmenters._make.calls == 0  # type: ignore[attr-defined]
