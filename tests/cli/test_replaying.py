"""The command line makes an edit again, verifies a result, and packs and opens projects."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dreammotion_core import list_models, read_record, read_video, write_video
from dreammotion_core.cli.main import main
from dreammotion_core.media.masks import write_masks
from dreammotion_core.spec import ModelSpec
from tests.tiny import moving_square, save_tiny_unet3d

SIZE = (32, 48)


class Made:
    """A result of the command `edit`, with its receipt and its states."""

    def __init__(self, folder: Path) -> None:
        self.model = save_tiny_unet3d(folder / "model")
        video, mask = moving_square(6, SIZE)
        self.clip = write_video(video, folder / "clip.mp4")
        self.result, self.receipt, self.state = (folder / name for name in ("out.mp4", "out.json", "state"))
        words = ("edit", self.clip, "--source-prompt", "a red car", "--target-prompt", "a blue car")
        words += ("--mask", write_masks(mask[:3], folder / "masks"), "--seed", 5, "--steps", 2)
        words += ("--state", self.state, "--start-frame", 1, "--out", self.result, *self.here)
        assert run(*words) == 0

    @property
    def here(self) -> tuple[object, ...]:
        return "--model", self.model, "--device", "cpu"


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture
def project(made: Made, tmp_path: Path) -> Path:
    path = tmp_path / "car.dreammotion"
    assert run("project", "pack", path, made.result, made.state, "--source", made.clip) == 0
    return path


# --- replay ---


@pytest.mark.parametrize("kind", ["result", "receipt", "state"])
def test_replay_makes_the_same_file_from_each_record(made: Made, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "again.mp4"

    assert run("replay", getattr(made, kind), "--source", made.clip, "--out", out, *made.here) == 0

    assert out.read_bytes() == made.result.read_bytes()
    before, after = (json.loads(path.read_text()) for path in (made.receipt, out.with_suffix(".json")))
    for name in ("settings", "source", "start_frame", "preset", "mask", "record", "clip"):
        assert before[name] == after[name], name


def test_replay_of_a_project_needs_no_clip(made: Made, project: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.mp4"

    assert run("replay", project, "--out", out, *made.here) == 0

    assert out.read_bytes() == made.result.read_bytes()


def test_replay_names_its_result_after_the_other_and_replaces_nothing(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("replay", made.result, "--source", made.clip, *made.here)

    assert run(*words) == 0
    assert (tmp_path / "out-again.mp4").is_file()
    assert run(*words) == 2
    assert "out-again.mp4 is there already" in capsys.readouterr().err


def test_replay_refuses_another_clip_unless_told(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = read_video(made.clip)
    other = write_video(replace(video, frames=255 - np.array(video.frames)), tmp_path / "other.mp4")
    words = ("replay", made.result, "--source", other, "--out", tmp_path / "out.mp4", *made.here)

    assert run(*words) == 2
    assert "the frames of the clip are not those that it was made from" in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()
    assert run(*words, "--anyway") == 0


def test_replay_refuses_to_write_over_what_it_reads(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    for out in (made.result, made.clip):
        assert run("replay", made.result, "--source", made.clip, "--out", out, *made.here) == 2
        assert "would be written over" in capsys.readouterr().err


def test_replay_goes_on_with_the_state_that_it_is_given(made: Made, tmp_path: Path, project: Path) -> None:
    assert run("project", "open", project, "--out", tmp_path / "opened") == 0
    state = tmp_path / "opened" / "edit-1" / "state"
    (state / "state-000002.safetensors").unlink()
    out = tmp_path / "again.mp4"

    assert run("replay", state, "--source", made.clip, "--state", state, "--out", out, *made.here) == 0

    assert out.read_bytes() == made.result.read_bytes()


def test_the_process_works_with_as_many_threads_as_before_and_leaves_its_own(
    made: Made, tmp_path: Path
) -> None:
    record = json.loads(made.receipt.read_text())
    record["record"]["request"]["machine"]["threads"] = 2
    receipt = tmp_path / "two.json"
    receipt.write_text(json.dumps(record))
    before = torch.get_num_threads()

    run("replay", receipt, "--source", made.clip, "--out", tmp_path / "out.mp4", *made.here)

    assert torch.get_num_threads() == before
    assert read_record(tmp_path / "out.mp4").asked["machine"]["threads"] == 2


# --- verify ---


def test_verify_says_the_same_pixels(made: Made, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (made.result, made.receipt, project):
        capsys.readouterr()
        assert run("verify", place, "--source", made.clip, *made.here) == 0
        assert capsys.readouterr().out == "The same pixels, on all 3 frames.\n"


def test_verify_names_another_model_and_the_first_frame(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    other = save_tiny_unet3d(tmp_path / "model")
    weights = other / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: value * 1.2 for name, value in load_file(weights).items()}, weights)
    words = ("verify", made.result, "--source", made.clip, "--model", other, "--device", "cpu")

    assert run(*words) == 3
    said = capsys.readouterr().out
    assert "Other pixels: frame 0 is the first of 3 that differ, by up to" in said
    assert "it was made with the model model; that has other weights now" in said


def test_verify_of_a_clip_that_is_shorter_names_it(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = read_video(made.clip)
    short = write_video(replace(video, frames=video.frames[:3]), tmp_path / "short.mp4")

    assert run("verify", made.result, "--source", short, *made.here) == 3
    said = capsys.readouterr().out
    assert "cannot be made again" in said
    assert "made from a clip of 3 frames of 48x32; this one has 2 frames" in said


def test_verify_takes_the_receipt_where_the_record_is_lost(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = write_video(read_video(made.result), tmp_path / "bare.mp4")

    assert run("verify", bare, "--source", made.clip, *made.here) == 2
    assert "pass the receipt of the edit" in capsys.readouterr().err
    assert run("verify", bare, "--receipt", made.receipt, "--source", made.clip, *made.here) == 3
    assert "the file was coded again or changed later" in capsys.readouterr().out


# --- What a record may make this machine do ---


def with_model(made: Made, path: Path, name: str) -> Path:
    receipt = json.loads(made.receipt.read_text())
    receipt["record"]["request"]["model"]["name"] = name
    path.write_text(json.dumps(receipt))
    return path


@pytest.mark.parametrize("name", ["../../evil", "/etc", "somebody/evil@0123456"])
def test_a_record_names_no_folder_and_no_hub_model(
    made: Made, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    receipt = with_model(made, tmp_path / "receipt.json", name)

    assert run("replay", receipt, "--source", made.clip, "--out", tmp_path / "out.mp4") == 2
    assert f"the model {name} is not known by name" in capsys.readouterr().err


def test_a_record_starts_no_download(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ModelSpec, "is_ready", lambda spec: spec.is_local)
    large = next(spec.name for spec in list_models() if not spec.is_local)
    receipt = with_model(made, tmp_path / "receipt.json", large)

    assert run("verify", receipt, "--source", made.clip) == 2
    assert f"--model {large} allows its download" in capsys.readouterr().err


def test_nothing_says_which_clip(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("replay", made.result, "--out", tmp_path / "out.mp4", *made.here) == 2
    assert "name it with --source" in capsys.readouterr().err
    assert run("verify", made.result, "--source", tmp_path / "gone.mp4", *made.here) == 2
    assert "there is no" in capsys.readouterr().err


# --- project ---


def test_project_open_lists_and_unpacks(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run("project", "open", project, "--out", tmp_path / "opened") == 0

    said = capsys.readouterr().out
    assert "the clip 'clip.mp4' is in it" in said
    assert "edit 1: 'a red car' to 'a blue car', model model, seed 5; states 1, 2, finished" in said
    names = {path.relative_to(tmp_path / "opened").as_posix() for path in (tmp_path / "opened").rglob("*.*")}
    assert {"source.mp4", "edit-1/result.mp4", "edit-1/record.json", "edit-1/state/request.json"} <= names


def test_project_words_that_do_not_fit_are_refused(
    made: Made, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (("pack", project), "0 edits are given"),
        (("pack", project.with_suffix(".zip"), made.result), "ends in .dreammotion"),
        (("open", made.result), "cannot be read"),
        (("open", project, made.result), "takes one file"),
    ):
        assert run("project", *words) == 2
        assert said in capsys.readouterr().err
    assert run("replay", project, "--edit", 2, "--out", project.with_name("out.mp4"), *made.here) == 2
    assert "there is no edit 2; car.dreammotion holds 1" in capsys.readouterr().err
    assert run("verify", made.result, "--edit", 2, "--source", made.clip, *made.here) == 2
    assert "--edit chooses an edit of a project" in capsys.readouterr().err
    assert run("verify", made.state, "--source", made.clip, *made.here) == 2
    assert "there is nothing to compare with" in capsys.readouterr().err
