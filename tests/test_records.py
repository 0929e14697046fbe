"""The record of an edit travels in its result, which is made again and verified; a hostile one is refused."""

from __future__ import annotations

import json
import logging
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dreammotion_core import (
    DreamMotionPipeline,
    EditConfig,
    EditOutput,
    EditRecord,
    StateError,
    StateFolder,
    Verification,
    Video,
    VideoError,
    build_receipt,
    list_models,
    read_record,
    read_video,
    verify_result,
    write_frames,
    write_receipt,
    write_video,
)
from dreammotion_core.media import video as video_files
from dreammotion_core.states import packed
from tests.tiny import moving_square, tiny_unet3d

PROMPTS = {"source_prompt": "a red car", "target_prompt": "a blue car"}
SIZE = (32, 48)
TRIES = 20
"""Results that are verified, untouched and with each kind of change, in `make test-long`."""
EMBEDDED = [
    spec.name for spec in list_models() if spec.name.startswith("toybox") and spec.name != "toybox-flow"
]


@dataclass
class Result:
    """An edit that was made, its clip and the file of its result."""

    pipe: DreamMotionPipeline
    clip: Path
    output: EditOutput
    path: Path

    @property
    def record(self) -> EditRecord:
        return read_record(self.path)

    def verified(
        self, record: EditRecord, *, clip: Path | None = None, result: Path | None = None
    ) -> Verification:
        video = record.read_source(clip or self.clip)
        changes = record.changes(video, self.pipe.backend)
        output = self.pipe(video, **record.arguments)
        return verify_result(output, record=record, result=result or self.path, changes=changes)


def make(pipe: DreamMotionPipeline, folder: Path, *, seed: int = 3, size: tuple[int, int] = SIZE) -> Result:
    num_frames = min(pipe.spec.num_frames, 9)
    source, mask = moving_square(num_frames, size)
    clip = write_video(source, folder / f"clip-{seed}.mp4")
    config = pipe.spec.config(num_optimization_steps=1, preview_interval=0, seed=seed)
    output = pipe(read_video(clip), **PROMPTS, mask=mask, config=config)
    record = EditRecord.of(output).to_dict()
    return Result(pipe, clip, output, write_video(output.video, folder / f"result-{seed}.mp4", record=record))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return make(DreamMotionPipeline(tiny_unet3d()), tmp_path_factory.mktemp("made"))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.long] if name == "toybox-cascade" else []) for name in EMBEDDED
    ],
)
def embedded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    pipe = DreamMotionPipeline.from_pretrained(request.param)
    return make(pipe, tmp_path_factory.mktemp(request.param), size=(64, 64))


# --- What travels ---


def test_the_record_in_a_result_is_that_of_the_edit_and_says_no_folder(made: Result) -> None:
    record = made.record

    assert record.to_dict() == EditRecord.of(made.output).to_dict()
    assert record.asked == json.loads(json.dumps(made.output.request))
    assert str(made.clip.parent) not in json.dumps(record.to_dict())
    assert record.arguments["config"] == made.output.config


def test_a_record_changes_no_picture_and_equal_results_are_equal_files(made: Result, tmp_path: Path) -> None:
    record = EditRecord.of(made.output).to_dict()
    plain = write_video(made.output.video, tmp_path / "plain.mp4")
    again = write_video(made.output.video, tmp_path / "again.mp4", record=record)

    assert np.array_equal(read_video(plain).frames, read_video(made.path).frames)
    assert again.read_bytes() == made.path.read_bytes()


def test_receipt_and_folder_of_states_hold_the_record_too(made: Result, tmp_path: Path) -> None:
    receipt = write_receipt(build_receipt(made.output), tmp_path / "result.json")
    state = tmp_path / "state"
    made.pipe(read_video(made.clip), **made.record.arguments, state=StateFolder(state))

    assert read_record(receipt).to_dict() == made.record.to_dict()
    for place in (state, state / "request.json"):
        assert read_record(place).asked == made.record.asked
        assert read_record(place).frames == ()


def test_text_in_any_letters_travels(made: Result, tmp_path: Path) -> None:
    asked = dict(made.record.asked, source_prompt='größer "☂" \\ \n\ud800')
    record = replace(made.record, asked=asked)

    path = write_video(made.output.video, tmp_path / "letters.mp4", record=record.to_dict())

    assert read_record(path).asked["source_prompt"] == asked["source_prompt"]


def test_a_record_that_is_too_long_is_left_out_and_said(
    made: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record = made.record.to_dict()
    monkeypatch.setattr(video_files, "LARGEST_RECORD", 100)
    with caplog.at_level(logging.WARNING):
        path = write_video(made.output.video, tmp_path / "long.mp4", record=record)

    assert "too long" in caplog.text
    with pytest.raises(StateError, match="has no record"):
        read_record(path)
    with pytest.raises(VideoError, match="at most 100 are read"):
        read_record(made.path)


# --- Again ---


def test_an_edit_is_made_again_from_its_result(made: Result) -> None:
    record = made.record

    again = made.pipe(record.read_source(made.clip), **record.arguments)

    assert np.array_equal(again.frames, made.output.frames)


def test_the_clip_may_be_a_folder_of_frames(made: Result, tmp_path: Path) -> None:
    video = read_video(made.clip)
    write_frames(video.frames, tmp_path / "frames", fps=video.fps)

    assert np.array_equal(made.record.read_source(tmp_path / "frames").frames, video.frames)


def test_an_untouched_result_has_the_same_pixels(made: Result) -> None:
    found = made.verified(made.record)

    assert found.is_same
    assert found.changes == ()
    assert found.describe() == (f"The same pixels, on all {len(made.output.frames)} frames.",)


def test_an_untouched_result_of_each_embedded_model_has_the_same_pixels(embedded: Result) -> None:
    assert embedded.verified(embedded.record).describe()[0].startswith("The same pixels")


def another_clip(made: Result, folder: Path, index: int) -> Verification:
    video = read_video(made.clip)
    frames = np.array(video.frames)
    frames[index % len(frames)] //= 2
    return made.verified(made.record, clip=write_video(Video(frames, video.fps), folder / "clip.mp4"))


def with_asked(record: EditRecord, **changes: Any) -> EditRecord:
    return EditRecord.from_dict(replace(record, asked={**record.asked, **changes}).to_dict())


def another_mask(made: Result, _: Path, index: int) -> Verification:
    (only,) = made.record.asked["objects"]
    mask = np.roll(made.record.arguments["mask"], 1 + index % 5, axis=2)
    return made.verified(with_asked(made.record, objects=[{**only, "mask": packed(mask)}]))


def another_prompt(made: Result, _: Path, index: int) -> Verification:
    (only,) = made.record.asked["objects"]
    prompt = ("a red ball", "the road", "a ball on the road", "blue")[index % 4]
    return made.verified(with_asked(made.record, objects=[{**only, "target_prompt": prompt}]))


def another_model(made: Result, _: Path, index: int) -> Verification:
    weights = [p for p in made.pipe.backend.denoiser.parameters() if p.ndim > 1]
    nudged = weights[index % len(weights)]
    before = nudged.detach().clone()
    try:
        with torch.no_grad():
            nudged.mul_(1.5)
        return made.verified(made.record)
    finally:
        with torch.no_grad():
            nudged.copy_(before)


def other_settings(made: Result, _: Path, index: int) -> Verification:
    return made.verified(
        with_asked(made.record, settings={**made.record.asked["settings"], "seed": 100 + index})
    )


CHANGES: dict[str, Callable[[Result, Path, int], Verification]] = {
    "clip": another_clip,
    "mask": another_mask,
    "target prompt": another_prompt,
    "model": another_model,
    "settings": other_settings,
}


@pytest.mark.parametrize("part", CHANGES)
def test_what_changed_is_named_with_the_first_frame_that_differs(
    made: Result, tmp_path: Path, part: str
) -> None:
    found = CHANGES[part](made, tmp_path, 0)

    assert {change.part for change in found.changes} == {part}
    assert not found.is_same
    assert found.coded is not None
    verdict, *_, cause = found.describe()
    assert f"frame {found.coded} is the first of {found.num_different} that differ, by up to" in verdict
    assert part in cause


@pytest.mark.parametrize(
    "part", ["target prompt", *(pytest.param(p, marks=pytest.mark.long) for p in ("clip", "mask", "model"))]
)
def test_what_changed_is_named_with_an_embedded_model(tmp_path: Path, part: str, small: Result) -> None:
    found = CHANGES[part](small, tmp_path, 1)

    assert {change.part for change in found.changes} == {part}
    assert not found.is_same


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """By the embedded model that loads fastest."""
    pipe = DreamMotionPipeline.from_pretrained(EMBEDDED[0])
    return make(pipe, tmp_path_factory.mktemp("small"), size=(64, 64))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", EMBEDDED)
def test_twenty_of_twenty(name: str, tmp_path: Path) -> None:
    pipe = DreamMotionPipeline.from_pretrained(name)
    same = 0
    named = dict.fromkeys(("clip", "mask", "target prompt", "model"), 0)
    for index in range(TRIES):
        result = make(pipe, tmp_path, seed=index, size=(64, 64))
        same += result.verified(result.record).is_same
        for part in named:
            (tmp_path / f"{part}-{index}").mkdir()
            found = CHANGES[part](result, tmp_path / f"{part}-{index}", index)
            named[part] += not found.is_same and {change.part for change in found.changes} == {part}

    assert (same, named) == (TRIES, dict.fromkeys(named, TRIES))


def test_machine_and_versions_are_named(made: Result) -> None:
    asked = made.record.asked
    elsewhere = with_asked(
        made.record,
        machine={**asked["machine"], "threads": 64},
        versions={**asked["versions"], "torch": "1.0"},
    )

    found = made.verified(elsewhere)

    assert {change.part for change in found.changes} == {"machine", "version"}
    assert "What changed had no effect: threads 64 there" in " ".join(found.describe())
    assert "torch 1.0 there" in " ".join(found.describe())


def test_a_clip_that_is_shorter_now_is_named(made: Result, tmp_path: Path) -> None:
    video = read_video(made.clip)
    shorter = write_video(replace(video, frames=video.frames[:-1]), tmp_path / "short.mp4")

    (change,) = made.record.changes(made.record.read_source(shorter), made.pipe.backend)

    assert change.part == "clip"
    assert f"a clip of {len(video)} frames of 48x32; this one has {len(video) - 1} frames" in change.text


def coded_again(frames: NDArray[np.uint8], path: Path, record: EditRecord) -> Path:
    """As others write it: the pictures in another way, the long description kept."""
    with av.open(str(path), "w") as container:
        container.metadata["synopsis"] = json.dumps(record.to_dict())
        stream = container.add_stream("libx264", rate=8, options={"crf": "40"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_file_that_others_coded_again_is_told_from_another_edit(made: Result, tmp_path: Path) -> None:
    path = coded_again(np.array(made.output.frames), tmp_path / "again.mp4", made.record)

    found = made.verified(read_record(path), result=path)

    assert found.uncoded is None
    assert found.coded == 0
    assert "the file was coded again or changed later" in " ".join(found.describe())


@pytest.mark.parametrize(
    "change", [lambda frames: frames[:-1], lambda frames: frames[:, :-16], lambda frames: frames[::-1]]
)
def test_a_result_that_was_cut_is_found_out(
    made: Result, tmp_path: Path, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> None:
    cut = Video(np.ascontiguousarray(change(np.array(made.output.frames))), made.output.video.fps)
    path = write_video(cut, tmp_path / "cut.mp4", record=made.record.to_dict())

    found = made.verified(read_record(path), result=path)

    assert found.coded is not None
    assert "the file was coded again or changed later" in " ".join(found.describe())


def test_a_receipt_alone_says_which_frame_differs(made: Result) -> None:
    frames = (*made.record.frames[:1], "0" * 16, *made.record.frames[2:])

    found = verify_result(made.output, record=replace(made.record, frames=frames))

    assert (found.uncoded, found.coded, found.num_different) == (1, None, 1)
    assert "Other pixels: frame 1 is the first of 1 that differ." in found.describe()


def test_a_difference_that_coding_hides_is_still_one(made: Result) -> None:
    frames = ("0" * 16, *made.record.frames[1:])

    found = verify_result(made.output, record=replace(made.record, frames=frames), result=made.path)

    assert not found.is_same
    assert "by less than the coding of the file shows" in found.describe()[0]


def test_an_edit_without_a_result_has_nothing_to_compare_with(made: Result) -> None:
    with pytest.raises(StateError, match="unfinished edit"):
        verify_result(made.output, record=EditRecord.of_request(made.record.asked))


# --- Hostile records ---


def at(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of a record at a place such as ``request.clip.frames``; numbers are those in lists."""

    def change(values: Any) -> None:
        *path, last = [int(part) if part.isdecimal() else part for part in place.split(".")]
        for part in path:
            values = values[part]
        values[last] = value

    return change


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


HOSTILE = {
    "another program": at("dreammotion", "yes"),
    "a newer version": at("dreammotion", 99),
    "a newer request": at("request.format", 99),
    "no request": at("request", None),
    "a list as request": at("request", []),
    "a billion frames": at("request.clip.frames", 10**9),
    "no frames": at("request.clip.frames", 0),
    "half a frame": at("request.clip.frames", 0.5),
    "a yes as frames": at("request.clip.frames", True),
    "gigantic pictures": at("request.clip.width", 10**6),
    "no rate": at("request.clip.fps", 0),
    "rate of another kind": at("request.clip.fps", "24"),
    "a path as digest": at("request.clip.sha256", "../../etc/passwd"),
    "more about the clip": at("request.clip.path", "/etc/passwd"),
    "a novel as prompt": at("request.source_prompt", "x" * 1001),
    "a number as prompt": at("request.objects.0.target_prompt", 7),
    "no objects": at("request.objects", []),
    "a thousand objects": at("request.objects", [{"target_prompt": "x", "mask": None}] * 1000),
    "a file as mask": at("request.objects.0.mask", {"path": "/etc/passwd"}),
    "a weight that is none": at("request.settings.spatial_weight", -1),
    "unknown settings": at("request.settings.eval", "1"),
    "settings with escapes": at("request.settings", {"\x1b[31m": 1}),
    "a key pattern that takes forever": at("request.settings.key_sites", ["(a+)+" * 30]),
    "settings of another kind": at("request.settings", [1]),
    "escapes in the model": at("request.model.name", "\x1b[2J"),
    "a novel as model": at("request.model.name", "x" * 1000),
    "deep facts": at("request.machine.device", [1]),
    "many facts": at("request.versions", {str(k): "1" for k in range(1000)}),
    "cuts beyond the end": at("request.cuts", [10**6]),
    "continued nowhere": at("request.continued", [{"step": 1}]),
    "continued before it began": at("request.continued", [{"step": -1, "machine": {}, "versions": {}}]),
    "a start before the clip": at("request.origin.start_frame", -1),
    "a start that is text": at("request.origin.start_frame", "0; rm"),
    "an origin of another kind": at("request.origin", "x"),
    "a deep origin": at("request.origin.selection", nested(100)),
    "a beginning that is none": at("request.parent", "x"),
    "a beginning before the begin": at("request.parent", {"request": {}, "step": -1}),
    "a beginning without an edit": at("request.parent", {"request": {}, "step": 1}),
    "a beginning that is deep": at("request.parent", nested(100)),
    "digests that are none": at("parts.mask", "x" * 16),
    "parts that are none": at("parts.eval", "0" * 16),
    "no parts": at("parts", None),
    "too few frames": at("frames", ["0" * 16]),
    "frames that are none": at("frames.0", "../"),
    "frames of another kind": at("frames", "x"),
}


@pytest.mark.parametrize("harm", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_record_is_refused_in_one_sentence(
    made: Result, tmp_path: Path, harm: Callable[[dict[str, Any]], None]
) -> None:
    values = json.loads(json.dumps(made.record.to_dict()))
    harm(values)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(values))

    with pytest.raises(StateError) as refused:
        read_record(path)

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "damaged"),
        ("{", "damaged"),
        ("[" * 100_000, "damaged"),
        ('{"dreammotion": 1, "dreammotion": 1}', "a name twice"),
        ('{"dreammotion": NaN}', "no number"),
        ('{"dreammotion": 1e999}', "no number"),
        ('{"dreammotion": 1' + "0" * 5000 + "}", "damaged"),
        ("[]", "not of DreamMotion"),
        ("7", "not of DreamMotion"),
        ('{"seed": 1, "settings": {}}', "receipt of an early version"),
        ('{"record": "x"}', "not of DreamMotion"),
    ],
)
def test_text_that_is_no_record_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(text)

    with pytest.raises(StateError, match=said):
        read_record(path)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("?", "cannot be used"),
        (b64encode(b"no deflated bits").decode(), "cannot be used"),
        (b64encode(zlib.compress(bytes(2**26), 9)).decode(), "a mask of"),
    ],
    ids=["no text", "no bits", "a bomb"],
)
def test_a_hostile_mask_is_refused_when_the_clip_is_there(made: Result, mask: str, said: str) -> None:
    (only,) = made.record.asked["objects"]
    record = with_asked(made.record, objects=[{**only, "mask": mask}])

    with pytest.raises(StateError, match=said):
        _ = record.arguments


def test_a_video_without_a_record_is_refused_with_a_way_on(made: Result, tmp_path: Path) -> None:
    bare = write_video(made.output.video, tmp_path / "bare.mp4")

    with pytest.raises(StateError, match="pass the receipt of the edit"):
        read_record(bare)
    with pytest.raises(VideoError):
        read_record(Path(__file__))


def test_places_without_a_record_are_refused(tmp_path: Path) -> None:
    for place in (tmp_path / "gone.mp4", tmp_path):
        with pytest.raises(StateError, match="there is no"):
            read_record(place)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StateError, match="is no text"):
        read_record(tmp_path / "bytes.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(2**26)
    with pytest.raises(StateError, match="too large"):
        read_record(tmp_path / "large.json")


def test_an_edit_of_two_objects_is_made_again(made: Result) -> None:
    video = read_video(made.clip)
    mask = made.record.arguments["mask"]
    asked = {**PROMPTS, "target_prompt": ["a blue car", "a blue road"], "mask": [mask, ~mask]}
    output = made.pipe(video, **asked, config=made.output.config)
    record = EditRecord.from_dict(json.loads(json.dumps(EditRecord.of(output).to_dict())))

    again = made.pipe(video, **record.arguments)

    assert verify_result(again, record=record).is_same


def test_a_branch_is_refused_with_a_way_on(made: Result) -> None:
    branch = with_asked(made.record, parent={"request": made.record.asked, "step": 1})

    with pytest.raises(StateError, match="make the edit that it begins from again"):
        _ = branch.arguments


def test_settings_of_a_record_are_checked_as_all_settings(made: Result) -> None:
    assert made.record.arguments["config"] == EditConfig.from_dict(made.record.asked["settings"])
