"""What most tests of the page begin with."""

from __future__ import annotations

import json

import pytest

from dreammotion_core import (
    write_video,
)
from tests.tiny import moving_square, save_tiny_unet3d
from tests.web.browsing import app, browser, clip, quick_app, visit  # noqa: F401
from tests.web.pages import SIDE, Page
from web import Example, LazyEditor, load_examples


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


@pytest.fixture
def page(editor: LazyEditor, example: Example) -> Page:
    return Page(editor, [example])
