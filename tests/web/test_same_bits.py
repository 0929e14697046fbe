"""docs/same-bits.md, line by line: what changes the bits of an edit, and what does not."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dreammotion_core import (
    DiskSourceCache,
    DreamMotionPipeline,
    EditConfig,
    EditOutput,
    LoadOptions,
    MemorySourceCache,
    build_receipt,
    read_clip,
)
from dreammotion_core.cli import main
from segmentation import Click, Prompt, Selection, Tracks, load_segmenter
from tests.serving import ROOT
from tests.tiny import moving_square, save_tiny_unet3d
from tests.web.pages import ON_SQUARE, PROMPTS, Page, form
from web import Example, LazyEditor

CONFIG = EditConfig(num_optimization_steps=3, preview_interval=1, seed=7, learning_rate=0.2)
VIDEO, MASK = moving_square(num_frames=4, size=(32, 32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_unet3d(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def pipe(folder: Path) -> DreamMotionPipeline:
    return DreamMotionPipeline.from_pretrained(str(folder), device="cpu")


def edit(pipe: DreamMotionPipeline, config: EditConfig = CONFIG) -> EditOutput:
    return pipe(VIDEO, **PROMPTS, mask=MASK, config=config)


def bits(output: EditOutput) -> str:
    return hashlib.sha256(output.frames.tobytes()).hexdigest()


def loaded(folder: Path, options: LoadOptions | None = None) -> DreamMotionPipeline:
    return DreamMotionPipeline.from_pretrained(str(folder), options=options, device="cpu")


def told(output: EditOutput) -> dict[str, Any]:
    """What the receipt says of the machine and the model."""
    request: dict[str, Any] = build_receipt(output)["record"]["request"]
    return request["machine"] | request["model"]


@pytest.fixture(scope="module")
def usual(pipe: DreamMotionPipeline) -> str:
    return bits(edit(pipe))


def test_twice_in_a_process(pipe: DreamMotionPipeline, usual: str) -> None:
    assert bits(edit(pipe)) == usual


def test_another_process(folder: Path, usual: str) -> None:
    code = (
        "import sys, torch; torch.set_num_threads(int(sys.argv[2]))\n"
        "from dreammotion_core import DreamMotionPipeline\n"
        "from tests.web.test_same_bits import bits, edit\n"
        "print(bits(edit(DreamMotionPipeline.from_pretrained(sys.argv[1], device='cpu'))))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(folder), str(torch.get_num_threads())]

    changed = os.environ | {"PYTHONHASHSEED": "5"}
    done = subprocess.run(command, cwd=ROOT, env=changed, capture_output=True, text=True)

    assert done.stdout.split()[-1:] == [usual], done.stderr[-2000:]


@pytest.mark.parametrize("interval", [0, 2])
def test_previews(pipe: DreamMotionPipeline, usual: str, interval: int) -> None:
    assert bits(edit(pipe, CONFIG.with_changes(preview_interval=interval))) == usual


def test_caches(folder: Path, usual: str, tmp_path: Path) -> None:
    for cache in (MemorySourceCache(), DiskSourceCache(tmp_path)):
        cached = DreamMotionPipeline.from_pretrained(str(folder), device="cpu", source_cache=cache)

        assert [bits(edit(cached)) for _ in range(2)] == [usual, usual]


def test_saved_memory(folder: Path, usual: str) -> None:
    for options in (LoadOptions(gradient_checkpointing=True), LoadOptions(offload="model")):
        assert bits(edit(loaded(folder, options))) == usual, options


def test_settings_through_json(pipe: DreamMotionPipeline, usual: str) -> None:
    receipt = json.loads(json.dumps(build_receipt(edit(pipe))))

    assert receipt["result"]["frames_sha256"] == usual
    assert bits(edit(pipe, EditConfig.from_dict(receipt["settings"]))) == usual


class Ways:
    """One edit of the example by library, command line and page: hashes of the frames and of the MP4."""

    def __init__(self, folder: Path, example: Example, place: Path) -> None:
        pipe = DreamMotionPipeline.from_pretrained(str(folder), device="cpu")
        steps = {"num_optimization_steps": 3, "seed": 7}
        video = read_clip(example.path, spec=pipe.spec)
        tracks = Tracks(load_segmenter().open(video.frames), video.frames)
        click = Click(ON_SQUARE["x"], ON_SQUARE["y"], True)
        project = tracks.new_project().add_object(number=1).with_prompt(1, Prompt(Selection(clicks=(click,))))
        for _ in tracks.update(project):
            pass
        masks = [tracks.mask(project, number=1, frame_index=index) for index in range(len(video))]
        config = pipe.spec.config("fast", **steps)
        self.library = bits(pipe(video, **PROMPTS, mask=np.stack(masks), config=config))

        out = place / "edit.mp4"
        words = [f"--{name.replace('_', '-')}={text}" for name, text in PROMPTS.items()]
        point = f"--click={ON_SQUARE['x']},{ON_SQUARE['y']}"
        flags = ["--preset=fast", "--seed=7", "--steps=3", "--segmenter=embedded", "--device=cpu"]
        assert (
            main(["edit", str(example.path), *words, point, *flags, f"--model={folder}", f"--out={out}"]) == 0
        )
        self.command_line = json.loads(out.with_suffix(".json").read_text())
        self.page = self._on_page(LazyEditor(str(folder)), example)

    def _on_page(self, editor: LazyEditor, example: Example) -> dict[str, Any]:
        page = Page(editor, [example])
        token = page.arrive()
        page.click(token)
        shown = editor.spec.config("fast", num_optimization_steps=3, seed=7)
        changes = {"learning_rate": shown.learning_rate, "preview_interval": shown.preview_interval}
        for update in page.edits.run(token=token, **PROMPTS, **form(**changes)):
            if "receipt" in update and update["receipt"].value:
                found: dict[str, Any] = json.loads(Path(update["receipt"].value["path"]).read_text())
        return found


@pytest.fixture(scope="module")
def ways(folder: Path, example: Example, tmp_path_factory: pytest.TempPathFactory) -> Ways:
    return Ways(folder, example, tmp_path_factory.mktemp("ways"))


def test_all_ways(ways: Ways) -> None:
    assert ways.command_line["settings"] == ways.page["settings"] | {
        "preview_interval": ways.command_line["settings"]["preview_interval"]
    }
    assert ways.command_line["mask"]["sha256"] == ways.page["mask"]["sha256"]
    found = {receipt["result"]["frames_sha256"] for receipt in (ways.command_line, ways.page)}
    assert found == {ways.library}


def test_other_seeds(pipe: DreamMotionPipeline, usual: str) -> None:
    assert bits(edit(pipe, CONFIG.with_changes(seed=8))) != usual


def test_other_precisions(folder: Path, usual: str) -> None:
    (own,) = {"bfloat16", "float32"} - {told(edit(loaded(folder)))["precision"]}
    other = edit(loaded(folder, LoadOptions(torch_dtype=getattr(torch, own))))

    assert bits(other) != usual
    assert told(other)["precision"] == own


def test_autoencoder_in_slices(folder: Path, usual: str) -> None:
    whole = edit(loaded(folder, LoadOptions(vae_slicing=False)))

    assert bits(whole) != usual


def test_other_weights_have_another_digest(folder: Path, pipe: DreamMotionPipeline) -> None:
    other = DreamMotionPipeline.from_pretrained(str(folder), device="cpu")
    with torch.no_grad():
        next(other.backend.denoiser.parameters()).add_(0.01)

    own, others = (told(edit(each))["weights"] for each in (pipe, other))

    assert own != others


def test_threads_and_device_are_in_the_receipt(pipe: DreamMotionPipeline) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        found = told(edit(pipe))
    finally:
        torch.set_num_threads(before)

    assert (found["threads"], found["device"]) == (before + 1, "cpu")
    assert told(edit(pipe))["threads"] == before


def test_every_line_of_the_page_has_its_test() -> None:
    page = (ROOT / "docs" / "same-bits.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))

    assert named == {name for name in globals() if name.startswith("test_")} - {
        "test_every_line_of_the_page_has_its_test"
    }
