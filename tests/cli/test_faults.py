"""Faults on purpose, in real processes: signals, full and read-only disks, little memory, odd consoles."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from dreammotion_core import read_frames, write_video
from dreammotion_core.errors import OutputError
from dreammotion_core.media.frames import UNFINISHED, write_png_folder
from tests.serving import ROOT
from tests.tiny import moving_square, save_tiny_unet3d

PATIENCE = 200.0  # Seconds, on a loaded machine.


class Command:
    """One edit of a small clip, by a process of its own."""

    def __init__(self, folder: Path, place: Path) -> None:
        self.clip, self.model, self.place = folder / "clip.mp4", folder / "model", place
        self.out, self.frames = place / "out.mp4", place / "frames"

    def words(self, *more: str, model: Path | None = None) -> list[str]:
        prompts = [
            "--source-prompt",
            "a red car",
            "--target-prompt",
            "a blue car",
            "--click",
            "12,24",
            "--seed",
            "1",
        ]
        options = ["--model", str(model or self.model), "--device", "cpu", "--segmenter", "embedded"]
        out = [] if "--out" in more else ["--out", str(self.out)]
        head = [sys.executable, "-m", "dreammotion_core", "edit", str(self.clip)]
        return [*head, *prompts, *options, "--steps", "2", *out, *more]

    def run(self, *more: str, before: Callable[[], None] | None = None, **options: Any) -> tuple[int, str]:
        done = subprocess.run(
            self.words(*more, model=options.pop("model", None)),
            cwd=ROOT,
            env=os.environ | options.pop("env", {}),
            capture_output=True,
            timeout=PATIENCE,
            preexec_fn=before,
            **options,
        )
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert "Traceback" not in said, said
        return done.returncode, said

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.place)) for path in self.place.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("faults")
    write_video(moving_square(num_frames=4, size=(64, 64))[0], place / "clip.mp4")
    save_tiny_unet3d(place / "model")
    return place


@pytest.fixture
def command(folder: Path, tmp_path: Path) -> Command:
    return Command(folder, tmp_path)


def test_a_model_that_gives_not_a_number_is_code_2_and_no_picture(command: Command, tmp_path: Path) -> None:
    model = tmp_path / "nan"
    shutil.copytree(command.model, model)
    file = model / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    bad = {
        n: torch.full_like(w, float("nan")) if n.startswith("decoder.conv_out") else w
        for n, w in weights.items()
    }
    save_file(bad, file)

    code, said = command.run("--frames-dir", str(command.frames), model=model)

    assert code == 2
    assert "not a number" in said
    assert "wider precision" in said
    assert [name for name in command.left() if not name.startswith("nan/")] == []


@pytest.mark.long
def test_a_full_disk_leaves_nothing_half_written(command: Command) -> None:
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    code, said = command.run("--preview-interval", "0", before=full)

    assert code == 1
    assert "could not be written" in said
    assert command.left() == []


@pytest.mark.parametrize("option", ["--out", "--receipt", "--frames-dir"])
def test_a_place_that_cannot_be_written_is_told_before_any_work(command: Command, option: str) -> None:
    place = {
        "--out": "/proc/none/out.mp4",
        "--receipt": "/proc/none/out.json",
        "--frames-dir": "/proc/none/f",
    }

    began = time.monotonic()
    code, said = command.run(option, place[option])

    assert code == 1
    assert "/proc" in said
    assert command.left() == []
    assert time.monotonic() - began < PATIENCE / 2


@pytest.mark.long
def test_little_memory_is_told_with_advice(command: Command) -> None:
    def little() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))

    code, said = command.run(before=little)

    assert (code, command.left()) == (0, ["out.json", "out.mp4"]) or "memory" in said


@pytest.mark.long
def test_a_console_that_cannot_encode_costs_nothing(command: Command) -> None:
    out = command.place / "größer.mp4"

    code, _ = command.run(
        "--out", str(out), env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    )

    assert code == 0
    assert out.stat().st_size > 0


@pytest.mark.long
@pytest.mark.parametrize("moment", [0.2, 2.0, 6.0, 10.0, 14.0])
def test_a_killed_edit_leaves_no_result_that_passes_for_whole(command: Command, moment: float) -> None:
    process = subprocess.Popen(
        command.words("--frames-dir", str(command.frames), "--steps", "20"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        shutil.rmtree(command.place / "kept", ignore_errors=True)
        assert command.run("--frames-dir", str(command.frames))[0] == 0

    assert {"out.mp4", "out.json"} <= set(command.left())
    assert len(read_frames(command.frames).frames) == 4


def killed_while_writing(folder: Path, count: int) -> None:
    """A process that dies after some pictures, as by SIGKILL or a power cut."""
    code = (
        "import os, sys; from PIL import Image\n"
        "from dreammotion_core.media.frames import write_png_folder\n"
        "def pictures():\n"
        "    for _ in range(int(sys.argv[2])):\n"
        "        yield Image.new('RGB', (16, 16))\n"
        "    os.kill(os.getpid(), 9)\n"
        "write_png_folder(pictures(), sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(count)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


def pictures(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (16, 16), "red") for _ in range(count)]


def test_the_same_command_goes_on_where_frames_were_killed(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    killed_while_writing(folder, 3)
    assert (folder / UNFINISHED).exists()

    write_png_folder(pictures(2), folder)

    assert sorted(path.name for path in folder.iterdir()) == ["00000.png", "00001.png"]


def test_what_is_not_ours_or_still_written_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    killed_while_writing(folder, 1)
    (folder / "holiday.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty"):
        write_png_folder(pictures(2), folder)
    (folder / "holiday.txt").unlink()
    (folder / UNFINISHED).write_text(str(os.getpid()))
    with pytest.raises(OutputError, match="is not empty"):
        write_png_folder(pictures(2), folder)
    assert (folder / "00000.png").exists()
