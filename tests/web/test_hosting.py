"""The page where GPUs are lent for a while: what is borrowed, for how long, and that nothing else is."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import app
from dreammotion_core import ABLATION, Choice, EditConfig, Place, Surroundings, list_models
from tests.tiny import moving_square
from tests.web.pages import PROMPTS, form
from tests.web.pages import Page as PlainPage
from web import HostedEditor, LazyEditor
from web.boards import Boards
from web.components import Example
from web.models import Models
from web.scoring import SharedInstruments

START = 30
"""Seconds that are borrowed however short the work is."""


class Lender:
    """Lends as ``spaces.GPU`` does: in another process, so that all that goes in and out is pickled."""

    def __init__(self) -> None:
        self.seconds: list[int] = []
        self.num_lent = 0

    def __call__(self, *, duration: Callable[..., int]) -> Callable[..., Any]:
        def decorate(work: Callable[..., Generator[Any, None, None]]) -> Callable[..., Any]:
            def lent(*args: Any, **options: Any) -> Generator[Any, None, None]:
                args, options = pickle.loads(pickle.dumps((args, options)))
                self.seconds.append(duration(*args, **options))
                self.num_lent += 1
                try:
                    for event in work(*args, **options):
                        yield pickle.loads(pickle.dumps(event))
                finally:
                    self.num_lent -= 1

            return lent

        return decorate


@pytest.fixture
def lender() -> Lender:
    return Lender()


@pytest.fixture
def models(lender: Lender, editor: LazyEditor, monkeypatch: pytest.MonkeyPatch) -> Models:
    """What the app makes where the package ``spaces`` is, but for the device."""
    monkeypatch.setattr(app, "spaces", SimpleNamespace(GPU=lender))
    monkeypatch.setattr(app, "LazyEditor", lambda *_, **__: editor)
    lent = Surroundings(
        place=Place.LENT, device=Choice("cpu"), model=Choice("tiny"), segmenter=Choice("embedded")
    )
    return app._models(lent)


class Page(PlainPage):
    """A page whose visitor has clicked the object."""

    def __init__(self, models: Models, example: Example) -> None:
        super().__init__(models.first, [example])
        self.boards = Boards(
            visitors=self.visitors, device=self.device, models=models, instruments=SharedInstruments()
        )
        self.token = self.arrive()
        self.click(self.token)


@pytest.fixture
def page(models: Models, example: Example) -> Page:
    return Page(models, example)


def test_an_edit_borrows_once_for_as_long_as_its_steps_take(page: Page, lender: Lender) -> None:
    for steps in (2, 4):
        *_, done = page.edits.run(token=page.token, **PROMPTS, **form(steps=steps))

        assert "Done" in done["player"]["caption"]
    short, long = lender.seconds
    assert long - START == pytest.approx(2 * (short - START), abs=1)
    assert lender.num_lent == 0


def test_an_ablation_borrows_for_each_variant_and_measures_without(page: Page, lender: Lender) -> None:
    seen = []
    for update in page.boards.run(token=page.token, **PROMPTS, **form(steps=2)):
        seen.append(update)
        if update.get("board"):
            assert lender.num_lent == 0

    assert len(lender.seconds) == len(ABLATION)
    assert len(set(lender.seconds)) == 1
    assert seen[-1]["board_status"].count("done in") == len(ABLATION)
    board = next(update["board"] for update in reversed(seen) if update.get("board"))
    assert "Text-Align (toybox-clip)" in board["table"]


def test_stop_gives_back_what_is_lent(page: Page, lender: Lender) -> None:
    updates = page.boards.run(token=page.token, **PROMPTS, **form(steps=50))
    next(update for update in updates if "step 1" in update.get("board_status", ""))
    page.edits.stop(page.token)
    list(updates)

    assert lender.num_lent == 0
    assert len(lender.seconds) == 1


def test_the_time_borrowed_grows_with_steps_frames_and_model(lender: Lender) -> None:
    known = {spec.name: spec for spec in list_models()}
    video = moving_square(8, (64, 64))[0]
    longer = replace(video, frames=video.frames.repeat(2, axis=0))

    def seconds(name: str, *, clip: Any = video, steps: int = 40) -> int:
        hosted = HostedEditor(SimpleNamespace(spec=known[name], stream=None, measure=None), lend=lender)  # type: ignore[arg-type]
        return hosted.edit_seconds(clip, config=EditConfig(num_optimization_steps=steps))

    assert seconds("toybox") < 40 < seconds("zeroscope") < seconds("wan-1.3b")
    once = seconds("zeroscope") - START
    assert seconds("zeroscope", steps=80) - START == pytest.approx(2 * once, abs=1)
    assert seconds("zeroscope", clip=longer) - START == pytest.approx(2 * once, abs=1)
