"""Arrivals, examples, uploads and parts of a clip."""

from __future__ import annotations

import math
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dreammotion_core import (
    ConfigError,
    DreamMotionError,
    Video,
    VideoError,
    write_video,
)
from tests.tiny import moving_square
from tests.web.pages import ON_SQUARE, SIDE, Page
from web import Example, LazyEditor, opening


def test_a_newcomer_finds_the_first_example_open(page: Page, example: Example) -> None:
    token = page.visitors.admit()

    update = page.clips.greet(token=token, example=None)

    assert update["canvas"]["width"] == SIDE
    assert update["canvas"]["hint"] == example.click
    assert len(update["player"]["frames"]) == 3
    assert update["source_prompt"] == "a red car"


def test_who_chooses_an_example_while_the_page_loads_gets_that_one(
    editor: LazyEditor, example: Example
) -> None:
    page = Page(editor, [example, replace(example, name="second", source_prompt="a green car")])
    token = page.visitors.admit()

    early = page.clips.open_example(token="", example="second", start_frame=0, num_frames=None)
    update = page.clips.greet(token=token, example="second")

    assert early == {}
    assert update["source_prompt"] == "a green car"
    assert page.clips.greet(token=token, example="second") == {}


def test_an_example_chosen_while_the_greeting_opens_another_is_the_one_that_stays(
    editor: LazyEditor, example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copy(example.path, tmp_path / "other.mp4")
    page = Page(editor, [example, replace(example, name="other", path=Path(other))])
    token, read = page.visitors.admit(), opening.read_upload
    begun, go_on = threading.Event(), threading.Event()

    def read_slowly(path: Path, **settings: Any) -> Video:
        if path == example.path:
            begun.set()
            go_on.wait(20)
        return read(path, **settings)

    monkeypatch.setattr(opening, "read_upload", read_slowly)
    choice = {"token": token, "example": "other", "start_frame": 0, "num_frames": None}
    greeting = threading.Thread(target=page.clips.greet, kwargs={"token": token, "example": None})
    choosing = threading.Thread(target=page.clips.open_example, kwargs=choice)
    greeting.start()
    begun.wait(20)
    choosing.start()
    choosing.join(0.5)
    go_on.set()
    greeting.join(20)
    choosing.join(20)

    assert page.clip(token).path.name == "other.mp4"


def test_a_file_that_is_no_video_is_refused_and_the_open_clip_stays(page: Page, tmp_path: Path) -> None:
    token = page.arrive()
    path = tmp_path / "notes.mp4"
    path.write_text("not a video")

    with pytest.raises(VideoError):
        page.clips.open_upload(token=token, upload=str(path), start_frame=0, num_frames=3)

    assert page.visitors.get(token).clip.number == 1


def test_another_part_of_the_clip_starts_a_new_selection(page: Page) -> None:
    token = page.arrive()
    page.click(token)

    update = page.clips.reopen(token=token, start_frame=1, num_frames=2)

    assert update["canvas"]["clip"] == 2
    assert len(update["player"]["frames"]) == 2
    assert not page.clip(token).snapshot().chosen


@pytest.mark.parametrize("span", [(-1, 3), (0, 1), (0, 7), (0.5, 3), ("0", 3), (None, 3)])
def test_a_span_that_the_model_cannot_take_is_refused(page: Page, span: tuple[Any, Any]) -> None:
    token = page.arrive()

    with pytest.raises(DreamMotionError):
        page.clips.reopen(token=token, start_frame=span[0], num_frames=span[1])


def test_an_unknown_example_is_refused(page: Page) -> None:
    with pytest.raises(VideoError, match="square"):
        page.clips.open_example(token=page.arrive(), example="../secret", start_frame=0, num_frames=3)


def test_an_example_shows_an_edit_that_was_made_beforehand(editor: LazyEditor, example: Example) -> None:
    page = Page(editor, [replace(example, edit=example.path)])

    update = page.clips.greet(token=page.visitors.admit(), example=None)

    assert update["player"]["stage"] == "example"
    assert len(update["player"]["frames"]) == len(update["player"]["before"]) == 3
    assert "“a blue car”, made beforehand" in update["player"]["caption"]
    assert update["example"] == example.name


def test_an_edit_made_beforehand_that_cannot_be_read_is_left_out(
    editor: LazyEditor, example: Example, tmp_path: Path
) -> None:
    (tmp_path / "edit.mp4").write_text("not a clip")
    page = Page(editor, [replace(example, edit=tmp_path / "edit.mp4")])

    update = page.clips.greet(token=page.visitors.admit(), example=None)

    assert update["player"]["stage"] == "source"


def test_markers_choose_a_part_of_a_long_upload_and_clicks_on_it_stay(page: Page, tmp_path: Path) -> None:
    path = write_video(moving_square(num_frames=10, size=(SIDE, SIDE))[0], tmp_path / "long.mp4")
    token = page.arrive()
    opened = page.clips.open_upload(token=token, upload=str(path), start_frame=0, num_frames=4)
    page.do(token, {"do": "click", "frame": 3} | ON_SQUARE, frame=3, clip=2)

    update = page.clips.choose_span(token=token, span={"start": 2, "count": 4})

    span = {name: opened["span"][name] for name in ("start", "count", "total")}
    assert span == {"start": 0, "count": 4, "total": 10}
    assert "are used" not in opened["clip_notes"]
    assert (update["start_frame"], update["num_frames"], update["span"]["start"]) == (2, 4, 2)
    assert page.clip(token).start_frame == 2
    assert page.clip(token).project.objects[0].confirmed_frames == (1,)


@pytest.mark.parametrize(
    "span", [{"start": -1, "count": 4}, {"start": 0, "count": "x"}, {"start": math.nan}, {}]
)
def test_nonsense_between_the_markers_is_refused(page: Page, span: Any) -> None:
    token = page.arrive()

    with pytest.raises(ConfigError):
        page.clips.choose_span(token=token, span=span | {"count": span.get("count", "none")})


def test_a_new_clip_clears_what_was_said_of_the_one_before(page: Page, example: Example) -> None:
    update = page.clips.open_example(
        token=page.arrive(), example=example.name, start_frame=0, num_frames=None
    )

    assert (update["facts"], update["card"], update["losses"]) == ("", "", None)
    assert not update["movie"].visible
    assert not update["receipt"].visible
