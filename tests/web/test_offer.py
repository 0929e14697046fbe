"""From the first click to a mask by SAM in two clicks, with a stand-in for the publisher of its weights."""

from __future__ import annotations

import shutil
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segmentation import load_segmenter, weights, weights_reachable
from segmentation.sam import load_sam
from segmentation.weights import EDGETAM, MOBILE_SAM, Variant
from tests.publisher import Publisher, publisher_of, random_mobile_sam
from tests.web.pages import Page
from web import Segmenters
from web.pickers import SegmenterOffer, SegmenterPicker


@pytest.fixture(scope="module")
def content() -> bytes:
    return random_mobile_sam()


@pytest.fixture
def publisher(content: bytes) -> Iterator[Publisher]:
    with publisher_of(content) as server:
        yield server


@pytest.fixture
def variant(publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Variant:
    monkeypatch.setenv("DREAMMOTION_CACHE", str(tmp_path / "cache"))
    return publisher.published(MOBILE_SAM)


class Bench:
    """A page with the offer, and a visitor who has clicked."""

    def __init__(self, page: Page, variant: Variant, **options: Any) -> None:
        self.page, self.variant = page, variant
        self.segmenters = Segmenters(
            load_segmenter(),
            load=lambda _: load_sam(MOBILE_SAM, checkpoint=variant.path),
            download=lambda _: variant.download(),
        )
        self.token = page.arrive()
        self.offer = self.made(**options)

    def made(self, names: tuple[str, ...] = ("mobile-sam",), is_reachable: Any = None) -> SegmenterOffer:
        picker = SegmenterPicker(visitors=self.page.visitors, segmenters=self.segmenters)
        return SegmenterOffer(
            visitors=self.page.visitors,
            segmenters=self.segmenters,
            picker=picker,
            names=names,
            is_reachable=is_reachable or (lambda _: self.variant.is_reachable()),
        )

    @property
    def answering(self) -> str:
        return self.page.clip(self.token).segmenter

    def shown(self) -> Any:
        return self.offer.show(token=self.token)["offer"]


@pytest.fixture
def bench(page: Page, variant: Variant) -> Bench:
    return Bench(page, variant)


def test_two_clicks_lead_to_a_mask_by_sam(bench: Bench, publisher: Publisher) -> None:
    answer = bench.page.click(bench.token)
    assert "error" not in answer
    assert bench.answering == "embedded"
    prompts = bench.page.clip(bench.token).project.objects[0].prompts
    button = bench.shown()
    assert button.visible
    assert button.value == "Sharper outlines: MobileSAM, 41 MB"

    updates = list(bench.offer.accept(token=bench.token))

    assert "Downloading MobileSAM" in updates[0]["offer_note"]
    assert updates[0]["offer_stop"].visible
    assert not updates[-1]["offer"].visible
    assert bench.answering == "mobile-sam"
    clip = bench.page.clip(bench.token)
    assert clip.project.objects[0].prompts == prompts
    assert clip.tracks.preview(prompts[0]).shape == clip.video.frames.shape[1:3]
    assert publisher.num_sent == 1
    assert not bench.shown().visible


def test_newcomers_begin_with_what_was_fetched(bench: Bench) -> None:
    bench.page.click(bench.token)
    list(bench.offer.accept(token=bench.token))

    other = bench.page.arrive()

    assert bench.page.clip(other).segmenter == "mobile-sam"


def test_two_visitors_who_accept_at_once_fetch_once(bench: Bench, publisher: Publisher) -> None:
    publisher.mode = "slow"
    other = bench.page.arrive()
    threads = [
        threading.Thread(target=lambda token=token: list(bench.offer.accept(token=token)))
        for token in (bench.token, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)

    assert publisher.num_sent == 1
    assert [bench.page.clip(token).segmenter for token in (bench.token, other)] == ["mobile-sam"] * 2


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**6))


@pytest.mark.parametrize("how", ["broken", "short", "silent", "full", "read-only", 401, 403, 404, 429])
def test_a_download_that_fails_leaves_the_embedded_mask_and_a_sentence(
    bench: Bench, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str | int
) -> None:
    monkeypatch.setattr(weights, "_TIMEOUT_SECONDS", 1)
    bench.page.click(bench.token)
    if how == "full":
        fill(monkeypatch)
    elif how == "read-only":
        (tmp_path / "cache").write_text("no folder")
    elif isinstance(how, int):
        publisher.status = how
    else:
        publisher.mode = how

    *_, update = bench.offer.accept(token=bench.token)

    assert "MobileSAM could not be downloaded." in update["offer_note"]
    assert "still answers your clicks" in update["offer_note"]
    assert update["offer"].visible
    assert not update["offer_stop"].visible
    assert bench.answering == "embedded"
    folder = tmp_path / "cache"
    assert not folder.is_dir() or list(folder.iterdir()) == []
    assert "error" not in bench.page.click(bench.token, {"x": 14.0, "y": 25.0, "is_positive": True})


def test_stop_ends_a_slow_download(bench: Bench, publisher: Publisher) -> None:
    publisher.mode = "slow"
    bench.page.click(bench.token)
    updates = bench.offer.accept(token=bench.token)
    next(updates)
    next(updates)

    bench.offer.stop(token=bench.token)
    *_, update = updates

    assert "Stopped." in update["offer_note"]
    assert update["offer"].visible
    assert bench.answering == "embedded"
    assert publisher.num_sent == 0


Changed = Callable[[Bench], SegmenterOffer]


@pytest.mark.parametrize(
    "change",
    [
        lambda bench: bench.made(is_reachable=lambda _: False),
        lambda bench: bench.made(names=()),
    ],
    ids=["offline", "the owner has chosen"],
)
def test_no_offer_where_it_cannot_be_or_is_not_wanted(bench: Bench, change: Changed) -> None:
    bench.offer = change(bench)

    assert not bench.shown().visible


def test_no_offer_where_the_owner_allows_no_download(page: Page, variant: Variant) -> None:
    bench = Bench(page, variant)
    bench.segmenters = Segmenters(load_segmenter(), may_download=lambda _: False)
    bench.offer = bench.made()

    assert not bench.shown().visible
    assert "DREAMMOTION_DOWNLOADS=mobile-sam" in bench.segmenters.standing(MOBILE_SAM.spec).reason
    assert list(bench.offer.accept(token=bench.token)) == []


def test_a_publisher_that_answers_is_told_from_one_that_does_not(variant: Variant) -> None:
    assert variant.is_reachable()
    assert not replace(variant, url="http://127.0.0.1:9/weights").is_reachable()
    assert not weights_reachable("embedded")


def test_weights_that_a_space_has_preloaded_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMMOTION_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert not EDGETAM.spec.is_ready()
    revision = EDGETAM.url.split("/")[-2]
    folder = tmp_path / "models--yonigozlan--EdgeTAM-hf" / "snapshots" / revision
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")

    assert EDGETAM.path == folder / "model.safetensors"
    assert EDGETAM.spec.is_ready()
    assert list(EDGETAM.download()) == []
