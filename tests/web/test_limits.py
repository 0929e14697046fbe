"""What visitors may ask for, which models are offered first, and what happens where one cannot be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import web.models
from dreammotion_core import ConfigError, ModelLoadError, list_models, write_video
from segmentation import Readiness, load_segmenter
from tests.tiny import moving_square
from tests.web.pages import PROMPTS, Page, form
from web import Example, LazyEditor, Limits, Models, Segmenters
from web.editor import shortened
from web.endpoints import Endpoints
from web.opening import read_upload
from web.pickers import ModelPicker
from web.visitors import LimitError


@pytest.fixture
def limited(editor: LazyEditor, example: Example) -> Page:
    page = Page(editor, [example])
    page.edits.models = Models(editor, limits=Limits(max_steps=5))
    return page


def test_more_steps_than_the_page_allows_are_refused_before_any_work(limited: Page) -> None:
    token = limited.arrive()
    limited.click(token)

    with pytest.raises(ConfigError, match="is 6; this page allows at most 5"):
        list(limited.edits.run(token=token, **PROMPTS, **form(steps=6)))
    assert list(limited.edits.run(token=token, **PROMPTS, **form(steps=5)))


def test_the_endpoint_has_the_same_limits(
    limited: Page, example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints = Endpoints(models=limited.edits.models, segmenter=load_segmenter(), device=limited.device)
    monkeypatch.setattr("web.endpoints._uploaded", lambda _: example.path)
    asked: dict[str, Any] = {"x": 12, "y": 24, **PROMPTS, "steps": 6}

    with pytest.raises(Exception, match="this page allows at most 5"):
        list(endpoints.edit_video(None, **asked))  # type: ignore[arg-type]


@pytest.mark.parametrize(("most", "expected"), [(8, 8), (12, 12), (100, 16), (1, 2)])
def test_a_model_edits_no_more_frames_than_the_page_allows(most: int, expected: int) -> None:
    spec = shortened(LazyEditor("toybox-unet").spec, most)

    assert spec.max_frames == expected
    assert spec.num_frames == min(8, expected)
    assert LazyEditor("toybox-unet", max_frames=most).spec == spec


def test_frames_fit_the_steps_of_a_model() -> None:
    for spec in list_models():
        short = shortened(spec, 20)
        assert short.max_frames <= 20
        assert (short.max_frames - 1) % spec.frame_step == 0
        assert short.num_frames <= short.max_frames


def test_the_list_has_the_same_limits(editor: LazyEditor) -> None:
    models = Models(editor, make=LazyEditor, max_frames=12)

    assert max(spec.max_frames for spec in models.specs() if spec.name != editor.spec.name) <= 12


def test_a_larger_clip_than_the_page_allows_is_refused(tmp_path: Path) -> None:
    clip = write_video(moving_square(num_frames=8, size=(64, 128))[0], tmp_path / "clip.mp4")
    spec = LazyEditor("toybox").spec

    with pytest.raises(LimitError, match="is 128x64, and this page takes at most 100 pixels a side"):
        read_upload(clip, spec=spec, start_frame=0, num_frames=None, limits=Limits(max_side=100))
    assert read_upload(clip, spec=spec, start_frame=0, num_frames=None, limits=Limits(max_side=128)).size == (
        64,
        128,
    )


def nothing(name: str) -> Any:
    raise AssertionError(f"{name} was downloaded")


def test_visitors_download_only_what_the_owner_lists(
    editor: LazyEditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.models, "usable_memory", lambda _: 200_000_000_000)
    models = Models(
        editor, make=LazyEditor, download=nothing, may_download=lambda name: name == "zeroscope", device="cpu"
    )
    segmenters = Segmenters(load_segmenter(), may_download=lambda _: False)

    assert models.standing(models.spec("zeroscope")).readiness is Readiness.DOWNLOADABLE
    refused = models.standing(models.spec("modelscope"))
    assert refused.readiness is Readiness.UNAVAILABLE
    assert "DREAMMOTION_DOWNLOADS=modelscope" in refused.reason
    with pytest.raises(ConfigError, match="visitors may not download"):
        models.fetch("modelscope")
    states = {spec.name: segmenters.standing(spec).readiness for spec in segmenters.specs()}
    assert states.pop("embedded") is Readiness.READY
    assert Readiness.DOWNLOADABLE not in states.values()


@pytest.mark.parametrize(
    ("room", "first"), [(14_000_000_000, "zeroscope"), (23_000_000_000, "cogvideox-2b"), (10**12, "wan-14b")]
)
def test_what_suits_the_gpu_best_is_offered_first(
    editor: LazyEditor, monkeypatch: pytest.MonkeyPatch, room: int, first: str
) -> None:
    monkeypatch.setattr(web.models, "usable_memory", lambda _: room)
    models = Models(editor, make=LazyEditor, device="cuda")

    large = [spec.name for spec in models.specs()[1:] if spec.memory_bytes]

    assert large[0] == first


def test_the_memory_beside_the_card_is_looked_at(editor: LazyEditor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        web.models, "usable_memory", lambda device: 14_800_000_000 if device == "cpu" else 24_000_000_000
    )
    models = Models(editor, make=LazyEditor, device="cuda")

    standing = models.standing(models.spec("cogvideox-2b"))

    assert standing.readiness is Readiness.UNAVAILABLE
    assert "15.7 GB of the machine's own memory" in standing.reason


def test_a_model_that_cannot_be_loaded_gives_way_to_the_first(
    page: Page, editor: LazyEditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ModelLoadError("the weights of toybox are damaged; fetch them again")

    other = LazyEditor("toybox")
    monkeypatch.setattr(other, "pipeline", fail)
    token = page.arrive()
    page.click(token)
    visitor = page.visitors.get(token)
    visitor.editor = other
    picker = ModelPicker(visitors=page.visitors, models=page.edits.models, clips=page.clips)
    assert picker.go_back(token=token) == {}

    with pytest.raises(ModelLoadError):
        list(page.edits.run(token=token, **PROMPTS, **form()))
    update = picker.go_back(token=token)

    assert page.edits.models.of(visitor) is editor
    assert "are damaged" in update["model"]["note"]
    assert f"{editor.spec.label} edits again." in update["model"]["note"]
    assert update["model"]["active"] == editor.spec.name
    assert "masthead" in update
    assert picker.go_back(token=token) == {}
    assert list(page.edits.run(token=token, **PROMPTS, **form()))
