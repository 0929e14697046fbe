"""The page without a browser: its handlers driven directly, and its endpoints through the client."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import math
import shutil
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio.components import Component
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from numpy.typing import NDArray
from PIL import Image

from app import build_app, launch_options
from dreammotion_core import (
    ConfigError,
    DeviceLostError,
    DreamMotionError,
    EditConfig,
    EditEvent,
    MaskError,
    Preview,
    PromptError,
    Video,
    VideoError,
    feathered_alpha,
    grown_mask,
    read_video,
    write_video,
)
from dreammotion_core.config import CHOICES
from segmentation import Prompt, SelectionError, load_segmenter
from tests.serving import serve
from tests.tiny import moving_square, save_tiny_unet3d, tiny_spec
from web import Example, LazyEditor, Models, Segmenters, load_examples, opening
from web import clip as clips
from web.clip import Clip, edited_masks
from web.device import DeviceQueue, QueueFullError
from web.editing import Edits
from web.editor import Editor
from web.encoding import Layer, encode_frame, encode_overlay
from web.form import (
    FORM_FIELDS,
    Refinement,
    model_fields,
    preset_choices,
    preset_fields,
    read_prompts,
    read_settings,
)
from web.layout import METHOD_CHOICES, advanced_drawer, prompt_part
from web.opening import Clips
from web.selection import Selections
from web.selection_views import overlay
from web.visitors import VisitorGoneError, VisitorStore
from web.wiring import UNEXPECTED, told_to_visitor

SIDE = 64
ON_SQUARE = {"x": 12.0, "y": 24.0, "is_positive": True}
PROMPTS = {"source_prompt": "a red car", "target_prompt": "a blue car"}


def form(**changes: Any) -> dict[str, Any]:
    usual = EditConfig()
    low, high = usual.timestep_range
    refinement = {"mask_fill": "none", "mask_steady": 0, "mask_invert": False}
    values = {name: getattr(usual, name, None) for name in FORM_FIELDS}
    values |= {
        "preset": "fast",
        "steps": 3,
        "timestep_low": low,
        "timestep_high": high,
        "seed": "7",
        "preview_interval": 1,
        "last_stage": "",
        "key_sites": "",
    }
    refinement |= {"mask_grow": usual.mask_grow, "mask_feather": usual.mask_feather}
    return values | refinement | changes


def last(updates: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return list(updates)[-1]


@pytest.fixture(scope="session")
def editor(tmp_path_factory: pytest.TempPathFactory) -> LazyEditor:
    return LazyEditor(str(save_tiny_unet3d(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    folder = tmp_path_factory.mktemp("examples") / "square"
    folder.mkdir()
    write_video(moving_square(num_frames=4, size=(SIDE, SIDE))[0], folder / "clip.mp4")
    meta = {"source_prompt": "a red car", "target_prompts": ["a blue car"], "click": {"x": 12, "y": 24}}
    (folder / "meta.json").write_text(json.dumps(meta))
    return load_examples(folder.parent)[0]


class Page:
    """The handlers of one server, wired as the app wires them."""

    def __init__(self, editor: Editor, examples: list[Example]) -> None:
        segmenter, models = load_segmenter(), Models(editor)
        self.visitors, self.device = VisitorStore(), DeviceQueue()
        self.clips = Clips(visitors=self.visitors, models=models, segmenter=segmenter, examples=examples)
        self.selections = Selections(visitors=self.visitors)
        self.edits = Edits(visitors=self.visitors, device=self.device, models=models)

    def arrive(self) -> str:
        token = self.visitors.admit("session")
        self.clips.greet(token=token, example=None)
        return token

    def clip(self, token: str) -> Clip:
        clip = self.visitors.get(token).clip
        assert clip is not None
        return clip

    def do(self, token: str, /, *commands: Any, frame: int = 0, **changes: Any) -> dict[str, Any]:
        message = {"token": token, "clip": 1, "frame": frame, "commands": list(commands), "overlays": [frame]}
        return self.selections.answer(message | changes)

    def click(self, token: str, /, at: dict[str, Any] = ON_SQUARE, *, frame: int = 0) -> dict[str, Any]:
        return self.do(token, {"do": "click", "frame": frame} | at, frame=frame)


@pytest.fixture
def page(editor: LazyEditor, example: Example) -> Page:
    return Page(editor, [example])


# Visitors


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


def test_two_visitors_never_see_each_others_selection(page: Page) -> None:
    first, second = page.arrive(), page.arrive()

    page.click(first)

    assert not page.clip(second).snapshot().chosen
    assert first != second
    assert len(first) >= 16


def test_a_closed_tab_stops_its_job_and_forgets_the_visitor(page: Page) -> None:
    token = page.arrive()
    stop = page.visitors.get(token).stop

    page.visitors.leave("session")

    assert stop.is_set()
    with pytest.raises(VisitorGoneError, match="Reload"):
        page.visitors.get(token)


def test_visitors_who_were_away_too_long_are_forgotten() -> None:
    visitors = VisitorStore(time_to_live=-1.0)
    visitors.admit()

    visitors.admit()

    assert len(visitors) == 0


@pytest.mark.parametrize("token", [None, "", "guess", 3, ["list"]])
def test_a_made_up_token_opens_nothing(page: Page, token: Any) -> None:
    with pytest.raises(VisitorGoneError):
        page.visitors.get(token)


# The device


def test_the_device_is_held_by_one_at_a_time_in_order_of_arrival() -> None:
    queue = DeviceQueue()
    first, second, third = queue.enter(), queue.enter(), queue.enter()

    assert (first.place, second.place, third.place) == (0, 1, 2)
    assert not second.wait(seconds=0.01)
    first.leave()
    assert second.wait(seconds=0.01)
    assert third.place == 1


def test_leaving_the_line_lets_those_behind_move_up() -> None:
    queue = DeviceQueue()
    holder, impatient, patient = queue.enter(), queue.enter(), queue.enter()

    impatient.leave()
    holder.leave()

    assert patient.wait(seconds=0.01)


def test_a_failing_edit_gives_the_device_back() -> None:
    queue = DeviceQueue()

    with pytest.raises(MaskError), queue.enter():
        raise MaskError("no")

    assert queue.enter().wait(seconds=0.01)


def test_a_full_line_is_refused() -> None:
    queue = DeviceQueue(max_waiting=1)
    queue.enter()
    queue.enter()

    with pytest.raises(QueueFullError, match="try again"):
        queue.enter()


# Clicks


def test_a_click_on_the_object_is_answered_with_its_mask(page: Page) -> None:
    answer = page.click(page.arrive())

    assert answer["overlays"]["0"].startswith("data:image/png;base64,")
    assert "% of the frame is selected" in answer["note"]
    assert answer["prompt"]["clicks"] == [ON_SQUARE]


def test_an_emptied_selection_clears_the_overlay_and_undo_brings_it_back(page: Page) -> None:
    token = page.arrive()
    page.click(token)

    answer = page.do(token, {"do": "clear", "frame": 0})

    assert answer["overlays"]["0"] is None
    assert not page.clip(token).snapshot().chosen
    assert page.do(token, {"do": "undo"})["overlays"]["0"]
    assert not page.do(token, {"do": "redo"})["overlays"]["0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token": "other"}, "Reload"),
        ({"clip": 9}, "another clip"),
        ({"commands": None}, "reload"),
        ({"commands": ["click"]}, "reload"),
        ({"commands": [{"do": ["click"]}]}, "reload"),
        ({"commands": [{"do": "click", "frame": 0}]}, "reload"),
        ({"commands": [{"do": "click", "frame": 9} | ON_SQUARE]}, "frame 9"),
        ({"commands": [{"do": "click", "frame": "0"} | ON_SQUARE]}, "reload"),
        ({"commands": [{"do": "click", "frame": 0} | ON_SQUARE] * 65}, "64 clicks"),
        ({"commands": [{"do": "click", "frame": 0} | ON_SQUARE | {"x": math.nan}]}, "finite"),
        ({"commands": [{"do": "click", "frame": 0} | ON_SQUARE | {"x": SIDE + 1}]}, "outside"),
        ({"commands": [{"do": "box", "frame": 0, "x0": 3, "y0": 3, "x1": 3, "y1": 9}]}, "no area"),
        ({"commands": [{"do": "pick", "object": 7}]}, "no object 7"),
        ({"commands": [{"do": "style", "object": 1, "name": "x", "colour": "red"}]}, "colour"),
        (
            {"commands": [{"do": "style", "object": 1, "name": "x" * 41, "colour": "#ffffff"}]},
            "40 characters",
        ),
        ({"overlays": list(range(99))}, "at most 32"),
        ({"frame": 9}, "frame 9"),
    ],
)
def test_bad_requests_are_answered_with_a_sentence(page: Page, changes: dict[str, Any], message: str) -> None:
    answer = page.do(page.arrive(), **changes)

    assert message.lower() in answer["error"].lower()


def test_what_came_before_a_refused_command_counts(page: Page) -> None:
    token = page.arrive()

    answer = page.do(token, {"do": "click", "frame": 0} | ON_SQUARE, {"do": "fly"})

    assert "error" in answer
    assert answer["overlays"]["0"]


def test_objects_are_added_renamed_left_alone_and_removed(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    page.do(token, {"do": "add"}, {"do": "style", "object": 2, "name": "sky", "colour": "#010203"})
    answer = page.click(token, {"x": 50.0, "y": 4.0, "is_positive": True})
    assert [(each["name"], each["frames"]) for each in answer["objects"]] == [("Object 1", [0]), ("sky", [0])]
    assert answer["objects"][1]["colour"] == "#010203"

    page.do(token, {"do": "choose", "object": 1, "value": False})
    assert [tracked.name for tracked in page.clip(token).snapshot().chosen] == ["sky"]

    answer = page.do(token, {"do": "remove", "object": 2})
    assert [each["number"] for each in answer["objects"]] == [1]
    answer = page.do(token, {"do": "remove", "object": 1})
    assert answer["objects"][0]["frames"] == []


def test_an_object_with_a_number_that_an_undo_gave_back_is_edited(page: Page) -> None:
    token, left_alone = page.arrive(), {"do": "choose", "object": 2, "value": False}

    answer = page.do(token, {"do": "add"}, left_alone, {"do": "undo"}, {"do": "redo"})
    assert [each["isEdited"] for each in answer["objects"]] == [True, False]
    answer = page.do(token, {"do": "undo"}, {"do": "add"})
    assert [each["isEdited"] for each in answer["objects"]] == [True, True]


def test_propagation_streams_every_frame_and_keeps_the_masks(page: Page) -> None:
    token = page.arrive()
    page.click(token)

    updates = [update["canvas"] for update in page.selections.propagate(token=token)]

    assert [update.get("frame") for update in updates] == [1, 2, None]
    assert all(update["overlay"] for update in updates[:-1])
    assert page.clip(token).is_followed
    assert {cell["state"] for cell in page.do(token)["cells"]} == {"good"}
    assert not page.visitors.get(token).is_busy


def test_a_correction_makes_only_the_frames_round_it_again(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    list(page.selections.propagate(token=token))

    answer = page.click(token, {"x": 60.0, "y": 60.0, "is_positive": False}, frame=2)

    assert answer["toFollow"] == 1
    assert [cell["state"] for cell in answer["cells"]] == ["known", "missing", "known"]
    assert [u["canvas"].get("frame") for u in page.selections.propagate(token=token)] == [1, None]
    assert page.do(token, {"do": "undo"})["toFollow"] == 0


def test_an_object_that_is_not_in_a_frame_is_not_asked_about(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    list(page.selections.propagate(token=token))

    answer = page.do(token, {"do": "absent", "frame": 2}, frame=2)

    assert answer["isAbsent"]
    assert answer["overlays"]["2"] is None
    assert answer["toFollow"] == 0
    assert answer["cells"][2]["state"] == "good"


def test_stopping_keeps_what_is_done_and_says_so(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    updates = page.selections.propagate(token=token)
    next(updates)

    page.edits.stop(token)
    note = last(updates)["canvas"]["note"]

    assert note == "Stopped. 1 of 2 frames are done and kept; follow again to go on."
    assert page.do(token)["toFollow"] == 1


def test_a_click_while_following_ends_it(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    updates = page.selections.propagate(token=token)
    next(updates)

    page.click(token, {"x": 2.0, "y": 60.0, "is_positive": False})

    assert "Stopped" in last(updates)["canvas"]["note"]
    assert not page.clip(token).is_followed


def test_propagating_nothing_is_refused(page: Page) -> None:
    with pytest.raises(SelectionError, match="nothing is selected"):
        list(page.selections.propagate(token=page.arrive()))


def test_the_next_doubtful_frame_is_shown_with_its_object(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    list(page.selections.propagate(token=token))
    small = np.zeros((SIDE, SIDE), bool)
    small[20:22, 10:12] = True
    clip = page.clip(token)
    clip.history = clip.history.do(lambda project: project.with_prompt(1, Prompt.of_mask(0, small)))
    page.do(token, {"do": "add"})

    list(page.selections.propagate(token=token))
    before = page.do(token, frame=0)
    answer = page.do(token, frame=0, seek=True)

    doubtful = [i for i, cell in enumerate(before["cells"]) if cell["state"] in ("doubtful", "bad")]
    assert answer["frame"] == (doubtful[0] if doubtful else 0)
    assert answer["picked"] == (1 if doubtful else 2)


def test_the_masks_are_refined_as_the_form_says(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    list(page.selections.propagate(token=token))
    clip = page.clip(token)
    plain = edited_masks(clip.snapshot())
    picture = page.do(token)["overlays"]["0"]

    update = page.selections.refine(
        token=token, mask_fill="box", mask_steady=1, mask_invert=True, mask_grow=2, mask_feather=0
    )

    assert update["canvas"]["kind"] == "settled"
    assert not (edited_masks(clip.snapshot()) & plain).any()
    assert page.do(token)["overlays"]["0"] != picture


@pytest.mark.parametrize(
    ("grow", "feather", "is_inverted"), [(-4, 0, False), (0, 5, False), (3, 2, False), (-3, 2, True)]
)
def test_the_overlay_shows_of_touching_objects_what_the_edit_takes(
    page: Page, monkeypatch: pytest.MonkeyPatch, grow: int, feather: int, is_inverted: bool
) -> None:
    token = page.arrive()
    page.do(token, {"do": "add"})
    clip, layers = page.clip(token), []
    for number, columns in ((1, slice(10, 30)), (2, slice(30, 50))):
        mask = np.zeros((SIDE, SIDE), bool)
        mask[20:40, columns] = True
        given = Prompt.of_mask(0, mask)
        clip.history = clip.history.do(lambda p, n=number, given=given: p.with_prompt(n, given))
    clip.refinement = Refinement(grow=grow, feather=feather, is_inverted=is_inverted)
    monkeypatch.setattr("web.selection_views.encode_overlay", lambda given, **_: layers.extend(given))

    overlay(clip, index=0)

    edited = grown_mask(edited_masks(clip.snapshot())[:1], pixels=grow)
    opacities = [np.where(layer.mask, layer.opacity, 0) for layer in layers]
    assert np.array_equal(np.max(opacities, axis=0), feathered_alpha(edited, width=feather)[0])
    assert len(layers) == (1 if is_inverted else 2)


# Edits


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


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("", "a blue car", "source prompt is empty"),
        ("a red car", "  ", "target prompt is empty"),
        (None, "a blue car", "source prompt is empty"),
        ("a red car", "a red car ", "the same"),
        ("a red car", "a" * 5000, "5,000 characters"),
    ],
)
def test_prompts_are_checked_before_anything_waits(source: Any, target: Any, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        read_prompts(source, target)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "num_optimization_steps"),
        ({"steps": 10**6}, "num_optimization_steps"),
        ({"steps": 2.5}, "whole number"),
        ({"steps": None}, "whole number"),
        ({"steps": True}, "whole number"),
        ({"steps": math.inf}, "whole number"),
        ({"seed": "lucky"}, "seed"),
        ({"seed": str(2**70)}, "seed"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"preset": ["fast"]}, "no preset"),
        ({"timestep_low": 900, "timestep_high": 100}, "timestep_range"),
        ({"appearance_weight": 0, "spatial_weight": 0, "temporal_weight": 0}, "all three losses"),
        ({"use_mask": "yes"}, "use_mask"),
        ({"mask_grow": "much"}, "mask grow"),
        ({"timestep_order": "sorted"}, "timestep_order"),
        ({"direction_weighting": None}, "direction_weighting"),
        ({"mask_matching": 1}, "mask_matching"),
        ({"keep_detail": "yes"}, "keep_detail"),
        ({"colour_smoothing": -1}, "colour_smoothing"),
        ({"negative_prompt": None}, "negative_prompt"),
        ({"key_sites": ["attn1"]}, "key sites"),
        ({"method": "magic"}, "method"),
        ({"strength": 0}, "strength"),
    ],
)
def test_settings_are_checked_again_on_the_server(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(form(**changes), spec=tiny_spec())


def test_the_form_starts_with_the_first_preset_as_the_model_takes_it() -> None:
    spec = replace(tiny_spec(), settings={"guidance_scale": 3.0, "learning_rate_end_factor": 0.5})

    async def build() -> dict[str, Component]:
        with gr.Blocks():
            return prompt_part() | advanced_drawer(spec, judges=["toybox-clip"])

    # A thread and a loop of their own, as in the test of the whole page.
    with ThreadPoolExecutor(1) as pool:
        parts = pool.submit(lambda: asyncio.run(build())).result()
    shown = {name: parts[name].value for name in FORM_FIELDS if name in parts}

    assert shown["preset"] == preset_choices()[0][1] == "keep-shape"
    assert read_settings(form() | shown, spec=spec) == spec.config("keep-shape")


def test_the_form_can_say_the_defaults_of_the_library() -> None:
    usual = EditConfig()
    values = form(steps=usual.num_optimization_steps, preview_interval=usual.preview_interval, seed="-1")

    assert read_settings(values, spec=tiny_spec()) == usual


def test_every_setting_of_the_drawer_reaches_the_edit() -> None:
    shown = {
        "timestep_order": "random",
        "direction_weighting": "velocity",
        "mask_matching": False,
        "keep_detail": False,
        "colour_smoothing": 0.25,
        "negative_prompt": "blurred",
        "method": "sdedit",
        "strength": 0.3,
    }

    config = read_settings(form(**shown, key_sites=" up_blocks.*to_k \n\nmid*to_k"), spec=tiny_spec())

    assert {name: getattr(config, name) for name in shown} == shown
    assert config.key_sites == ("up_blocks.*to_k", "mid*to_k")
    assert {value for _, value in METHOD_CHOICES} == set(CHOICES["method"])


@pytest.mark.parametrize("name", ["fast", "keep-shape", "paper"])
def test_a_preset_fills_the_form(name: str) -> None:
    config = EditConfig.preset(name, seed=7)

    values = form(preset=name, **preset_fields(config))
    assert read_settings(values, spec=tiny_spec()) == config


def test_the_form_follows_the_settings_of_a_model_also_those_that_it_does_not_show() -> None:
    own = {"guidance_scale": 3.0, "timestep_range": (100, 900), "colour_smoothing": 0.5}
    own |= {"key_sites": ("one", "two"), "direction_weighting": "velocity", "learning_rate_end_factor": 0.5}
    spec = replace(tiny_spec(), settings=own)

    config = read_settings(form(**model_fields(spec.config()), seed="7"), spec=spec)

    assert config == EditConfig(seed=7, **own)


# Clips


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


# Pictures and messages


def picture(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_the_overlay_tints_the_object_and_nothing_else() -> None:
    mask = np.zeros((32, 64), bool)
    mask[8:24, 16:48] = True

    layer = Layer(mask, (255, 0, 0), mask.astype(np.float32))
    overlay = picture(encode_overlay([layer], size=mask.shape))

    assert overlay.size == (640, 320)
    assert overlay.getpixel((320, 160))[3] > 0
    assert overlay.getpixel((20, 20))[3] == 0


def test_large_frames_are_shown_reduced_with_their_shape_kept() -> None:
    assert picture(encode_frame(np.zeros((720, 1280, 3), np.uint8))).size == (640, 360)


def test_known_errors_reach_the_visitor_in_their_own_words() -> None:
    with pytest.raises(gr.Error, match="Learning rate is 0"), told_to_visitor():
        EditConfig(learning_rate=0)
    with pytest.raises(gr.Error, match="Nothing is selected"), told_to_visitor():
        raise MaskError("nothing is selected")


def test_names_of_files_are_told_as_they_are() -> None:
    with pytest.raises(gr.Error, match=r"^'?my_masks\.zip holds no PNG file"), told_to_visitor():
        raise MaskError("my_masks.zip holds no PNG file; pack PNG files, one a frame")


def test_unknown_errors_are_logged_and_told_without_details(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error) as caught, told_to_visitor():
        raise KeyError("secret")

    assert UNEXPECTED in str(caught.value)
    assert "secret" in caplog.text


# The served page


def test_the_page_is_built_without_loading_weights(example: Example) -> None:
    editor = LazyEditor("toybox")

    async def build() -> gr.Blocks:
        return build_app(Models(editor), Segmenters(load_segmenter()), [example])

    # Outside a running event loop, Gradio makes loops of its own and leaves them open. The thread is
    # for the browser tests, which keep a loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(lambda: asyncio.run(build())).result()

    assert page.title == "DreamMotion"
    assert launch_options()["run_history"] is False
    assert editor.is_loaded is False


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("served")
    model = save_tiny_unet3d(folder / "tiny")
    with serve(folder / "log.txt", "--model", str(model)) as url:
        client = Client(url, verbose=False, download_files=str(folder))
        yield client
        client.close()


def test_only_the_two_clean_endpoints_are_published(client: Client) -> None:
    published = client.view_api(return_format="dict")["named_endpoints"]

    assert set(published) == {"/segment", "/edit_video"}


def test_the_segment_endpoint_returns_a_mask(client: Client, example: Example) -> None:
    path = client.predict(handle_file(str(example.path)), 12, 24, api_name="/segment")

    mask = np.asarray(Image.open(path))
    assert mask.shape == (SIDE, SIDE)
    assert set(np.unique(mask)) == {0, 255}


def test_the_edit_endpoint_returns_a_clip(client: Client, example: Example) -> None:
    path = client.predict(
        handle_file(str(example.path)), 12, 24, "a red car", "a blue car", 2, 5, api_name="/edit_video"
    )

    assert isinstance(video := read_video(path), Video)
    assert video.frames.shape == (3, SIDE, SIDE, 3)


def test_an_endpoint_says_what_is_wrong(client: Client, example: Example) -> None:
    with pytest.raises(AppError, match="outside"):
        client.predict(handle_file(str(example.path)), 999, 24, api_name="/segment")


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_an_endpoint_does_not_read_files_of_the_server(
    client: Client, example: Example, meta: dict[str, Any]
) -> None:
    # The client would upload the file itself, so the request is made by hand.
    theirs = str(example.path)
    call = f"{client.src.rstrip('/')}/gradio_api/call/segment"
    event = httpx.post(call, json={"data": [{"path": theirs} | meta, 12, 24]}).json()["event_id"]

    answer = httpx.get(f"{call}/{event}", timeout=30).text

    assert answer.startswith("event: error")


def test_a_cancelled_endpoint_gives_the_device_back(client: Client, example: Example) -> None:
    arguments = (handle_file(str(example.path)), 12, 24, "a red car", "a blue car")
    job = client.submit(*arguments, 10_000, 5, api_name="/edit_video")
    started = threading.Event()
    for _ in range(600):
        if len(job.outputs()) > 5:
            started.set()
            break
        started.wait(0.1)

    job.cancel()

    assert started.is_set()
    assert client.predict(*arguments, 1, 5, api_name="/edit_video")
