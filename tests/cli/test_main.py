"""The command line does what the page does, says it in one sentence, and leaves nothing half-done."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import tracemalloc
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dreammotion_core import (
    EditConfig,
    Notice,
    StateFolder,
    Video,
    list_models,
    read_frames,
    read_video,
    write_frames,
    write_video,
)
from dreammotion_core.cli.main import main
from dreammotion_core.cli.selecting import FollowedObject
from dreammotion_core.finishing import grown_mask
from dreammotion_core.media import frames
from dreammotion_core.media.frames import kept_fps
from dreammotion_core.media.masks import read_masks, write_masks
from dreammotion_core.method.editing import EditState
from segmentation import Prompt, Tracks, list_segmenters, load_segmenter
from tests.tiny import moving_square, save_tiny_unet3d

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ("--source-prompt", "a red car", "--target-prompt", "a blue car")
SIZE = (64, 96)
PATIENCE = 200.0
"""Seconds that a program may be silent; the machine may be busy with other tests."""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_unet3d(tmp_path_factory.mktemp("model"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Six frames at the tiny model's own rate."""
    video, _ = moving_square(6, SIZE)
    return write_video(video, tmp_path / "clip.mp4")


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """The masks of its first three frames, which is what the tiny model edits unless told otherwise."""
    _, mask = moving_square(6, SIZE)
    write_masks(mask[:3], tmp_path / "masks")
    return tmp_path / "masks"


def edit_arguments(clip: Path, model: Path, out: Path, *more: object) -> list[str]:
    words = ("edit", clip, *PROMPTS, "--model", model, "--device", "cpu", "--steps", 2, "--out", out)
    return [str(word) for word in (*words, *more)]


# --- edit -----------------------------------------------------------------------------------------


def test_edit_writes_clip_frames_and_receipt(
    clip: Path, model: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, frames = tmp_path / "new" / "out.mp4", tmp_path / "frames"

    code = main(edit_arguments(clip, model, out, "--mask", masks, "--seed", 5, "--frames-dir", frames))

    assert code == 0
    assert read_video(out).frames.shape == (3, *SIZE, 3)
    receipt = json.loads(out.with_suffix(".json").read_text())
    assert (receipt["seed"], receipt["settings"]["num_optimization_steps"]) == (5, 2)
    assert receipt["source"]["name"] == "clip.mp4"
    assert "unchanged" in capsys.readouterr().out
    source = read_video(clip, max_frames=3).frames
    outside = ~grown_mask(read_masks(masks, num_frames=3, size=SIZE).masks, pixels=EditConfig.mask_edge)
    assert np.array_equal(read_frames(frames, fps=8.0).frames[outside], source[outside])
    assert kept_fps(frames) == read_video(clip).fps


def test_edit_repeats_with_its_seed(clip: Path, model: Path, masks: Path, tmp_path: Path) -> None:
    results = []
    for name in ("one", "two"):
        folder = tmp_path / name
        arguments = edit_arguments(clip, model, tmp_path / f"{name}.mp4", "--mask", masks, "--seed", 3)
        assert main([*arguments, "--frames-dir", str(folder)]) == 0
        results.append(read_frames(folder, fps=8.0).frames)

    assert np.array_equal(results[0], results[1])


def test_mask_video_edits_the_same_as_its_folder(
    clip: Path, model: Path, masks: Path, tmp_path: Path
) -> None:
    results = []
    same = read_masks(masks, num_frames=3, size=SIZE).masks
    for place in (masks, write_masks(same, tmp_path / "masks.mp4")):
        folder = tmp_path / f"frames-{place.name}"
        words = ("--mask", place, "--seed", 3, "--steps", 1, "--frames-dir", folder)
        assert main(edit_arguments(clip, model, tmp_path / "out.mp4", *words)) == 0
        results.append(read_frames(folder, fps=8.0).frames)

    assert np.array_equal(results[0], results[1])


def test_models_that_suit_the_gpu_are_listed_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = SimpleNamespace(device=SimpleNamespace(value="cuda"))
    module = import_module("dreammotion_core.cli.main")
    monkeypatch.setattr(module, "find_surroundings", lambda *_, **__: found)
    monkeypatch.setattr(module, "usable_memory", lambda _: 24 * 10**9)

    assert main(["models"]) == 0

    listed = capsys.readouterr().out
    order = [name for name in re.findall(r"^  (\S+)  \[", listed, re.MULTILINE)]
    assert order.index("cogvideox-2b") < order.index("zeroscope") < order.index("wan-14b")


def test_one_of_several_objects_is_edited(
    clip: Path, model: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    square = read_masks(masks, num_frames=3, size=SIZE).masks
    numbers = np.full(square.shape, 4, np.uint8)
    numbers[square] = 9
    numbers[:, :4] = 0
    write_masks(numbers, tmp_path / "objects.zip")
    arguments = edit_arguments(clip, model, tmp_path / "out.mp4", "--mask", tmp_path / "objects.zip")

    code, said = failure(arguments, capsys)
    assert code == 2
    assert "the objects 4 and 9; choose one by its number (--object" in said
    assert main([*arguments, "--object", "9", "--steps", "1", "--mask-edge", "0"]) == 0

    receipt = json.loads((tmp_path / "out.json").read_text())
    assert receipt["mask"]["share"] == pytest.approx(square.mean(), abs=1e-4)


def test_objects_are_edited_by_prompts_of_their_own_in_one_run(
    clip: Path, model: Path, tmp_path: Path
) -> None:
    numbers = np.zeros((3, *SIZE), np.uint8)
    numbers[:, 10:30, 10:30], numbers[:, 10:30, 30:50] = 3, 7  # they touch
    write_masks(numbers, tmp_path / "both")
    words = ["--mask", tmp_path / "both", "--object", 7, "--object", 3, "--seed", 1]

    # The prompt of `edit_arguments` is that of object 7.
    words += ["--target-prompt", "a red ball", "--frames-dir", tmp_path / "frames"]
    assert main(edit_arguments(clip, model, tmp_path / "out.mp4", *words)) == 0

    source, edit = read_video(clip, max_frames=3).frames, read_frames(tmp_path / "frames", fps=8.0).frames
    for number in (3, 7):
        assert (source[numbers == number] != edit[numbers == number]).any()
    # One of the objects becomes another thing, so both grow by 2 pixels.
    outside = ~grown_mask(numbers > 0, pixels=2 + EditConfig.mask_edge)
    assert np.array_equal(source[outside], edit[outside])
    receipt = json.loads((tmp_path / "out.json").read_text())
    assert receipt["target_prompt"] == "a blue car; a red ball"


def test_greys_of_a_mask_are_divided_and_it_is_said(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.tile(np.arange(96, dtype=np.uint8) * 2, (64, 1))).save(tmp_path / "soft.png")
    words = ("--mask", tmp_path / "soft.png", "--steps", 1, "--mask-edge", 0)

    assert main(edit_arguments(clip, model, tmp_path / "out.mp4", *words)) == 0

    assert "Note: The mask holds greys; from 128 of 255" in capsys.readouterr().err
    assert json.loads((tmp_path / "out.json").read_text())["mask"]["share"] == pytest.approx(1 / 3, abs=1e-4)


def test_every_setting_reaches_the_edit(clip: Path, model: Path, masks: Path, tmp_path: Path) -> None:
    settings = {
        "--preset": "fast",
        "--optimizer": "adam",
        "--learning-rate": "0.05",
        "--learning-rate-end-factor": "0.5",
        "--guidance-scale": "3",
        "--timestep-range": "100 200",
        "--timestep-order": "descending",
        "--appearance-weight": "2",
        "--spatial-weight": "0",
        "--temporal-weight": "0.5",
        "--no-mask-matching": "",
        "--mask-grow": "1",
        "--mask-edge": "3",
        "--mask-feather": "0",
        "--colour-smoothing": "0",
        "--negative-prompt": "road",
        "--preview-interval": "0",
        "--window": "3",
        "--overlap": "1",
        "--seed": "9",
    }
    words = [word for flag, value in settings.items() for word in (flag, *value.split())]

    code = main(edit_arguments(clip, model, tmp_path / "out.mp4", "--mask", masks, *words))

    assert code == 0
    expected = EditConfig(
        num_optimization_steps=2,
        optimizer="adam",
        learning_rate=0.05,
        learning_rate_end_factor=0.5,
        guidance_scale=3.0,
        timestep_range=(100, 200),
        timestep_order="descending",
        appearance_weight=2.0,
        spatial_weight=0.0,
        temporal_weight=0.5,
        mask_matching=False,
        mask_grow=1,
        mask_edge=3,
        mask_feather=0,
        colour_smoothing=0.0,
        negative_prompt="road",
        preview_interval=0,
        window=3,
        overlap=1,
        seed=9,
    )
    receipt = json.loads((tmp_path / "out.json").read_text())
    assert EditConfig.from_dict(receipt["settings"]) == expected


@pytest.mark.parametrize(
    ("target", "given", "preset", "grow", "said"),
    [
        ("a blue car, road", (), "keep-shape", 0, "only the look changes: red to blue"),
        ("a red bus, road", (), "fast", 2, "changes: car to bus. The selection grows by 2 pixels"),
        ("a red bus, road", ("--mask-grow", 5), "fast", 5, "changes: car to bus."),
        ("a red bus, road", ("--preset", "keep-shape"), "keep-shape", 0, ""),
    ],
)
def test_the_words_choose_the_preset_and_the_receipt_says_so(
    clip: Path,
    model: Path,
    masks: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    given: tuple[object, ...],
    preset: str,
    grow: int,
    said: str,
) -> None:
    words = ("--mask", masks, "--source-prompt", "a red car, road", "--target-prompt", target, *given)

    assert main(edit_arguments(clip, model, tmp_path / "out.mp4", *words, "--steps", 1)) == 0

    receipt = json.loads((tmp_path / "out.json").read_text())
    expected = EditConfig.preset(preset, num_optimization_steps=1, mask_grow=grow, seed=receipt["seed"])
    assert EditConfig.from_dict(receipt["settings"]) == expected
    assert said in capsys.readouterr().err
    assert said in receipt["preset"]["reason"]
    assert receipt["preset"]["asked"] == (given[1] if "--preset" in given else "auto")


def test_edit_of_a_range_and_of_a_folder_of_frames(model: Path, tmp_path: Path) -> None:
    video, mask = moving_square(6, SIZE)
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(video.frames):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{index}.png")
    write_masks(mask[2:6], tmp_path / "masks")
    span = ("--start-frame", 2, "--num-frames", 4, "--fps", 12, "--mask", tmp_path / "masks")

    code = main(edit_arguments(tmp_path / "frames", model, tmp_path / "out.mp4", *span))

    assert code == 0
    edited = read_video(tmp_path / "out.mp4")
    assert (len(edited), edited.fps) == (4, 12.0)


@pytest.mark.parametrize(
    ("more", "kept", "fps"), [((), 8.0, 8.0), ((), None, 24.0), (("--fps", 12), None, 12.0)]
)
def test_a_folder_of_frames_is_edited_at_the_rate_that_it_keeps(
    model: Path, tmp_path: Path, more: tuple[object, ...], kept: float | None, fps: float
) -> None:
    write_frames(moving_square(3, SIZE)[0].frames, tmp_path / "frames", fps=kept)
    words = ("--no-mask", "--steps", 1, *more)

    assert main(edit_arguments(tmp_path / "frames", model, tmp_path / "out.mp4", *words)) == 0

    assert read_video(tmp_path / "out.mp4").fps == fps


def test_a_rate_that_a_folder_does_not_have_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frames(moving_square(3, SIZE)[0].frames, tmp_path / "frames", fps=8.0)
    words = ("--no-mask", "--fps", 4)

    code, said = failure(edit_arguments(tmp_path / "frames", model, tmp_path / "out.mp4", *words), capsys)

    assert code == 2
    assert "4 frames a second are asked for; the frames in" in said


def test_masks_of_a_folder_of_frames_are_as_fast_as_it(tmp_path: Path) -> None:
    write_frames(moving_square(3, SIZE)[0].frames, tmp_path / "frames", fps=8.0)
    words = ("--box", "1,14,37,34", "--out", tmp_path / "masks.mp4", "--device", "cpu")

    assert main([str(word) for word in ("segment", tmp_path / "frames", *words)]) == 0

    assert read_video(tmp_path / "masks.mp4").fps == 8.0


@pytest.mark.parametrize(("pixels", "words"), [(4, "grown by 4 pixels"), (-3, "shrunk by 3 pixels")])
def test_an_edit_in_a_grown_mask_is_measured_in_it(
    clip: Path,
    model: Path,
    masks: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    pixels: int,
    words: str,
) -> None:
    frames, figures, grow = tmp_path / "frames", tmp_path / "figures.json", ("--mask-grow", str(pixels))
    given = ("--mask", masks, "--colour-smoothing", 0, "--mask-feather", 0, "--frames-dir", frames)
    measure = ["metrics", clip, frames, "--mask", masks, "--edited-mask", masks, "--json", figures]
    measure += ["--judge", "none", "--metrics", "background_difference", "mask_overlap"]

    def outside(*more: str) -> float:
        assert main([*map(str, measure), *more]) == 0
        background, overlap = json.loads(figures.read_text())
        assert overlap["value"] == 1.0
        return float(background["value"])

    assert main([*edit_arguments(clip, model, tmp_path / "out.mp4", *given), *grow]) == 0
    assert f"outside the mask, {words}, and its edge of 2: unchanged" in capsys.readouterr().out
    assert outside(*grow) == 0.0
    assert (outside() > 0) == (pixels > 0)
    assert ("Give the same --mask-grow" in capsys.readouterr().err) == (pixels > 0)


def test_edit_of_the_whole_frame(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(edit_arguments(clip, model, tmp_path / "out.mp4", "--no-mask")) == 0

    assert "the whole frame was edited" in capsys.readouterr().out


def test_edit_of_a_clicked_object(clip: Path, model: Path, tmp_path: Path) -> None:
    _, mask = moving_square(6, SIZE)
    y, x = (int(np.median(axis)) for axis in np.nonzero(mask[0]))

    code = main(edit_arguments(clip, model, tmp_path / "out.mp4", "--click", f"{x},{y}", "--mask-edge", 0))

    assert code == 0
    receipt = json.loads((tmp_path / "out.json").read_text())
    (prompt,) = receipt["selection"]["objects"][0]["prompts"]
    assert prompt["clicks"] == [{"x": x, "y": y, "is_positive": True}]
    assert receipt["segmenter"] == "embedded"
    assert receipt["mask"]["share"] == pytest.approx(mask[0].mean(), rel=0.3)


def test_preflight_says_what_an_edit_takes_and_writes_nothing(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    words = ("preflight", clip, "--model", model, "--device", "cpu", "--num-frames", 6, "--steps", 30)

    assert main([str(word) for word in words]) == 0

    said = capsys.readouterr()
    assert said.out.startswith("It fits: at most ")
    assert "30 steps of" in said.out
    assert re.search(r"2 frames at \d+x\d+: fits\n6 frames at \d+x\d+: fits\n", said.err)
    assert sorted(tmp_path.iterdir()) == before


# --- segment and models ---------------------------------------------------------------------------


def test_segment_writes_one_black_and_white_mask_a_frame(clip: Path, tmp_path: Path) -> None:
    _, truth = moving_square(6, SIZE)
    rows, columns = np.nonzero(truth[0])
    box = f"{columns.min() - 2},{rows.min() - 2},{columns.max() + 3},{rows.max() + 3}"

    code = main(["segment", str(clip), "--box", box, "--out", str(tmp_path / "masks"), "--device", "cpu"])

    assert code == 0
    masks = read_masks(tmp_path / "masks", num_frames=6, size=SIZE).masks
    assert masks.shape == truth.shape
    assert (masks & truth).sum() / (masks | truth).sum() > 0.7
    assert set(np.unique(np.asarray(Image.open(tmp_path / "masks" / "00000.png")))) == {0, 255}


@pytest.fixture
def stopped_at_a_third_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl+C while a folder of pictures is written."""
    written: list[Path] = []
    really = frames.written_atomically

    def interrupted(path: Path) -> AbstractContextManager[Path]:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        return really(path)

    monkeypatch.setattr(frames, "written_atomically", interrupted)


@pytest.mark.usefixtures("stopped_at_a_third_picture")
@pytest.mark.parametrize("is_there", [True, False])
def test_segment_that_is_stopped_while_writing_leaves_the_folder_as_it_was(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], is_there: bool
) -> None:
    out = tmp_path / "masks"
    if is_there:
        out.mkdir()

    assert main(["segment", str(clip), "--click", "9,20", "--out", str(out), "--device", "cpu"]) == 130

    assert "Stopped. Nothing is left half-written." in capsys.readouterr().err
    assert out.exists() == is_there
    assert not is_there or not list(out.iterdir())


@pytest.mark.usefixtures("stopped_at_a_third_picture")
def test_edit_that_is_stopped_while_writing_frames_claims_nothing_untrue(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = tmp_path / "frames"
    words = ("--no-mask", "--steps", 1, "--frames-dir", frames)

    assert main(edit_arguments(clip, model, tmp_path / "out.mp4", *words)) == 130

    assert len(read_video(tmp_path / "out.mp4")) == 3
    assert not frames.exists()
    assert "Nothing was written" not in capsys.readouterr().err


def test_nothing_is_followed_into_another_scene_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, _ = moving_square(3, SIZE)
    mirrored = 255 - video.frames[:, ::-1, ::-1]
    path = write_video(Video(np.concatenate([video.frames, mirrored]), 8.0), tmp_path / "cut.mp4")

    code = main(["segment", str(path), "--click", "9,20", "--out", str(tmp_path / "m"), "--device", "cpu"])

    assert code == 0
    said = capsys.readouterr().err
    assert "Note: nothing is followed over a scene cut: frames 3 to 5 show other scenes" in said
    assert "--click X,Y@3" in said
    assert "not found" not in said
    found = read_masks(tmp_path / "m", num_frames=6, size=SIZE).masks.any(axis=(1, 2))
    assert found.tolist() == [True, True, True, False, False, False]

    both = ["--click", "9,20", "--click", "76,40@4", "--out", str(tmp_path / "both"), "--device", "cpu"]
    assert main(["segment", str(path), *both]) == 0
    assert "scene cut" not in capsys.readouterr().err
    assert read_masks(tmp_path / "both", num_frames=6, size=SIZE).masks.any(axis=(1, 2)).all()


def test_objects_are_pointed_at_on_several_frames(clip: Path, model: Path, tmp_path: Path) -> None:
    words = ("--box", "1,14,37,34@0", "--click", "20,24@2", "--negative-click", "90,60@2", "--steps", 1)

    assert main(edit_arguments(clip, model, tmp_path / "out.mp4", *words)) == 0

    receipt = json.loads((tmp_path / "out.json").read_text())
    first, second = receipt["selection"]["objects"][0]["prompts"]
    assert (first["frame_index"], first["box"]["x1"], first["clicks"]) == (0, 37, [])
    assert second["frame_index"] == 2
    assert [click["is_positive"] for click in second["clicks"]] == [True, False]


def test_a_followed_object_is_written_without_a_clip_of_masks_in_memory(tmp_path: Path) -> None:
    video, mask = moving_square(40, (480, 640))
    tracks = Tracks(load_segmenter().open(video.frames), video.frames)
    project = tracks.new_project().add_object()
    for index, frame in enumerate(mask):
        project = project.with_prompt(1, Prompt.of_mask(index, frame))
    followed = FollowedObject(tracks, project, segmenter="embedded")

    tracemalloc.start()
    write_masks(followed.stream(), tmp_path / "m.zip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < mask.nbytes / 2
    assert followed.coverage == pytest.approx(mask.mean())
    assert np.array_equal(read_masks(tmp_path / "m.zip", num_frames=40, size=(480, 640)).masks, mask)


@pytest.mark.parametrize("name", ["masks.zip", "masks.npz", "masks.mp4"])
def test_segment_writes_the_kind_of_file_that_its_name_asks_for(
    clip: Path, tmp_path: Path, name: str
) -> None:
    for place in ("folder", name):
        words = ("--box", "1,14,37,34", "--out", str(tmp_path / place), "--device", "cpu")
        assert main(["segment", str(clip), *words]) == 0

    one, two = (read_masks(tmp_path / each, num_frames=6, size=SIZE).masks for each in ("folder", name))
    assert np.array_equal(one, two)


def test_segment_refuses_a_kind_of_file_that_holds_no_masks(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = failure(["segment", str(clip), "--click", "9,20", "--out", str(tmp_path / "m.avi")], capsys)

    assert code == 2
    assert "m.avi ends in .avi; choose the name of a folder, or one that ends in .zip, .npz or .mp4" in said


def test_models_lists_every_model_and_segmenter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0

    listed = capsys.readouterr().out
    for spec in (*list_models(), *list_segmenters()):
        for fact in (spec.name, spec.licence, spec.source, spec.description):
            assert fact in listed
    assert "[ready]" in listed
    assert "GB of memory for 16 frames at 576x320; " in listed


@pytest.mark.parametrize(
    "command",
    [[], ["edit"], ["preflight"], ["segment"], ["metrics"], ["ablate"], ["models"]],
)
def test_help_fits_a_terminal_and_exits_with_zero(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")

    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])

    assert stopped.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


# --- bad input ------------------------------------------------------------------------------------


def failure(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and message, which must be one line without a traceback."""
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Note:")]
    assert len(lines) == 1, lines
    return code, lines[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "0"], "num_optimization_steps is 0"),
        (["--steps", "1000000"], "num_optimization_steps is 1000000"),
        (["--seed", "seven"], "invalid int value: 'seven'"),
        (["--learning-rate", "nan"], "learning_rate is nan"),
        (["--preset", "slow"], "invalid choice: 'slow'"),
        (["--window", "7"], "sees at most 6 frames at once"),
        (["--num-frames", "0"], "max_frames is 0"),
        (["--start-frame", "77"], "start_frame is 77"),
        (["--fps", "0"], "fps is 0"),
        (["--target-prompt", " "], "target prompt is empty"),
        (["--target-prompt", "a red car"], "both prompts are the same"),
        (["--target-prompt", "x" * 5000], "5,000 characters"),
        (["--click", "3"], "'3' is not of the form X,Y"),
        (["--click", "3,4@x"], "'3,4@x' is not of the form X,Y, in pixels, or X,Y@N"),
        (["--click", "5,5"], "more than one option says where to edit"),
        (["--object", "2"], "holds no object 2, only object 255"),
        (["--object", "1", "--object", "2"], "--object was given 2 times (1, 2) and --target-prompt 1 times"),
        (["--mask", "masks.rar"], "there is no masks.rar; pass a folder of PNG files"),
        (["--out", "out.avi"], "ends in .mp4"),
        (["--model", "nonsense"], "no model 'nonsense'"),
        (["--continue-anyway"], "name its folder with --state"),
        (["--wat"], "--wat"),
    ],
)
def test_bad_option_is_refused_in_one_sentence(
    clip: Path,
    model: Path,
    masks: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    before = sorted(tmp_path.iterdir())

    code, said = failure(
        [*edit_arguments(clip, model, tmp_path / "out.mp4", "--mask", masks), *words], capsys
    )

    assert code == (1 if "--model" in words else 2)
    assert message in said
    assert sorted(tmp_path.iterdir()) == before


def test_edit_without_saying_where_is_refused(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = failure(edit_arguments(clip, model, tmp_path / "out.mp4"), capsys)

    assert code == 2
    assert "nothing says where to edit; give --click or --box" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--click", "500,5"], "outside the 96x64 frame"),
        (["--click", "9,20", "--click", "9,20@3"], "the clip has no frame 3"),
        (["--click", "9,20", "--click", "9,20@-1"], "the frame number is -1"),
        (["--box", "1,1,9,9@2", "--box", "2,2,9,9@2"], "frame 2 has two boxes"),
        (["--click", "9,20", "--negative-click", "5,5@1"], "nothing is selected"),
        (["--box", "9,9,2,2"], "has no area"),
        (["--negative-click", "5,5"], "nothing is selected"),
        (["--click", "5,5", "--object", "2"], "give the file with --mask"),
        (["--click", "5,5", "--segmenter", "magic"], "no segmenter 'magic'"),
    ],
)
def test_selection_that_cannot_be_used_is_refused(
    clip: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    code, said = failure([*edit_arguments(clip, model, tmp_path / "out.mp4"), *words], capsys)

    assert code == 2
    assert message in said


@pytest.mark.parametrize(
    ("shape", "message"),
    [((4, *SIZE), "4 frames but the clip has 3"), ((3, 8, 8), "8x8 pixels but the clip is 96x64")],
)
def test_mask_of_another_clip_is_refused(
    clip: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shape: tuple[int, int, int],
    message: str,
) -> None:
    write_masks(np.ones(shape, bool), tmp_path / "other")

    code, said = failure(
        edit_arguments(clip, model, tmp_path / "o.mp4", "--mask", tmp_path / "other"), capsys
    )

    assert code == 2
    assert message in said


def test_file_that_is_no_video_is_refused(
    model: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("not a video")

    code, said = failure(
        edit_arguments(tmp_path / "notes.txt", model, tmp_path / "out.mp4", "--mask", masks), capsys
    )

    assert code == 2
    assert "cannot be read as a video" in said


def test_half_downloaded_model_fails_with_one(
    clip: Path, model: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half"
    half.mkdir()
    for part in ("unet", "model_index.json"):
        (half / part).symlink_to(model / part)

    code, said = failure(edit_arguments(clip, half, tmp_path / "out.mp4", "--mask", masks), capsys)

    assert code == 1
    assert str(half) in said


def test_frames_folder_in_use_is_refused_before_any_work(
    clip: Path, model: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = tmp_path / "used"
    write_frames(read_video(clip).frames, used)
    words = ("--mask", masks, "--frames-dir", used)

    code, said = failure(edit_arguments(clip, model, tmp_path / "out.mp4", *words), capsys)

    assert code == 1
    assert "not empty" in said
    assert not (tmp_path / "out.mp4").exists()


SOME_EDIT = ("edit", "{clip}", *PROMPTS, "--model", "{nothing}")
SOME_METRICS = ("metrics", "{clip}", "{frames}", "--mask", "{mask}", "--edited-mask", "{other}")
SOME_BOARD = ("ablate", "{clip}", *PROMPTS, "--mask", "{mask}", "--model", "{nothing}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*SOME_EDIT, "--no-mask", "--out", "{clip}"), "--out {clip} would be written over the clip"),
        (
            (*SOME_EDIT, "--no-mask", "--out", "{link}"),
            "--out {link} would be written over the clip ({clip})",
        ),
        (
            (*SOME_EDIT, "--no-mask", "--out", "{twin}"),
            "--out {twin} would be written over the clip ({clip})",
        ),
        ((*SOME_EDIT, "--mask", "{mask}", "--out", "{mask}"), "would be written over --mask"),
        ((*SOME_EDIT, "--no-mask", "--out", "{new}", "--receipt", "{clip}"), "--receipt {clip} would be"),
        ((*SOME_EDIT, "--no-mask", "--out", "{new}", "--receipt", "{new}"), "in each other's way"),
        ((*SOME_EDIT, "--no-mask", "--out", "{dir}/a.mp4", "--frames-dir", "{dir}"), "in each other's way"),
        (
            ("edit", "{frames}", *PROMPTS, "--no-mask", "--out", "{new}", "--frames-dir", "{frames}"),
            "--frames-dir {frames} would be written over the clip",
        ),
        (("segment", "{clip}", "--click", "9,20", "--out", "{clip}"), "would be written over the clip"),
        (("segment", "{frames}", "--click", "9,20", "--out", "{frames}"), "would be written over the clip"),
        ((*SOME_METRICS, "--json", "{clip}"), "--json {clip} would be written over the clip"),
        ((*SOME_METRICS, "--json", "{frames}/00001.png"), "would be written over the edit"),
        ((*SOME_METRICS, "--json", "{other}"), "would be written over --edited-mask"),
        ((*SOME_EDIT, "--no-mask", "--out", "{new}", "--state", "{clip}"), "--state {clip} would be"),
        ((*SOME_BOARD, "--out", "{clip}"), "--out {clip} would be written over the clip"),
        ((*SOME_BOARD, "--out", "{mask}"), "would be written over --mask"),
    ],
)
def test_what_is_read_is_never_written_over(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    _, square = moving_square(6, SIZE)
    places = {name: tmp_path / name for name in ("clip", "nothing", "link", "twin", "dir", "frames")}
    places |= {"clip": clip, "new": tmp_path / "new.mp4"}
    places |= {name: write_masks(square, tmp_path / f"{name}.mp4") for name in ("mask", "other")}
    write_frames(read_video(clip).frames, places["frames"])
    places["link"] = tmp_path / "link.mp4"
    places["link"].symlink_to(clip)
    places["twin"] = tmp_path / "twin.mp4"
    places["twin"].hardlink_to(clip)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    code, said = failure([word.format(**places) for word in words], capsys)

    assert code == 2
    assert message.format(**places) in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# --- edits that are kept --------------------------------------------------------------------------


@pytest.fixture
def stopped_at_step_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C of an edit once it has kept its second step."""
    keep = StateFolder.keep

    def interrupted(folder: StateFolder, state: EditState, *, seconds: float) -> Notice | None:
        keep(folder, state, seconds=seconds)
        if state.step == 2:
            raise KeyboardInterrupt
        return None

    monkeypatch.setattr(StateFolder, "keep", interrupted)


def test_the_same_command_goes_on_to_the_same_frames(
    clip: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    words = ("--click", "9,20", "--seed", 5, "--steps", 4, "--preview-interval", 1)
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert main(edit_arguments(clip, model, tmp_path / "whole.mp4", *words, "--frames-dir", whole)) == 0
    kept = (*words, "--state", tmp_path / "state", "--frames-dir", resumed)
    command = edit_arguments(clip, model, tmp_path / "out.mp4", *kept)

    request.getfixturevalue("stopped_at_step_two")
    assert main(command) == 130
    assert f"as of step 1. The same command goes on from the step that {tmp_path / 'state'} holds" in (
        capsys.readouterr().err
    )
    request.getfixturevalue("monkeypatch").undo()
    assert main(command) == 0

    assert "goes on from step 2" in capsys.readouterr().err
    first, second = (read_frames(folder, fps=8.0).frames for folder in (whole, resumed))
    assert np.array_equal(first, second)
    asked = json.loads((tmp_path / "state" / "request.json").read_text())
    assert asked["origin"]["file"]["name"] == "clip.mp4"
    assert asked["origin"]["selection"]["objects"][0]["prompts"]
    codes = [notice["code"] for notice in json.loads((tmp_path / "out.json").read_text())["notices"]]
    assert "continued" in codes


def test_a_state_in_use_is_refused_before_any_work(
    clip: Path, model: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = edit_arguments(clip, model, tmp_path / "out.mp4", "--mask", masks, "--state", tmp_path / "state")

    with StateFolder(tmp_path / "state"):
        code, said = failure(words, capsys)

    assert code == 2
    assert "another process works on the edit" in said


# --- a terminal -----------------------------------------------------------------------------------


def listening() -> None:
    """Tests that run in the background are deaf to some signals, and so would be what they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_keeps_the_latest_preview_and_the_bar_shows_the_losses(
    clip: Path, model: Path, masks: Path, tmp_path: Path, ended_by: signal.Signals
) -> None:
    out = tmp_path / "out.mp4"
    words = edit_arguments(clip, model, out, "--mask", masks, "--steps", "10000", "--preview-interval", "1")
    terminal, stderr = pty.openpty()
    termios.tcsetwinsize(stderr, (24, 160))
    process = subprocess.Popen(
        [sys.executable, "-m", "dreammotion_core", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        preexec_fn=listening,
    )
    os.close(stderr)
    try:
        # Once a later step shows, the preview of the first has been delivered.
        said = _read_until(terminal, rb" ([2-9]|\d\d+)/10000")
        process.send_signal(ended_by)
        said += _read_until(terminal, rb"as of step \d+.*With --state DIR an edit is kept")
        code = process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)

    assert code == 130
    assert b"V-DDS" in said
    assert b"Traceback" not in said
    assert read_video(out).size == SIZE


def test_a_reader_that_has_enough_ends_a_command_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)

    command = [sys.executable, "-m", "dreammotion_core", "models"]
    ended = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)

    assert (ended.returncode, ended.stderr) == (141, b"")


def _read_until(terminal: int, pattern: bytes) -> bytes:
    said = b""
    while not re.search(pattern, said):
        ready, _, _ = select.select([terminal], [], [], PATIENCE)
        assert ready, said
        said += os.read(terminal, 4096)
    return said
