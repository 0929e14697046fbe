"""Uploads that are deleted while they are open, as Gradio does after an hour."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import requests

from dreammotion_core import VideoError
from tests.serving import serve
from tests.web.pages import PROMPTS, Page, form
from web.clip import KeptFile, own_temporary_folder
from web.components import Example


def upload(page: Page, path: Path) -> str:
    """A visitor who has sent a file and clicked the object in it."""
    token = page.arrive()
    page.clips.open_upload(token=token, upload=str(path), start_frame=0, num_frames=3)
    page.do(token, {"do": "click", "frame": 0, "x": 12.0, "y": 24.0, "is_positive": True}, clip=2)
    return token


def kept(page: Page, token: str) -> Path:
    return page.clip(token).path


@pytest.fixture
def sent(example: Example, tmp_path: Path) -> Path:
    return Path(shutil.copy(example.path, tmp_path / "holiday.mp4"))


def test_an_edit_ends_with_clip_and_receipt_though_the_upload_is_gone(page: Page, sent: Path) -> None:
    digest = hashlib.sha256(sent.read_bytes()).hexdigest()
    token = upload(page, sent)
    sent.unlink()

    for update in page.edits.run(token=token, **PROMPTS, **form()):
        if "receipt" in update and update["receipt"].value:
            receipt = json.loads(Path(update["receipt"].value["path"]).read_text())
            assert Path(update["movie"].value["path"]).stat().st_size > 0

    assert receipt["source"] == {
        "name": "holiday.mp4",
        "bytes": kept(page, token).stat().st_size,
        "sha256": digest,
    }


def test_another_part_of_an_upload_that_is_gone_can_be_read(page: Page, sent: Path) -> None:
    token = upload(page, sent)
    sent.unlink()

    update = page.clips.reopen(token=token, start_frame=1, num_frames=2)

    assert len(update["player"]["frames"]) == 2


def test_the_file_goes_when_another_clip_is_opened(page: Page, sent: Path) -> None:
    token = upload(page, sent)
    path = kept(page, token)
    page.clips.reopen(token=token, start_frame=1, num_frames=2)
    assert path.exists()

    page.clips.open_example(token=token, example="square", start_frame=0, num_frames=None)

    assert not path.parent.exists()
    assert sent.exists()


def test_the_file_goes_with_the_visitor_and_not_before_a_running_edit_has_ended(
    page: Page, sent: Path
) -> None:
    token = upload(page, sent)
    path = kept(page, token)
    updates = page.edits.run(token=token, **PROMPTS, **form())
    next(update for update in updates if update.get("losses"))

    page.visitors.leave("session")
    assert path.exists()
    updates.close()  # type: ignore[attr-defined]
    del updates

    assert not path.parent.exists()


def test_a_file_that_cannot_be_read_is_not_kept(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    bad = tmp_path / "notes.mp4"
    bad.write_text("not a video")

    with pytest.raises(VideoError):
        page.clips.open_upload(token=page.arrive(), upload=str(bad), start_frame=0, num_frames=3)
    with pytest.raises(VideoError, match=r"gone\.mp4 cannot be kept"):
        KeptFile(tmp_path / "gone.mp4")

    assert list(tmp_path.glob("dreammotion-clip-*")) == []


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no second disk on this machine")
def test_a_file_on_another_disk_is_copied(sent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")
    file = KeptFile(sent)
    path = file.path

    assert path.read_bytes() == sent.read_bytes()
    assert path.stat().st_ino != sent.stat().st_ino
    del file
    assert not path.parent.exists()


def test_the_page_takes_its_files_along_when_it_is_ended_and_those_of_the_dead(
    tmp_path: Path, sent: Path
) -> None:
    place = tmp_path / "temporary"
    dead = place / "dreammotion-page-dead"
    (dead / "gradio").mkdir(parents=True)
    os.utime(dead, (0, 0))

    with serve(tmp_path / "log.txt", TMPDIR=str(place), GRADIO_TEMP_DIR="") as url:
        (alive,) = place.glob("dreammotion-page-*")
        assert alive != dead
        with sent.open("rb") as file:
            requests.post(f"{url}/gradio_api/upload", files={"files": file}, timeout=60).raise_for_status()
        assert list(alive.rglob("holiday.mp4"))

    assert list(place.glob("dreammotion-page-*")) == []
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


def test_the_files_of_another_page_at_work_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first = own_temporary_folder()
    os.utime(first, (0, 0))

    second = own_temporary_folder()

    assert {first, second} == set(tmp_path.iterdir())
