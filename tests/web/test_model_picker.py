"""Choosing what edits: said before it costs anything, and what was selected stays where it can."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreammotion_core import (
    EditConfig,
    EditEvent,
    EditOutput,
    Finished,
    ModelDownload,
    ModelLoadError,
    ModelSpec,
    OutOfMemoryError,
    Preflight,
    StageDone,
    Started,
    StepDone,
    StepLosses,
    Trial,
    Video,
    write_video,
)
from segmentation import Click, Prompt, Readiness, Selection, Tracks, load_segmenter
from tests.tiny import moving_square, tiny_spec
from tests.web.pages import form
from web.clip import Clip, carry_over
from web.components import load_examples
from web.device import DeviceQueue
from web.editing import Edits
from web.models import Models
from web.opening import Clips
from web.pickers import ModelPicker
from web.preflight import Measurements
from web.visitors import Visitor, VisitorStore

GB = 10**9
SPECS = (
    replace(tiny_spec(), name="first", label="First", num_frames=4, max_frames=12),
    replace(
        tiny_spec(),
        name="cascade",
        label="Cascade",
        num_frames=9,
        max_frames=13,
        frame_step=4,
        fps=16.0,
        settings={"guidance_scale": 4.0, "num_optimization_steps": 9},
        stages=("key frames", "interpolation", "super-resolution"),
        licence="CC BY-NC 4.0: not for commercial use",
        memory_bytes=3 * GB,
    ),
    replace(
        tiny_spec("owner/far"),
        name="far",
        label="Far",
        revision="0" * 40,
        size_bytes=7 * GB,
        memory_bytes=31 * GB,
        low_memory_bytes=6 * GB,
    ),
    replace(tiny_spec(), name="huge", label="Huge", memory_bytes=10**15),
)
SELECTED = Prompt(Selection(2, (Click(12, 24),)))


class FakeEditor:
    """An editor whose answers are fixed: what is tested here is what the page makes of them."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.trials: list[Trial | Preflight] = []
        self.measured: EditConfig | None = None

    def stream(self, video: Video, *, config: EditConfig, **_: Any) -> Generator[EditEvent, None, None]:
        losses = StepLosses(1.0, 0.0, 0.0)
        yield Started(config=config, model=self.spec.name, num_steps=1, latent_shape=(1,), key_sites=())
        yield StepDone(1, 1, 500, losses, 1.0, 0.1)
        for index, name in enumerate(self.spec.stages[1:], start=2):
            yield StageDone(name, index, len(self.spec.stages), video.frames)
        yield Finished(
            EditOutput(
                video=video,
                mask=np.ones(video.frames.shape[:3], bool),
                source_prompt="a",
                target_prompt="b",
                config=config,
                model=self.spec.name,
                losses=(losses,),
                seconds=0.1,
                max_difference_outside=None,
            )
        )

    def give_up(self) -> None:
        """Let every edit run out of memory from now on."""

        def stream(*_: Any, **__: Any) -> Generator[EditEvent, None, None]:
            yield from ()
            raise OutOfMemoryError("the device ran out of memory; use fewer frames")

        self.stream = stream  # type: ignore[method-assign]

    def measure(self, video: Video, *, config: EditConfig) -> Generator[Trial | Preflight, None, None]:
        assert len(video) >= 2
        self.measured = config
        yield from self.trials


class Page:
    """The handlers over four models, with one visitor who has an example of 16 frames open."""

    def __init__(self, folder: Path) -> None:
        (folder / "square").mkdir()
        write_video(Video(moving_square(32, (64, 64))[0].frames, 16.0), folder / "square" / "clip.mp4")
        meta = {"source_prompt": "a red car", "target_prompts": ["a blue car"], "click": {"x": 12, "y": 24}}
        (folder / "square" / "meta.json").write_text(json.dumps(meta))
        self.editors = {spec.name: FakeEditor(spec) for spec in SPECS}
        self.reports: list[ModelDownload] = []
        self.models = Models(self.editors["first"], make=self.editors.__getitem__, download=self._download)
        self.visitors, device = VisitorStore(), DeviceQueue()
        self.clips = Clips(
            visitors=self.visitors,
            models=self.models,
            segmenter=load_segmenter(),
            examples=load_examples(folder),
        )
        self.picker = ModelPicker(visitors=self.visitors, models=self.models, clips=self.clips)
        self.measurements = Measurements(visitors=self.visitors, device=device, models=self.models)
        self.edits = Edits(visitors=self.visitors, device=device, models=self.models)
        self.token = self.visitors.admit()
        self.clips.greet(token=self.token, example=None)

    def _download(self, name: str) -> Generator[ModelDownload, None, None]:
        if name == "far":
            yield ModelDownload(GB, 7 * GB)
            raise ModelLoadError("owner/far could not be reached")

    @property
    def visitor(self) -> Visitor:
        return self.visitors.get(self.token)

    def use(self, name: object) -> list[dict[str, Any]]:
        return list(self.picker.use(token=self.token, model=name))

    def select(self) -> None:
        clip = self.visitor.clip
        assert clip is not None
        clip.history = clip.history.do(lambda project: project.with_prompt(1, SELECTED))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.setattr("web.models.list_models", lambda: SPECS)
    monkeypatch.setattr("web.models.usable_memory", lambda _: 8 * GB)
    monkeypatch.setattr("web.views.SECONDS_BETWEEN_UPDATES", 0.0)
    monkeypatch.setattr(ModelSpec, "is_ready", lambda spec: spec.is_local)
    return Page(tmp_path)


def choice(view: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in view["choices"] if each["name"] == name)


def test_every_model_is_listed_with_licence_size_memory_and_state(page: Page) -> None:
    update = page.picker.show(token=page.token)

    view = update["model"]
    assert view["active"] == "first"
    assert update["model_box"].label == "Model: First"
    cascade, far, huge = (choice(view, name) for name in ("cascade", "far", "huge"))
    assert "CC BY-NC 4.0: not for commercial use" in cascade["facts"]
    assert "needs 3.0 GB of memory for 9 frames at 16x16 ·" in cascade["facts"]
    assert "needs 31.0 GB of memory for 3 frames at 16x16; 6.0 GB in the low-memory profile ·" in far["facts"]
    assert cascade["words"] == "ready"
    assert cascade["advice"] == "Takes 5 or 9 or 13 frames at 16 a second."
    assert far["action"] == "Download 7.0 GB and use Far"
    assert "“How long will it take?” finds how many frames do" in far["advice"]
    assert "runs on a processor" in far["advice"]
    assert "runs on a processor" not in cascade["advice"]
    assert (huge["words"], huge["action"]) == ("not available here", None)
    assert "can be used on cpu" in huge["advice"]


def test_a_page_that_saves_memory_does_not_call_tight_what_fits_so(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = page.models.spec("far")
    assert page.models.is_tight(far)

    monkeypatch.setattr(page.models, "_saves_memory", True)

    assert not page.models.is_tight(far)
    assert page.models.standing(far).readiness is Readiness.DOWNLOADABLE


def test_another_model_is_said_plainly_and_what_was_selected_stays(page: Page) -> None:
    page.select()

    update = page.use("cascade")[-1]

    clip = page.visitor.clip
    assert clip is not None
    assert page.models.of(page.visitor) is page.editors["cascade"]
    assert (len(clip.video), clip.video.fps) == (9, 16.0)
    assert [prompt.frame_index for prompt in clip.project.objects[0].prompts] == [4]
    assert clip.tracks.preview(clip.project.objects[0].prompts[0]).any()
    assert update["model"]["note"] == "Cascade edits now. Its weights are loaded by the first edit."
    assert "Active model: Cascade" in update["masthead"]
    slider = update["num_frames"]
    assert (slider.minimum, slider.maximum, slider.step, slider.value) == (5, 13, 4, 9)
    assert [value for _, value in update["last_stage"].choices] == ["", "key frames", "interpolation"]
    assert update["last_stage"].visible
    assert len(update["canvas"]["frames"]) == 9


def test_the_form_takes_the_settings_of_the_model_and_a_preset_goes_before_them(page: Page) -> None:
    update = page.use("cascade")[-1]
    words = {"source_prompt": "a red car", "target_prompt": "a blue car", "mask_grow": 0}
    paper, back, chosen = (
        page.picker.preset(token=page.token, preset=name, **words) for name in ("paper", "fast", "auto")
    )

    assert (update["preset"], update["guidance_scale"], update["num_optimization_steps"]) == (
        "auto",
        4.0,
        9,
    )
    assert (chosen["spatial_weight"], back["spatial_weight"]) == (200.0, 0.02)
    assert "only the look changes: red to blue" in chosen["preset_note"]
    assert paper["preset_note"] == back["preset_note"] == ""
    steps = [each["num_optimization_steps"] for each in (update, paper, back)]
    assert steps == [9, 200, 9]


def test_what_another_reading_does_not_have_is_said_to_be_gone(page: Page) -> None:
    page.use("cascade")
    clip = page.visitor.clip
    assert clip is not None
    for frame in (0, 1, 8):
        prompt = Prompt(Selection(frame, (Click(12, 24),)))
        clip.history = clip.history.do(lambda project, prompt=prompt: project.with_prompt(1, prompt))

    page.use("first")

    clip = page.visitor.clip
    assert clip is not None
    assert [prompt.frame_index for prompt in clip.project.objects[0].prompts] == [0]
    assert clip.remarks == ("The clicks on 2 frames that are no longer read are gone.",)


def given(page: Page) -> dict[int, int]:
    """Where each of the open clip's given masks of object 1 begins on the left, by frame."""
    clip = page.visitor.clip
    assert clip is not None
    masks = {each.frame_index: clip.tracks.preview(each) for each in clip.project.objects[0].prompts}
    return {index: int(np.flatnonzero(mask.any(axis=0))[0]) for index, mask in masks.items()}


def test_what_was_said_stays_on_its_moment_where_the_start_falls_between_two_frames(page: Page) -> None:
    page.use("cascade")
    page.clips.reopen(token=page.token, start_frame=5, num_frames=9)
    clip = page.visitor.clip
    assert clip is not None
    for frame in range(9):
        mask = np.zeros((64, 64), bool)
        mask[10:20, 20 + frame : 40 + frame] = True
        prompt = Prompt.of_mask(frame, mask)
        clip.history = clip.history.do(lambda project, prompt=prompt: project.with_prompt(1, prompt))

    update = page.use("first")[-1]

    assert page.visitor.clip is not None
    assert update["start_frame"] == page.visitor.clip.start_frame == 2
    # Frames 6, 8 and 10 of the file; the first of the four that are read, its frame 4, was not seen before.
    assert given(page) == {1: 21, 2: 23, 3: 25}


def test_rates_that_are_no_round_numbers_lose_nothing() -> None:
    video = Video(moving_square(64, (64, 64))[0].frames, 30000 / 1001)
    tracks = Tracks(load_segmenter().open(video.frames), video.frames)
    old, new = (Clip(Path("clip.mp4"), video, tracks, "embedded") for _ in range(2))
    project = old.project
    for frame in range(64):
        project = project.with_prompt(1, Prompt.of_mask(frame, np.ones((64, 64), bool)))
    old.history = old.history.do(lambda _: project)

    assert carry_over(old, new) == 0
    assert new.project.objects[0].confirmed_frames == tuple(range(64))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("far", "owner/far could not be reached"),
        ("huge", "Huge is not available here"),
        ("magic", "choose one of: first"),
        (None, "choose one of: first"),
    ],
)
def test_where_it_fails_the_former_model_stays(page: Page, name: object, said: str) -> None:
    updates = page.use(name)

    view = updates[-1]["model"]
    assert said.lower() in view["note"].lower()
    assert view["note"].endswith("First stays.")
    assert view["is_problem"]
    assert page.models.of(page.visitor) is page.models.first
    if name == "far":
        assert updates[1]["model"]["note"].startswith("Downloading Far: 1.0 GB of 7.0 GB.")
        assert updates[1]["model"]["progress"] == pytest.approx(1 / 7)


def test_a_download_can_be_stopped(page: Page) -> None:
    updates = page.picker.use(token=page.token, model="far")
    next(updates)

    page.picker.stop(page.token)

    assert list(updates)[-1]["model"]["note"] == "Stopped; what has arrived is kept. First stays."


def test_weights_of_one_large_model_at_a_time_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from web.editor import LazyEditor

    def lazy(name: str, size: int) -> LazyEditor:
        editor = object.__new__(LazyEditor)
        editor.spec = replace(tiny_spec(), name=name, size_bytes=size)
        monkeypatch.setattr(editor, "unload", lambda: unloaded.append(name), raising=False)
        return editor

    unloaded: list[str] = []
    editors = {name: lazy(name, size) for name, size in (("small", 1), ("one", 7 * GB), ("two", 8 * GB))}
    monkeypatch.setattr("web.models.list_models", lambda: tuple(each.spec for each in editors.values()))
    models = Models(editors["small"], make=editors.__getitem__)
    for name in editors:
        models.get(name)

    models.begin(editors["small"], owner=None)
    assert unloaded == []
    models.begin(editors["two"], owner=None)
    assert unloaded == ["one"]


def test_the_stages_of_a_cascade_are_watched_by_their_names(page: Page) -> None:
    page.use("cascade")
    seen = [
        (view["badge"], view["caption"])
        for update in page.edits.run(
            token=page.token,
            source_prompt="a red car",
            target_prompt="a blue car",
            **form(use_mask=False, last_stage="interpolation"),
        )
        if (view := update.get("player"))
    ]

    assert ("interpolation", "interpolation done: stage 2 of 3 · seed 7") in seen
    assert seen[-1][1].startswith("Done")


def trial(num_frames: int, *, fits: bool, scale: float = 1.0) -> Trial:
    return Trial(
        num_frames=num_frames,
        resolution_scale=scale,
        grid=(320, 576),
        step_seconds=0.5,
        fixed_seconds=3.0,
        peak_bytes=6 * GB,
        fits=fits,
    )


def outcome(asked: Trial, proposal: Trial | None) -> Preflight:
    return Preflight(
        asked=asked,
        proposal=proposal,
        num_steps=40,
        num_previews=9,
        usable_bytes=8 * GB,
        device="cpu",
        has_later_stages=False,
    )


def run(page: Page, **changes: Any) -> Iterator[dict[str, Any]]:
    return page.measurements.run(token=page.token, **form(**changes))


def test_a_measurement_says_time_and_memory(page: Page) -> None:
    page.editors["first"].trials = [trial(4, fits=True), outcome(trial(4, fits=True), trial(4, fits=True))]

    updates = list(run(page))

    measured = page.editors["first"].measured
    assert measured is not None
    assert measured.use_mask
    assert "Trying a step with First" in updates[1]["preflight"]
    assert "4 frames at 576x320: fits" in updates[2]["preflight"]
    assert "It fits: at most 6.0 GB are held; 8.0 GB can be used on cpu." in updates[3]["preflight"]
    assert "About 32 s: 40 steps of 0.5 s each." in updates[3]["preflight"]
    assert page.visitor.proposal is None
    assert not page.visitor.is_busy


def test_what_fits_instead_is_offered_and_taken(page: Page) -> None:
    smaller = trial(3, fits=True, scale=0.75)
    page.editors["first"].trials = [outcome(trial(4, fits=False), smaller)]

    update = list(run(page))[-1]

    assert "It does not fit: 4 frames" in update["preflight"]
    assert update["preflight_use"].value == "Use 3 frames at 0.75 of the resolution"
    assert update["preflight_use"].visible
    taken = page.measurements.accept(token=page.token)
    assert (taken["num_frames"], taken["resolution_scale"]) == (3, 0.75)
    assert page.measurements.accept(token=page.token) == {}


def test_a_measurement_can_be_stopped_and_gives_the_device_back(page: Page) -> None:
    page.editors["first"].trials = [trial(2, fits=True), trial(4, fits=True)]
    updates = run(page)
    for _ in range(3):
        next(updates)

    page.edits.stop(page.token)

    assert "Stopped" in list(updates)[-1]["preflight"]
    page.editors["first"].trials = [outcome(trial(4, fits=True), None)]
    assert "It fits" in list(run(page))[-1]["preflight"]


def edit(page: Page) -> Iterator[dict[str, Any]]:
    prompts = {"source_prompt": "a red car", "target_prompt": "a blue car"}
    return page.edits.run(token=page.token, **prompts, **form(use_mask=False))


def test_an_edit_that_runs_out_of_memory_finds_what_fits_and_offers_it(page: Page) -> None:
    editor = page.editors["first"]
    editor.give_up()
    editor.trials = [trial(3, fits=True), outcome(trial(4, fits=False), trial(3, fits=True))]
    updates: list[dict[str, Any]] = []

    with pytest.raises(OutOfMemoryError, match=r"use fewer frames\. Under Clip and model it says what fits"):
        updates.extend(edit(page))

    said = [update["preflight"] for update in updates if "preflight" in update]
    assert "Out of memory. Trying what fits" in said[0]
    assert "The largest setting found that fits: 3 frames at 576x320." in said[-1]
    assert updates[-1]["preflight_use"].value == "Use 3 frames"
    assert editor.measured is not None
    assert not editor.measured.use_mask
    assert page.measurements.accept(token=page.token)["num_frames"] == 3
    assert not page.visitor.is_busy


def test_where_not_even_the_model_fits_that_is_said(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = page.editors["first"]
    editor.give_up()
    monkeypatch.setattr(editor, "measure", editor.stream)
    updates: list[dict[str, Any]] = []

    with pytest.raises(OutOfMemoryError):
        updates.extend(edit(page))

    assert "Not even the model fits" in updates[-1]["preflight"]


def test_stop_ends_the_search_for_what_fits(page: Page) -> None:
    editor = page.editors["first"]
    editor.give_up()
    editor.trials = [trial(2, fits=True), trial(3, fits=True)]
    updates = edit(page)
    while "preflight" not in next(updates):
        pass

    page.edits.stop(page.token)

    with pytest.raises(OutOfMemoryError):
        list(updates)
    assert page.visitor.proposal is None


def test_unknown_words_are_named_while_typing_with_the_nearest_known_ones(page: Page) -> None:
    page.models.first.spec = replace(page.models.first.spec, vocabulary=("a", "red", "car", "bear", "zebra"))
    picker = ModelPicker(visitors=page.visitors, models=page.models, clips=page.clips)

    note = picker.preset(
        token=page.token, preset="fast", source_prompt="a red car", target_prompt="a zebre xyz", mask_grow=0
    )["preset_note"]

    assert "has never seen and will guess: zebre (nearest: zebra), xyz." in note
