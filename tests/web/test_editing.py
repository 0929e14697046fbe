"""An edit on the page: watched, stopped, failing, and what it leaves."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dreammotion_core import (
    ConfigError,
    DeviceLostError,
    EditEvent,
    MaskError,
    OutputError,
    Preview,
    Video,
    read_video,
)
from tests.web.pages import ON_SQUARE, PROMPTS, SIDE, Page, form, last
from web import Example, LazyEditor, Limits, Models
from web import clip as clips
from web.editing import refusal_of
from web.form import EmptyFieldError
from web.pickers import ModelPicker
from web.visitors import LimitError


def test_an_edit_follows_the_object_and_ends_with_clip_and_receipt(page: Page, example: Example) -> None:
    token = page.arrive()
    page.click(token)
    captions = []
    for update in page.edits.run(token=token, **PROMPTS, **form()):
        captions.append(update.get("player", {}).get("caption", ""))
        if update.get("card"):
            frames = read_video(update["movie"].value["path"]).frames
            receipt = json.loads(Path(update["receipt"].value["path"]).read_text())
            card, view = update["card"], update["player"]

    assert "Following what is selected first." in captions
    assert frames.shape == (3, SIDE, SIDE, 3)
    assert receipt["seed"] == 7
    assert receipt["selection"]["objects"][0]["prompts"][0]["clicks"] == [ON_SQUARE]
    assert receipt["selection"]["edited"] == [1]
    assert receipt["selection"]["refinement"]["fill"] == "none"
    assert receipt["segmenter"] == "embedded"
    assert receipt["source"]["name"] == example.path.name
    assert "Nothing outside your selection changed" in card
    assert len(view["before"]) == len(view["frames"]) == 3


def test_an_example_brings_the_room_of_its_suggestion(editor: LazyEditor, example: Example) -> None:
    page = Page(editor, [replace(example, rooms={"a red bus": 3})])
    token = page.arrive()
    page.click(token)
    picker = ModelPicker(visitors=page.visitors, models=page.edits.models, clips=page.clips)
    rooms, notes = [], []
    for target in ("a red bus", "a red truck"):
        words = {"source_prompt": "a red car", "target_prompt": target}
        notes.append(picker.preset(token=token, preset="auto", mask_grow=0, **words)["preset_note"])
        done = last(page.edits.run(token=token, **words, **form(steps=1, preset="auto")))
        receipt = json.loads(Path(done["receipt"].value["path"]).read_text())
        rooms.append(receipt["settings"]["mask_grow"])

    assert rooms == [3, 2]
    assert "grows by 3 pixels to make room" in notes[0]
    assert "grows by 2 pixels to make room" in notes[1]


def test_the_receipt_is_about_the_masks_that_were_edited(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    token = page.arrive()
    page.click(token)
    list(page.selections.propagate(token=token))
    fill = clips.fill_holes

    def fill_while_the_visitor_goes_on(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        page.do(token, {"do": "absent", "frame": 0})
        return fill(masks)

    monkeypatch.setattr(clips, "fill_holes", fill_while_the_visitor_goes_on)
    for update in page.edits.run(token=token, **PROMPTS, **form(steps=1, mask_fill="holes")):
        if update.get("card"):
            receipt = json.loads(Path(update["receipt"].value["path"]).read_text())

    (prompt,) = receipt["selection"]["objects"][0]["prompts"]
    assert (prompt["clicks"], prompt["mask"]) == ([ON_SQUARE], None)


def test_stop_keeps_the_latest_preview_as_the_result(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    updates = page.edits.run(token=token, **PROMPTS, **form(steps=500, mask_grow=3))
    for update in updates:
        if "Step" in update.get("player", {}).get("caption", ""):
            page.edits.stop(token)
            break

    result = next(updates)

    assert "Stopped. This is the clip as of step" in result["player"]["caption"]
    assert "Nothing outside your selection changed" in result["card"]
    assert list(updates) == []
    assert page.device.enter().wait(seconds=0.01)


class EditorThatFails:
    """The real editor, cut short by what a small GPU does."""

    def __init__(self, editor: LazyEditor) -> None:
        self.spec = editor.spec
        self._editor = editor

    def stream(self, video: Video, **request: Any) -> Generator[EditEvent, None, None]:
        for event in self._editor.stream(video, **request):
            yield event
            if isinstance(event, Preview):
                raise DeviceLostError("the device failed or is gone; start the program again")


def test_a_failing_edit_keeps_its_latest_preview(editor: LazyEditor, example: Example) -> None:
    page = Page(EditorThatFails(editor), [example])
    token = page.arrive()
    page.click(token)
    seen: list[dict[str, Any]] = []

    with pytest.raises(DeviceLostError, match="start the program again"):
        seen.extend(page.edits.run(token=token, **PROMPTS, **form()))

    assert "Nothing outside your selection changed" in seen[-1]["card"]
    assert page.device.enter().wait(seconds=0.01)


def test_a_second_edit_is_told_its_place_and_may_leave_the_line(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    holder = page.device.enter()
    updates = page.edits.run(token=token, **PROMPTS, **form())
    caption = next(c for u in updates if "Waiting" in (c := u.get("player", {}).get("caption", "")))

    page.edits.stop(token)
    farewell = last(updates)["player"]["caption"]

    assert "one edit is before yours" in caption
    assert "left the line" in farewell
    assert holder.place == 0
    holder.leave()
    assert page.device.enter().wait(seconds=0.01)


def test_a_closed_page_gives_the_device_back(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    updates = page.edits.run(token=token, **PROMPTS, **form())
    next(u for u in updates if "Step" in u.get("player", {}).get("caption", ""))

    updates.close()

    assert page.device.enter().wait(seconds=0.01)
    assert not page.visitors.get(token).is_busy


def test_editing_without_a_mask_needs_no_click(page: Page) -> None:
    updates = page.edits.run(token=page.arrive(), **PROMPTS, **form(use_mask=False, steps=1))

    assert "The whole frame was edited" in last(updates)["card"]


def test_an_edit_without_a_click_or_a_chosen_object_says_what_to_do(page: Page) -> None:
    token = page.arrive()
    with pytest.raises(MaskError, match="click the object"):
        list(page.edits.run(token=token, **PROMPTS, **form()))
    page.click(token)
    page.do(token, {"do": "choose", "object": 1, "value": False})
    with pytest.raises(MaskError, match="left alone"):
        list(page.edits.run(token=token, **PROMPTS, **form()))


def finished(page: Page, token: str) -> dict[str, Any]:
    """The update that shows the result."""
    updates = page.edits.run(token=token, **PROMPTS, **form())
    return next(update for update in updates if update.get("player", {}).get("stage") == "result")


@pytest.mark.parametrize(
    ("broken", "missing", "kept"),
    [
        ("build_receipt", "receipt", "movie"),
        ("write_receipt", "receipt", "movie"),
        ("write_video", "movie", "receipt"),
    ],
)
def test_a_file_that_cannot_be_written_costs_itself_alone(
    page: Page, monkeypatch: pytest.MonkeyPatch, broken: str, missing: str, kept: str
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OutputError("edit could not be written (disk full); free space")

    monkeypatch.setattr(f"web.editing.{broken}", fail)
    token = page.arrive()
    page.click(token)

    update = finished(page, token)

    assert len(update["player"]["frames"]) == 3
    assert f"The {'MP4' if missing == 'movie' else missing} is missing" in update["player"]["caption"]
    assert update["player"]["is_problem"]
    assert update[missing].visible is False
    assert update[kept].visible is True
    assert "Nothing outside your selection changed" in update["card"]


def test_an_edit_holds_the_device_as_long_as_the_page_allows(page: Page, editor: LazyEditor) -> None:
    page.edits.models = Models(editor, limits=Limits(max_minutes=0))
    token = page.arrive()
    page.click(token)
    captions: list[str] = []

    with pytest.raises(LimitError, match="for 0 minutes here, and they are over; choose fewer steps"):
        captions.extend(
            u.get("player", {}).get("caption", "") for u in page.edits.run(token=token, **PROMPTS, **form())
        )

    assert "they are over" in captions[-1]
    assert not page.device.tickets


def test_an_earlier_result_is_shown_again_with_its_downloads(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    first = last(page.edits.run(token=token, **PROMPTS, **form(steps=1)))
    last(page.edits.run(token=token, **PROMPTS | {"target_prompt": "a green car"}, **form(steps=1)))

    again = last(page.edits.show_again(token=token, runs=1))

    assert again["player"]["frames"] == first["player"]["frames"]
    assert again["player"]["badge"] == "Run 1"
    assert json.loads(Path(again["receipt"].value["path"]).read_text())["target_prompt"] == "a blue car"
    assert "How run 1 did" in again["card"]
    assert again["runs"].count("data-run=") == 2


@pytest.mark.parametrize("number", [0, 7, None, "1", "<b>"])
def test_a_result_that_is_not_kept_cannot_be_shown(page: Page, number: Any) -> None:
    with pytest.raises(ConfigError, match="no longer kept"):
        next(page.edits.show_again(token=page.arrive(), runs=number))


def test_the_result_of_a_clip_that_is_no_longer_open_reaches_the_table_alone(
    page: Page, example: Example
) -> None:
    token = page.arrive()
    page.click(token)
    updates = page.edits.run(token=token, **PROMPTS, **form(steps=40))
    while "Step" not in next(updates).get("player", {}).get("caption", ""):
        pass

    page.clips.open_example(token=token, example=example.name, start_frame=0, num_frames=None)
    rest = list(updates)

    assert all(set(update) <= {"runs", "runs_export", "stop"} for update in rest)
    assert page.visitors.get(token).runs.on_card is None


@pytest.mark.parametrize(
    ("error", "at"),
    [
        (MaskError("first click the object"), "canvas"),
        (EmptyFieldError("say it", field="source"), "source"),
        (ConfigError("strength is 2"), ""),
    ],
)
def test_a_refusal_says_where_to_go(error: Exception, at: str) -> None:
    assert refusal_of(error)["refusal"]["at"] == at


def test_a_failure_that_the_player_tells_is_told_once() -> None:
    assert refusal_of(DeviceLostError("the GPU is gone")) == {}
