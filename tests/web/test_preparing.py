"""The frame that is looked at is ready before it is clicked, and nobody waits for that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from segmentation import Click, Prompt, Selection, Tracks, load_segmenter
from segmentation.base import PreparingSession
from segmentation.embedded import motion
from segmentation.sam import SamSegmenter
from segmentation.weights import SAM_VARIANTS
from tests.segmentation.tiny_models import tiny_sam
from tests.tiny import moving_square
from web.clip import Clip, FramePreparer
from web.selection import Selections
from web.visitors import VisitorStore

LONG = 5.0


def until(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + LONG
    while not is_so() and time.monotonic() < end:
        time.sleep(0.005)
    return is_so()


def on_square(frame_index: int) -> Prompt:
    return Prompt(Selection(frame_index, (Click(12, 24),)))


class TestFramePreparer:
    def test_only_the_frame_that_one_stays_on_is_prepared(self) -> None:
        prepared: list[int] = []
        preparer = FramePreparer(prepared.append, pause=0.1)
        for index in (0, 1, 2, 3):
            preparer.look_at(index)
        assert until(lambda: bool(prepared))
        time.sleep(0.2)
        assert prepared == [3]

    def test_nobody_waits_and_a_frame_left_meanwhile_is_left_out(self) -> None:
        prepared: list[int] = []
        is_free = threading.Event()

        def prepare(index: int) -> None:
            prepared.append(index)
            is_free.wait(LONG)

        preparer = FramePreparer(prepare, pause=0.0)
        preparer.look_at(0)
        assert until(lambda: prepared == [0])
        for index in (1, 2):
            preparer.look_at(index)
            time.sleep(0.05)
        is_free.set()
        assert until(lambda: prepared == [0, 2])

    def test_what_fails_is_left_to_the_click(self) -> None:
        prepared: list[int] = []

        def prepare(index: int) -> None:
            prepared.append(index)
            raise MemoryError

        preparer = FramePreparer(prepare, pause=0.0)
        preparer.look_at(0)
        assert until(lambda: prepared == [0])
        preparer.look_at(1)
        assert until(lambda: prepared == [0, 1])


class TestPreparedFrame:
    def test_the_first_click_finds_its_motion_known_and_the_same_mask(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        video, _ = moving_square(5, (64, 64))
        plain = Tracks(load_segmenter("embedded").open(video.frames), video.frames)
        expected = plain.preview(on_square(2))
        tracks = Tracks(load_segmenter("embedded").open(video.frames), video.frames)
        tracks.prepare(2)
        monkeypatch.setattr(motion, "_kept_flow", None)
        monkeypatch.setattr(motion, "reduced_flow", None)
        assert (tracks.preview(on_square(2)) == expected).all()

    def test_an_image_model_encodes_the_frame_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        segmenter, encoded = SamSegmenter(tiny_sam(), spec=SAM_VARIANTS[0].spec), []
        embed = segmenter.embed
        monkeypatch.setattr(segmenter, "embed", lambda frame: (encoded.append(1), embed(frame))[1])
        video, _ = moving_square(3, (64, 64))
        session = segmenter.open(video.frames)
        assert isinstance(session, PreparingSession)
        session.prepare(1)
        session.mask_at(on_square(1).selection)
        assert len(encoded) == 1


class TestPage:
    def test_the_frame_that_the_canvas_shows_is_prepared_once_and_not_while_following(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        video, _ = moving_square(3, (64, 64))
        tracks = Tracks(load_segmenter("embedded").open(video.frames), video.frames)
        prepared: list[int] = []
        monkeypatch.setattr(tracks, "prepare", prepared.append)
        visitors = VisitorStore()
        token = visitors.admit()
        clip = Clip(Path("clip.mp4"), video, tracks, "embedded")
        visitors.get(token).clip = clip
        message = {"token": token, "clip": 1, "commands": [], "overlays": []}
        for _ in range(2):
            assert "error" not in Selections(visitors=visitors).answer(message | {"frame": 1})
        assert until(lambda: prepared == [1])
        with clip.following:
            Selections(visitors=visitors).answer(message | {"frame": 2})
            time.sleep(0.5)
        assert prepared == [1]
