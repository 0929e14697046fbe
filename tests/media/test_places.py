"""Places that are read and written: tried before any work, and no finished result is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dreammotion_core.errors import MaskError, OutputError, VideoError
from dreammotion_core.media.atomic import check_readable, check_writable, keep_result, written_atomically

IS_SUPERUSER = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.parametrize("name", ["y" * 251 + ".mp4", "ж" * 125 + ".mp4", "x." + "y" * 253])
def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path, name: str) -> None:
    check_writable(tmp_path / name)
    with written_atomically(tmp_path / name) as temporary:
        temporary.write_text("done")

    assert (tmp_path / name).read_text() == "done"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["y" * 300, "ж" * 128, f"{'f' * 300}/clip.mp4"])
def test_a_name_that_is_too_long_is_refused_early(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="at most 255 are possible: choose a shorter one"):
        check_writable(tmp_path / name)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real" / "clip.mp4")
    check_writable(tmp_path / "link.mp4")
    with written_atomically(tmp_path / "link.mp4") as temporary:
        temporary.write_text("done")

    assert (tmp_path / "link.mp4").is_symlink()
    assert (tmp_path / "real" / "clip.mp4").read_text() == "done"


@pytest.mark.skipif(IS_SUPERUSER, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_refused_early(tmp_path: Path) -> None:
    (tmp_path / "fixed").mkdir(mode=0o500)
    (tmp_path / "closed").mkdir(mode=0)

    for folder in ("fixed", "closed", "fixed/new"):
        with pytest.raises(OutputError, match="Permission denied"):
            check_writable(tmp_path / folder / "clip.mp4")


@pytest.mark.parametrize("error", [VideoError, MaskError])
def test_what_cannot_be_read_is_called_by_its_reason(
    tmp_path: Path, error: type[VideoError], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(error, match=r"there is no .*nothing; pass a clip"):
        check_readable(tmp_path / "nothing", error, wanted="a clip")
    with pytest.raises(error, match="is a pipe or a device; pass a clip"):
        check_readable(tmp_path / "pipe", error, wanted="a clip")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(error, match=r"file cannot be opened \(Permission denied\); check its name"):
        check_readable(tmp_path / "file", error, wanted="a clip")


def test_a_result_whose_place_went_away_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def write(path: Path) -> None:
        with written_atomically(path) as temporary:
            temporary.write_text("done")

    assert keep_result(write, tmp_path / "clip.mp4") is None
    said = keep_result(write, tmp_path / "file" / "clip.mp4")

    (kept,) = (tmp_path / "here").glob("dreammotion-*/result.mp4")
    assert kept.read_text() == "done"
    assert said is not None
    assert said.endswith(f"It is kept as {kept}")
