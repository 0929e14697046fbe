"""An edit that is interrupted goes on to the same bytes; what cannot be continued is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dreammotion_core import (
    ConfigError,
    DreamMotionPipeline,
    EditConfig,
    EditOutput,
    EditRequest,
    Finished,
    MemorySourceCache,
    Notice,
    OutOfMemoryError,
    OutputError,
    Preview,
    StageDone,
    Started,
    StateError,
    StateFolder,
    StepDone,
    StepLosses,
    Video,
)
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.method.editing import EditState
from dreammotion_core.states import KEPT, packed, unpacked
from dreammotion_core.values import EditEvent
from tests.tiny import moving_square, tiny_unet3d
from tests.tiny_families import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = {"source_prompt": "a red car", "target_prompt": "a blue car"}
CONFIG = EditConfig(num_optimization_steps=4, preview_interval=0, seed=11, timestep_range=(50, 900))


@pytest.fixture(scope="module")
def pipe() -> DreamMotionPipeline:
    return DreamMotionPipeline(tiny_unet3d())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def stream(pipe: DreamMotionPipeline, **changes: Any) -> Generator[EditEvent, None, None]:
    video, mask = moving_square(pipe.spec.num_frames)
    return pipe.stream(**{"video": video, **PROMPTS, "mask": mask, "config": CONFIG, **changes})


def finished(events: Iterator[EditEvent]) -> EditOutput:
    *_, last = events
    assert isinstance(last, Finished)
    return last.output


def stopped_after(pipe: DreamMotionPipeline, steps: int, folder: Path, **changes: Any) -> None:
    with closing(stream(pipe, state=StateFolder(folder), **changes)) as events:
        done = (event for event in events if isinstance(event, StepDone))
        assert len([*islice(done, steps)]) == steps


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "lock")


# --- Going on ---


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adam", "learning_rate": 0.05},
        {"method": "v-sds"},
        {"method": "sdedit"},
        {"method": "ddim-inversion"},
    ],
    ids=lambda changes: str(next(iter(changes.values()), "sgd")),
)
def test_an_edit_goes_on_to_the_bytes_of_an_undisturbed_one(
    pipe: DreamMotionPipeline, folder: Path, changes: dict[str, Any]
) -> None:
    config = CONFIG.with_changes(**changes)
    whole = finished(stream(pipe, config=config))
    for steps in (1, 1, 1):
        stopped_after(pipe, steps, folder, config=config)

    resumed = finished(stream(pipe, config=config, state=StateFolder(folder)))

    assert np.array_equal(resumed.frames, whole.frames)
    assert resumed.losses == whole.losses


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "unet3d"])
def test_every_family_goes_on(name: str, folder: Path) -> None:
    family = FAMILIES[name]
    pipe, (video, mask) = DreamMotionPipeline(family.build()), moving_square(family.num_frames)
    config = CONFIG.with_changes(num_optimization_steps=2)
    whole = finished(stream(pipe, video=video, mask=mask, config=config))
    stopped_after(pipe, 1, folder, video=video, mask=mask, config=config)

    resumed = finished(stream(pipe, video=video, mask=mask, config=config, state=StateFolder(folder)))

    assert np.array_equal(resumed.frames, whole.frames)


def test_what_is_done_already_is_told_and_not_done_again(pipe: DreamMotionPipeline, folder: Path) -> None:
    stopped_after(pipe, 3, folder)

    events = list(stream(pipe, state=StateFolder(folder)))

    started = events[0]
    assert isinstance(started, Started)
    assert len(started.losses) == 3
    assert [event.step for event in events if isinstance(event, StepDone)] == [4]
    (notice,) = (event for event in events if isinstance(event, Notice) and event.code == "continued")
    assert f"from step 3, kept in {folder}" in notice.text


def test_a_finished_edit_is_only_decoded_again(pipe: DreamMotionPipeline, folder: Path) -> None:
    whole = finished(stream(pipe, state=StateFolder(folder)))

    events = list(stream(pipe, state=StateFolder(folder)))

    assert not any(isinstance(event, StepDone) for event in events)
    assert np.array_equal(events[-1].output.frames, whole.frames)  # type: ignore[union-attr]


def test_a_drawn_seed_is_that_of_the_edit_that_goes_on(pipe: DreamMotionPipeline, folder: Path) -> None:
    config = CONFIG.with_changes(seed=-1)
    stopped_after(pipe, 2, folder, config=config)

    resumed = finished(stream(pipe, config=config, state=StateFolder(folder)))

    assert np.array_equal(resumed.frames, finished(stream(pipe, config=resumed.config)).frames)


def test_two_states_are_kept_and_chosen_ones_within_a_budget(
    pipe: DreamMotionPipeline, tmp_path: Path
) -> None:
    for place, options, steps in (
        ("usual", {}, (3, 4)),
        ("chosen", {"chosen": (1, 2)}, (1, 2, 3, 4)),
        ("scarce", {"chosen": (1, 2), "budget": 6000}, (2, 3, 4)),
        ("seldom", {"every": 3}, (3, 4)),
    ):
        finished(stream(pipe, state=StateFolder(tmp_path / place, **options)))
        written = ["request.json", *(f"state-{step:06d}.safetensors" for step in steps)]
        assert names(tmp_path / place) == written, place
        assert KEPT == 2


def test_a_state_is_written_at_a_stop_between_two_of_them(pipe: DreamMotionPipeline, folder: Path) -> None:
    with closing(stream(pipe, state=StateFolder(folder, every=100))) as events:
        for event in events:
            if isinstance(event, StepDone) and event.step == 2:
                break

    assert names(folder) == ["request.json", "state-000002.safetensors"]


def test_running_out_of_memory_leaves_a_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = DreamMotionPipeline(tiny_unet3d())
    whole = finished(stream(pipe))
    predict, calls = pipe.backend.predict_noise, []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > 10:
            raise torch.OutOfMemoryError("out of memory")
        return predict(*arguments)

    with monkeypatch.context() as context:
        context.setattr(pipe.backend, "predict_noise", failing)
        with pytest.raises(OutOfMemoryError):
            finished(stream(pipe, state=StateFolder(folder)))
    assert "state-000002.safetensors" in names(folder)

    assert np.array_equal(finished(stream(pipe, state=StateFolder(folder))).frames, whole.frames)


def test_a_full_disk_does_not_end_the_edit_and_leaves_what_was_kept(
    pipe: DreamMotionPipeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> Any:
        if "state-000001" not in path.name and path.suffix == ".safetensors":
            raise OutputError(f"{path} could not be written (No space left on device)")
        return written_atomically(path)

    monkeypatch.setattr("dreammotion_core.states.written_atomically", full)
    whole = finished(stream(pipe))

    events = list(stream(pipe, state=StateFolder(folder)))

    told = [event for event in events if isinstance(event, Notice) and event.code == "state_not_kept"]
    assert len(told) == 1
    assert "No space left" in told[0].text
    assert told[0] in events[-1].output.video.notices  # type: ignore[union-attr]
    assert np.array_equal(events[-1].output.frames, whole.frames)  # type: ignore[union-attr]
    assert names(folder) == ["request.json", "state-000001.safetensors"]


# --- Later stages of a cascade ---


def test_a_cascade_goes_on_after_each_stage(folder: Path) -> None:
    pipe, (video, mask) = DreamMotionPipeline(FAMILIES["cascade"].build()), moving_square(9)
    asked = {"video": video, "mask": mask, "config": CONFIG.with_changes(num_optimization_steps=1)}
    whole = finished(stream(pipe, **asked))
    drawn, handles = [], []
    for network in pipe.backend.networks:
        handles.append(network.register_forward_hook(lambda *_: drawn.append(1)))

    for index in (2, 3, 4):
        with closing(stream(pipe, **asked, state=StateFolder(folder))) as events:
            stages = (event for event in events if isinstance(event, StageDone))
            assert next(stage for stage in stages if stage.index == index).index == index
    before = len(drawn)
    resumed = finished(stream(pipe, **asked, state=StateFolder(folder)))

    assert np.array_equal(resumed.frames, whole.frames)
    assert len(drawn) - before < 10  # texts are read and the last latents decoded; nothing is drawn again


# --- Kills ---


@pytest.mark.parametrize(
    "name", ["unet3d", *(pytest.param(name, marks=pytest.mark.long) for name in FAMILIES if name != "unet3d")]
)
def test_an_edit_that_is_killed_at_every_write_ends_with_the_same_bytes(name: str) -> None:
    """Really killed, with -9, half-way through each write and after it, at every step and stage."""
    command = [sys.executable, "-m", "tests.killing", name]

    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = json.loads(answer.splitlines()[-1])

    assert found["is_same"]
    assert found["kills"] >= 2 * 3
    assert found["most_lost"] <= 2


# --- Kept steps, and branches from them ---


def test_the_result_of_a_kept_step_is_that_of_its_preview(pipe: DreamMotionPipeline, folder: Path) -> None:
    video, _ = moving_square(pipe.spec.num_frames)
    events = list(stream(pipe, config=CONFIG.with_changes(preview_interval=1), state=StateFolder(folder)))
    (preview,) = (event for event in events if isinstance(event, Preview) and event.step == 3)

    found = pipe.result_at(video, state=StateFolder(folder), step=3)

    assert (found.step, found.frames.tolist()) == (3, preview.frames.tolist())
    with pytest.raises(StateError, match=r"no state of step 1; there are: 3, 4"):
        pipe.result_at(video, state=StateFolder(folder), step=1)
    with pytest.raises(StateError, match="its clip differ"):
        pipe.result_at(Video(255 - video.frames, video.fps), state=StateFolder(folder), step=3)


def test_a_branch_goes_on_from_a_kept_step(pipe: DreamMotionPipeline, tmp_path: Path) -> None:
    video, _ = moving_square(pipe.spec.num_frames)
    cached = DreamMotionPipeline(pipe.backend, source_cache=MemorySourceCache())
    trunk, twig = tmp_path / "trunk", tmp_path / "twig"
    whole = finished(stream(cached, state=StateFolder(trunk, chosen=(2,))))
    calls: list[int] = []
    handle = pipe.backend.denoiser.register_forward_hook(lambda *_: calls.append(1))

    same = finished(cached.branch(video, state=StateFolder(trunk), step=2))
    handle.remove()
    words = {"state": StateFolder(trunk), "step": 2, "target_prompt": "a blue ball"}
    other = finished(cached.branch(video, **words, into=StateFolder(twig)))
    again = finished(cached.branch(video, **words, into=StateFolder(twig)))

    assert np.array_equal(same.frames, whole.frames)
    assert len(calls) == 2 * 2  # of 4 * 4 of an edit without a cache
    assert other.losses[:2] == whole.losses[:2]
    assert other.losses[2:] != whole.losses[2:]
    assert np.array_equal(again.frames, other.frames)
    assert other.request["parent"]["step"] == 2
    assert EditRequest.from_dict(other.request["parent"]["request"]).id == (
        EditRequest.from_dict(whole.request).id
    )
    assert pipe.result_at(video, state=StateFolder(twig), step=4).frames.tolist() == other.frames.tolist()


def test_a_branch_needs_steps_that_follow_and_the_same_method(pipe: DreamMotionPipeline, copy: Path) -> None:
    video, _ = moving_square(pipe.spec.num_frames)
    for changes in ({"num_optimization_steps": 3}, {"method": "sdedit"}):
        with pytest.raises(ConfigError, match="a branch after step 3 needs more steps"):
            next(pipe.branch(video, state=StateFolder(copy), step=3, **changes))


# --- What cannot be continued ---


@pytest.fixture(scope="module")
def kept(pipe: DreamMotionPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "state"
    stopped_after(pipe, 3, folder)
    return folder


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "copy"))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def turned(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def swapped(path: Path) -> None:
    shutil.copy(path.with_name("state-000002.safetensors"), path)


def foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path)


def of_the_future(path: Path) -> None:
    save_file(load_file(path), path, {"format": "99"})


def pickled(path: Path) -> None:
    torch.save({"latents": torch.zeros(3)}, path)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (truncated, "damaged"),
        (turned, "damaged"),
        (swapped, "another edit or step"),
        (foreign, "not written by DreamMotion"),
        (of_the_future, "newer version"),
        (pickled, "damaged"),
    ],
)
def test_a_state_that_cannot_be_used_is_told_and_the_one_before_is(
    pipe: DreamMotionPipeline, copy: Path, harm: Callable[[Path], None], said: str
) -> None:
    harm(copy / "state-000003.safetensors")

    events = list(stream(pipe, state=StateFolder(copy)))

    told = {event.code: event.text for event in events if isinstance(event, Notice)}
    assert said in told["state_refused"]
    assert "from step 2" in told["continued"]
    assert np.array_equal(events[-1].output.frames, finished(stream(pipe)).frames)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target_prompt": "a blue ball"}, "selection or target prompt"),
        ({"source_prompt": "a red ball"}, "source prompt"),
        ({"config": CONFIG.with_changes(seed=12)}, "settings"),
        ({"video": moving_square(4)[0], "mask": moving_square(4)[1]}, "clip and selection"),
    ],
)
def test_the_state_of_another_edit_is_refused(
    pipe: DreamMotionPipeline, copy: Path, changes: dict[str, Any], said: str
) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}

    with pytest.raises(StateError, match=f"holds another edit: its .*{said}"):
        next(stream(pipe, **changes, state=StateFolder(copy)))

    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_another_model_is_another_edit(copy: Path) -> None:
    other = tiny_unet3d()
    for parameter in other.vae.parameters():
        parameter.data += 1e-3

    with pytest.raises(StateError, match="its model differ"):
        next(stream(DreamMotionPipeline(other), state=StateFolder(copy)))


def test_previews_may_be_asked_for_later(pipe: DreamMotionPipeline, copy: Path) -> None:
    finished(stream(pipe, config=CONFIG.with_changes(preview_interval=2), state=StateFolder(copy)))


def test_another_machine_is_continued_only_when_told_and_the_result_says_so(
    pipe: DreamMotionPipeline, copy: Path
) -> None:
    request = json.loads((copy / "request.json").read_text())
    request["machine"]["threads"] = 64
    request["versions"]["torch"] = "1.0"
    (copy / "request.json").write_text(json.dumps(request))

    with pytest.raises(StateError, match=r"threads 64 there, 1 here; torch 1.0 there.*--continue-anyway"):
        next(stream(pipe, state=StateFolder(copy)))
    first = finished(stream(pipe, state=StateFolder(copy, goes_anywhere=True)))
    again = finished(stream(pipe, state=StateFolder(copy)))

    for output in (first, again):
        (notice,) = (n for n in output.video.notices if n.code == "continued_elsewhere")
        assert "after step 3" in notice.text
        assert output.request["continued"][0]["step"] == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "damaged"),
        ("[]", "not written by DreamMotion"),
        ('{"format": 7}', "newer version"),
        ('{"format": 1}', "cannot be used"),
        ("[" * 100_000, "damaged"),
    ],
)
def test_a_request_that_cannot_be_used_is_refused(
    pipe: DreamMotionPipeline, copy: Path, content: str, said: str
) -> None:
    (copy / "request.json").write_text(content)

    with pytest.raises(StateError, match=said):
        next(stream(pipe, state=StateFolder(copy)))


def test_states_without_a_request_are_refused(pipe: DreamMotionPipeline, copy: Path) -> None:
    (copy / "request.json").unlink()

    with pytest.raises(StateError, match=r"no request\.json"):
        next(stream(pipe, state=StateFolder(copy)))


def test_a_second_process_is_refused(pipe: DreamMotionPipeline, folder: Path) -> None:
    with closing(stream(pipe, state=StateFolder(folder))) as events:
        next(events)
        with pytest.raises(StateError, match="another process works on the edit"):
            next(stream(pipe, state=StateFolder(folder)))
    finished(stream(pipe, state=StateFolder(folder)))


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    pipe: DreamMotionPipeline, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="nothing can be written"):
        next(stream(pipe, state=StateFolder(tmp_path / "file" / "state")))


def test_what_a_killed_process_left_half_written_is_removed(pipe: DreamMotionPipeline, copy: Path) -> None:
    (copy / ".dreammotion-0123456789ab.safetensors").write_bytes(b"half")

    finished(stream(pipe, state=StateFolder(copy)))

    assert not list(copy.glob(".dreammotion-*"))


# --- The request ---


def test_a_request_survives_its_text(pipe: DreamMotionPipeline) -> None:
    _, mask = moving_square(pipe.spec.num_frames)

    output = finished(stream(pipe, origin={"clicks": [[1, 2]]}))
    request = EditRequest.from_dict(json.loads(json.dumps(output.request)))

    assert request.to_dict() == output.request
    assert request.config == output.config
    assert request.objects[0].mask is not None
    assert np.array_equal(request.objects[0].mask, mask)
    assert request.objects[0].target_prompt == PROMPTS["target_prompt"]
    assert request.origin == {"clicks": [[1, 2]]}


@pytest.mark.parametrize(
    "harm", [lambda text: text[:-8], lambda _: packed(np.zeros((9, 99, 99), bool)), lambda _: "?"]
)
def test_a_mask_of_the_wrong_length_is_refused(harm: Callable[[str], str]) -> None:
    text = packed(np.ones((2, 5, 7), bool))

    assert unpacked(text, shape=(2, 5, 7)).all()
    with pytest.raises((ValueError, zlib.error)):
        unpacked(harm(text), shape=(2, 5, 7))


def test_a_state_counts_its_steps() -> None:
    row = StepLosses(0.1, 0.2, 0.3)

    assert EditState(torch.zeros(1), losses=(row, row)).step == 2
