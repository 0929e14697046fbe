"""A real browser and the real app, for the tests of the page; what most of them do first."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dreammotion_core import Video, write_video
from tests.serving import serve
from tests.tiny import save_tiny_unet3d

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)

NEEDS_BROWSER = [
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
SIDE = 128
BALL = (0.25, 0.6)
OTHER = (0.8, 0.2)
PATIENCE = 150_000
"""Milliseconds; the machine may be busy with other tests."""

UPLOAD = '.dm-source input[type="file"]'
MASK_SHOWN = "() => document.querySelector('#canvas .dm-overlay')?.hasAttribute('src')"


def rolling_ball(folder: Path, *, side: int) -> Path:
    """A red ball rolling over a meadow, and a blue one at rest."""
    frames = []
    for index in range(9):
        image = Image.new("RGB", (4 * SIDE, 4 * SIDE), (150, 200, 240))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 2.2 * SIDE, 4 * SIDE, 4 * SIDE), fill=(90, 170, 80))
        for place, colour in (((BALL[0] + 0.05 * index, BALL[1]), (210, 40, 40)), (OTHER, (40, 60, 190))):
            x, y = (4 * SIDE * part for part in place)
            draw.ellipse((x - 70, y - 70, x + 70, y + 70), fill=colour)
        frames.append(np.asarray(image.resize((side, side), Image.Resampling.BOX)))
    return write_video(Video(np.stack(frames), 8.0), folder / "ball.mp4")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rolling_ball(tmp_path_factory.mktemp("clip"), side=SIDE)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real app on the embedded model."""
    folder = tmp_path_factory.mktemp("app")
    with serve(folder / "log.txt") as url:
        yield url
        assert "Traceback" not in (folder / "log.txt").read_text()


@pytest.fixture(scope="session")
def quick_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same on a tiny model with random weights, whose steps cost next to nothing."""
    folder = tmp_path_factory.mktemp("quick")
    with serve(folder / "log.txt", "--model", str(save_tiny_unet3d(folder / "tiny"))) as url:
        yield url
        assert "Traceback" not in (folder / "log.txt").read_text()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    playwright.expect.set_options(timeout=PATIENCE)
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser: Browser, clip: Path) -> Iterator[Callable[..., Page]]:
    """Open the page as a new visitor and upload the clip; no visit may log a script error."""
    contexts, errors = [], []

    def open_page(*, upload: bool = True, server: str = "app", **options: object) -> Page:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(request.getfixturevalue(server))
        page.wait_for_selector("#canvas canvas")
        if page.locator("#examples button").count():
            page.wait_for_function("() => document.querySelector('#canvas .dm-base').naturalWidth > 0")
        if upload:
            send(page, clip)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def send(page: Page, clip: Path) -> None:
    before = page.get_attribute("#canvas .dm-base", "src")
    page.set_input_files(UPLOAD, str(clip))
    page.wait_for_function(
        "(old) => { const image = document.querySelector('#canvas .dm-base');"
        " return image.getAttribute('src') !== old && image.naturalWidth > 0 }",
        arg=before,
    )


def click(page: Page, at: tuple[float, float] = BALL, **options: object) -> None:
    area = page.locator("#canvas canvas").bounding_box()
    assert area is not None
    position = {"x": area["width"] * at[0], "y": area["height"] * at[1]}
    page.locator("#canvas canvas").click(position=position, **options)


def select_ball(page: Page) -> None:
    click(page)
    page.wait_for_function(MASK_SHOWN)
