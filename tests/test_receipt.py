"""A receipt holds what it takes to repeat an edit, and never more than the user meant to share."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from dreammotion_core.config import EditConfig
from dreammotion_core.errors import OutputError, VideoError
from dreammotion_core.models.catalog import find_model
from dreammotion_core.receipt import build_receipt, describe_file, model_of, write_receipt
from dreammotion_core.values import EditOutput, Notice, StepLosses, Video


@pytest.fixture
def output() -> EditOutput:
    mask = np.zeros((2, 16, 16), bool)
    mask[:, :8] = True
    return EditOutput(
        video=Video(np.zeros((2, 16, 16, 3), np.uint8), fps=8.0, notices=(Notice("cut", "It was cut."),)),
        mask=mask,
        source_prompt="a red car",
        target_prompt="a blue car",
        config=EditConfig(seed=7, timestep_range=(100, 900), key_sites=("a", "b")),
        model="toybox",
        losses=(StepLosses(3.0, 0.5, 0.2), StepLosses(1.0, 0.3, 0.4)),
        seconds=1.23456,
        max_difference_outside=0,
    )


def test_receipt_is_plain_json_and_its_settings_repeat_the_edit(output: EditOutput) -> None:
    receipt = json.loads(json.dumps(build_receipt(output), allow_nan=False))

    assert EditConfig.from_dict(receipt["settings"]) == output.config
    assert receipt["seed"] == 7
    assert (receipt["source_prompt"], receipt["target_prompt"]) == ("a red car", "a blue car")
    assert receipt["model"] == "toybox"
    assert receipt["precision"] == "float32"


def test_receipt_says_what_came_out(output: EditOutput) -> None:
    receipt = build_receipt(output)

    assert receipt["max_difference_outside"] == 0
    assert receipt["mask"]["share"] == 0.5
    assert receipt["clip"] == {"frames": 2, "width": 16, "height": 16, "fps": 8.0}
    assert receipt["losses"]["steps"] == 2
    assert receipt["losses"]["last"] == {"appearance": 1.0, "spatial": 0.3, "temporal": 0.4}
    assert receipt["losses"]["mean"]["appearance"] == 2.0
    assert receipt["notices"] == [{"code": "cut", "text": "It was cut."}]


@pytest.mark.parametrize(
    ("name", "today"), [("toybox", "toybox-unet"), ("toybox-flow", "toybox"), ("zeroscope", "zeroscope")]
)
def test_a_receipt_of_the_first_version_names_models_otherwise(name: str, today: str) -> None:
    found, said = model_of({"model": name, "versions": {"dreammotion": "0.1.0"}})

    assert find_model(found).name == today
    assert said == (
        ""
        if name == today
        else f"The receipt is of version 0.1.0, and the model that it calls {name} is {today} today."
    )


def test_a_receipt_of_this_version_names_models_as_they_are(output: EditOutput) -> None:
    assert model_of(build_receipt(output)) == ("toybox", "")


def test_receipt_identifies_the_source_without_its_folder(output: EditOutput, tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    source.write_bytes(b"some clip")

    receipt = build_receipt(output, source_path=source)

    assert receipt["source"] == {
        "name": "clip.mp4",
        "bytes": 9,
        "sha256": hashlib.sha256(b"some clip").hexdigest(),
    }
    assert str(tmp_path) not in json.dumps(receipt)


def test_receipt_names_versions_selection_and_extra_entries(output: EditOutput) -> None:
    clicks = {"frame_index": 0, "clicks": [{"x": 3.5, "y": 4.0, "is_positive": True}]}

    receipt = build_receipt(output, selection=clicks, segmenter="embedded")

    assert receipt["selection"] == clicks
    assert receipt["segmenter"] == "embedded"
    assert {"dreammotion", "python", "torch", "diffusers"} <= set(receipt["versions"])


def test_missing_source_is_named(output: EditOutput, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"gone\.mp4 can no longer be read"):
        build_receipt(output, source_path=tmp_path / "gone.mp4")


def test_written_receipt_reads_back_and_keeps_letters_readable(output: EditOutput, tmp_path: Path) -> None:
    receipt = build_receipt(output, note="größer")

    path = write_receipt(receipt, tmp_path / "new" / "clip.json")

    assert json.loads(path.read_text(encoding="utf-8")) == receipt
    assert "größer" in path.read_text(encoding="utf-8")


def test_receipt_that_cannot_be_written_is_an_output_error(output: EditOutput, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match="could not be written"):
        write_receipt(build_receipt(output), tmp_path / "file" / "clip.json")


def test_receipt_says_which_clip_belongs_to_it(output: EditOutput, tmp_path: Path) -> None:
    written = tmp_path / "edit.mp4"
    written.write_bytes(b"an edit")

    receipt = build_receipt(output, result_path=written)

    assert receipt["result"]["frames_sha256"] == hashlib.sha256(output.frames.tobytes()).hexdigest()
    assert receipt["result"]["file"] == {
        "name": "edit.mp4",
        "bytes": 7,
        "sha256": hashlib.sha256(b"an edit").hexdigest(),
    }
    assert build_receipt(output)["result"]["file"] is None


def test_a_folder_is_described_by_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in ("0.png", "1.png"):
        (folder / name).write_bytes(name.encode())
    each = "".join(hashlib.sha256(name.encode()).hexdigest() for name in ("0.png", "1.png"))

    digest = hashlib.sha256(each.encode()).hexdigest()
    assert describe_file(folder) == {"name": "masks", "bytes": 10, "sha256": digest}
