"""The picture at the top of the README, made by the app itself: ``python -m tests.take_picture``."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.serving import serve

PICTURE = Path(__file__).resolve().parents[1] / "assets" / "readme" / "page.png"


def edit_example(page: Page, name: str) -> None:
    """Do what a newcomer does: take an example, click, follow, take a suggestion, edit."""
    page.click(f'#examples button:has-text("{name}")')
    page.wait_for_function("() => document.querySelector('#canvas .dm-base').naturalWidth > 0")
    page.wait_for_timeout(1500)
    area = page.locator("#canvas canvas").bounding_box()
    assert area is not None
    page.locator("#canvas canvas").click(position={"x": area["width"] * 0.5, "y": area["height"] * 0.42})
    page.wait_for_selector("#canvas .dm-overlay[src]")
    page.click("#propagate")
    page.wait_for_selector("#propagate:has-text('Followed')")
    page.fill("#seed textarea, #seed input", "7")
    page.locator("#suggestions button").first.click()
    page.wait_for_timeout(2000)
    page.click("#edit")


def main() -> None:
    """Run the app, edit the first example, and write the picture of the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.take_picture", description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURE)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder) / "log.txt") as url,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(
            viewport={"width": options.width, "height": 900},
            color_scheme="dark" if options.dark else "light",
        )
        page.set_default_timeout(240_000)
        page.goto(url)
        page.wait_for_selector("#examples button")
        edit_example(page, "balloon")
        page.wait_for_selector("#movie:visible")
        page.wait_for_timeout(1500)
        page.screenshot(path=options.out, full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
