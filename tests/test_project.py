"""A project keeps a clip and its edits in one file; a hostile one is refused and leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreammotion_core import (
    DreamMotionPipeline,
    EditConfig,
    EditRecord,
    OutputError,
    ProjectEdit,
    StateError,
    StateFolder,
    StepDone,
    VideoError,
    build_receipt,
    gather_edits,
    open_project,
    pack_project,
    read_video,
    write_frames,
    write_receipt,
    write_video,
)
from tests.tiny import moving_square, tiny_unet3d

PROMPTS = {"source_prompt": "a red car", "target_prompt": "a blue car"}
CONFIG = EditConfig(num_optimization_steps=2, preview_interval=0, seed=5)
LIST = "project.json"


class Made:
    """A clip, an edit that was finished with its states, and one that was stopped."""

    def __init__(self, folder: Path) -> None:
        self.pipe = DreamMotionPipeline(tiny_unet3d())
        source, self.mask = moving_square(self.pipe.spec.num_frames, (32, 48))
        self.clip = write_video(source, folder / "clip.mp4")
        self.state, self.stopped = folder / "state", folder / "stopped"
        asked = {**PROMPTS, "mask": self.mask, "config": CONFIG}
        self.output = self.pipe(read_video(self.clip), **asked, state=StateFolder(self.state))
        record = EditRecord.of(self.output).to_dict()
        self.result = write_video(self.output.video, folder / "result.mp4", record=record)
        self.receipt = write_receipt(build_receipt(self.output), folder / "result.json")
        asked["config"] = CONFIG.with_changes(seed=6)
        with closing(
            self.pipe.stream(read_video(self.clip), **asked, state=StateFolder(self.stopped))
        ) as events:
            next(event for event in events if isinstance(event, StepDone))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def packed(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    edits = gather_edits([made.result, made.state, made.stopped])
    return pack_project(tmp_path_factory.mktemp("packed") / "car.dreammotion", edits=edits, source=made.clip)


# --- In and out ---


def test_a_project_gives_back_what_was_packed(made: Made, packed: Path, tmp_path: Path) -> None:
    project = open_project(packed)
    clip, (finished, stopped) = project.unpack(tmp_path / "new" / "folder")

    assert project.source is not None
    assert (project.source["name"], project.has_source) == ("clip.mp4", True)
    assert [project.steps(index) for index in (0, 1)] == [(1, 2), (1,)]
    assert clip is not None
    assert clip.read_bytes() == made.clip.read_bytes()
    assert finished.result is not None
    assert finished.result.read_bytes() == made.result.read_bytes()
    assert finished.record.frames == EditRecord.of(made.output).frames
    assert (stopped.result, stopped.record.frames) == (None, ())


def test_a_stopped_edit_goes_on_from_a_project_to_the_same_bytes(
    made: Made, packed: Path, tmp_path: Path
) -> None:
    clip, edits = open_project(packed).unpack(tmp_path / "project")
    edit = edits[1]
    assert clip is not None
    assert edit.state is not None
    video = edit.record.read_source(clip)

    gone_on = made.pipe(video, **edit.record.arguments, state=StateFolder(edit.state))

    assert np.array_equal(gone_on.frames, made.pipe(video, **edit.record.arguments).frames)


def test_result_receipt_and_states_of_one_edit_are_one(made: Made) -> None:
    edits = gather_edits([made.state, made.stopped, made.receipt, made.result])

    assert [(edit.result, edit.state) for edit in edits] == [(made.result, made.state), (None, made.stopped)]
    assert edits[0].record.frames


def test_equal_files_give_equal_projects(made: Made, tmp_path: Path) -> None:
    edits = gather_edits([made.receipt])
    one, two = (
        pack_project(tmp_path / f"{name}.dreammotion", edits=edits, source=made.clip) for name in ("a", "b")
    )

    assert one.read_bytes() == two.read_bytes()


def test_the_clip_may_be_left_out_or_be_frames(made: Made, tmp_path: Path) -> None:
    edits = gather_edits([made.receipt])
    video = read_video(made.clip)
    write_frames(video.frames, tmp_path / "frames", fps=video.fps)
    digest = pack_project(tmp_path / "a.dreammotion", edits=edits, source=made.clip, has_source=False)
    frames = pack_project(tmp_path / "b.dreammotion", edits=edits, source=tmp_path / "frames")
    none = pack_project(tmp_path / "c.dreammotion", edits=edits, source=None)

    assert open_project(digest).source["bytes"] == made.clip.stat().st_size  # type: ignore[index]
    assert not open_project(digest).has_source
    assert open_project(none).unpack(tmp_path / "none")[0] is None
    folder, (edit,) = open_project(frames).unpack(tmp_path / "out")
    assert folder is not None
    assert np.array_equal(edit.record.read_source(folder).frames, video.frames)


def test_what_cannot_be_packed_is_refused_and_leaves_nothing(made: Made, tmp_path: Path) -> None:
    edits = gather_edits([made.receipt])
    target = tmp_path / "p.dreammotion"
    with pytest.raises(StateError, match=r"ends in \.dreammotion"):
        pack_project(tmp_path / "p.zip", edits=edits, source=None)
    with pytest.raises(StateError, match="holds 1 to 100"):
        pack_project(target, edits=(), source=None)
    with pytest.raises(VideoError, match="there is no"):
        pack_project(target, edits=edits, source=tmp_path / "gone.mp4")
    with pytest.raises(OutputError):
        pack_project(target, edits=[ProjectEdit(edits[0].record, tmp_path / "gone.mp4")], source=None)
    with StateFolder(made.state), pytest.raises(StateError, match="another process works"):
        pack_project(target, edits=[replace(edits[0], state=made.state)], source=None)

    assert [*tmp_path.iterdir()] == []


def test_a_folder_with_something_in_it_stays_as_it_is(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")

    with pytest.raises(OutputError, match="is not empty"):
        open_project(packed).unpack(tmp_path / "folder")

    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "mine"]


def test_a_full_disk_leaves_nothing(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dreammotion_core.project.os.replace", full)
    with pytest.raises(OutputError, match="No space left"):
        open_project(packed).unpack(tmp_path / "folder")

    assert [*tmp_path.iterdir()] == []


# --- Hostile archives ---


class Archive:
    """The entries of a project, to be written again with a change."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.entries = {name: archive.read(name) for name in archive.namelist()}
        self.sheet = json.loads(self.entries.pop(LIST))
        self.links: set[str] = set()
        self.compression = zipfile.ZIP_STORED

    def put(self, name: str, content: bytes) -> None:
        """An entry that the list names, with its true digest."""
        self.entries[name] = content
        self.sheet["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def write(self, path: Path) -> Path:
        with zipfile.ZipFile(path, "w", self.compression) as archive:
            for name, content in {**self.entries, LIST: json.dumps(self.sheet).encode()}.items():
                info = zipfile.ZipInfo(name)
                info.compress_type = self.compression
                info.external_attr = (stat.S_IFLNK | 0o777 if name in self.links else 0o600) << 16
                archive.writestr(info, content)
        return path


def extra(name: str, content: bytes = b"x", *, is_link: bool = False) -> Callable[[Archive], None]:
    def change(archive: Archive) -> None:
        archive.put(name, content)
        if is_link:
            archive.links.add(name)

    return change


def hidden(archive: Archive) -> None:
    archive.entries["hidden"] = b"x"


def missing(archive: Archive) -> None:
    del archive.entries["edit-1/result.mp4"]


def compressed(archive: Archive) -> None:
    archive.compression = zipfile.ZIP_DEFLATED


def bomb(archive: Archive) -> None:
    compressed(archive)
    archive.put("edit-1/result.mp4", bytes(2**24))


def in_the_list(name: str, value: Any) -> Callable[[Archive], None]:
    return lambda archive: archive.sheet.update({name: value})


def in_the_record(**changes: Any) -> Callable[[Archive], None]:
    def change(archive: Archive) -> None:
        record = json.loads(archive.entries["edit-1/record.json"])
        archive.put("edit-1/record.json", json.dumps({**record, **changes}).encode())

    return change


def without_a_record(archive: Archive) -> None:
    for entries in (archive.entries, archive.sheet["files"]):
        del entries["edit-2/record.json"]


def with_states_of_another_edit(archive: Archive) -> None:
    archive.put("edit-1/state/request.json", archive.entries["edit-2/state/request.json"])


ARABIC = "\u0660" * 5 + "\u0661"
NO_CLIP = {"name": "a", "bytes": 1, "sha256": "x"}
HOSTILE: dict[str, tuple[Callable[[Archive], None], str]] = {
    "traversal": (extra("../evil"), "unsafe entry"),
    "traversal within": (extra("edit-1/../../evil"), "unsafe entry"),
    "absolute": (extra("/etc/evil"), "unsafe entry"),
    "drive": (extra("C:evil"), "unsafe entry"),
    "backslash": (extra("..\\evil"), "unsafe entry"),
    "link": (extra("source.mov", b"/etc/passwd", is_link=True), "unsafe entry"),
    "pickle": (extra("edit-1/state/state-000001.pkl", b"\x80\x04."), "not part of a project"),
    "program": (extra("edit-1/run.py"), "not part of a project"),
    "a folder": (extra("edit-1/state/"), "not part of a project"),
    "escapes in a name": (extra("edit-1/\x1b[2J"), "not part of a project"),
    "digits of another script": (
        extra("edit-1/state/state-\u0660\u0660\u0660\u0660\u0660\u0661.safetensors"),
        "not part of",
    ),
    "edit without a number": (extra("edit-0/record.json"), "not part of a project"),
    "edit left out": (extra("edit-9/record.json", b"{}"), "numbered edits"),
    "edit without a record": (without_a_record, "no edit-2/record.json"),
    "states of another edit": (with_states_of_another_edit, "states are of another edit"),
    "a request that is none": (extra("edit-1/state/request.json", b"[]"), "holds no request"),
    "not in the list": (hidden, "do not agree about 'hidden'"),
    "only in the list": (missing, "do not agree about"),
    "two clips": (extra("source.mov"), "which clip it holds"),
    "clip of another name": (
        in_the_list("source", NO_CLIP | {"name": "\x1b[2J"}),
        "which clip",
    ),
    "clip of another digest": (in_the_list("source", NO_CLIP), "which clip"),
    "clip that is a path": (in_the_list("source", "/etc/passwd"), "which clip it holds"),
    "clip not described": (in_the_list("source", None), "which clip it holds"),
    "compressed": (compressed, "is compressed"),
    "bomb": (bomb, "is compressed"),
    "newer": (in_the_list("dreammotion_project", 2), "newer version"),
    "older": (in_the_list("dreammotion_project", 0), "no project of DreamMotion"),
    "format of another kind": (in_the_list("dreammotion_project", True), "no project of DreamMotion"),
    "list of another kind": (in_the_list("files", []), "no project of DreamMotion"),
    "newer record": (in_the_record(dreammotion=9), "newer version"),
    "record of a novel": (in_the_record(request={"format": 1, "source_prompt": "x" * 2000}), "edit 1 of"),
    "record without frames": (in_the_record(frames=[1]), "number of its frames"),
}


@pytest.mark.parametrize(("harm", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_project_is_refused_in_one_sentence(
    packed: Path, tmp_path: Path, harm: Callable[[Archive], None], said: str
) -> None:
    archive = Archive(packed)
    harm(archive)
    path = archive.write(tmp_path / "hostile.dreammotion")
    before = path.read_bytes()

    with pytest.raises(StateError, match=said) as refused:
        open_project(path)

    assert str(refused.value).isprintable()
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before


def test_a_project_with_an_entry_twice_is_refused(packed: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.dreammotion"
    path.write_bytes(packed.read_bytes())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(LIST, "{}")

    with pytest.raises(StateError, match=r"two entries 'project\.json'"):
        open_project(path)


def test_a_million_entries_are_refused_before_they_are_listed(tmp_path: Path) -> None:
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    count = 10**6
    # The end of the archive says that there are few; what is read counts.
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 9, 9, count * len(entry), 0, 0)
    path = tmp_path / "many.dreammotion"
    with path.open("wb") as file:
        for _ in range(1000):
            file.write(entry * (count // 1000))
        file.write(end)
    tracemalloc.start()

    with pytest.raises(StateError, match="list of entries has 47,000,000 bytes"):
        open_project(path)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_entries_that_share_their_bytes_are_refused(packed: Path, tmp_path: Path) -> None:
    archive = Archive(packed)
    for step in range(3, 60):
        archive.put(f"edit-1/state/state-{step:06d}.safetensors", bytes(10_000))
    path = archive.write(tmp_path / "whole.dreammotion")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as read:
        first = read.getinfo("edit-1/state/state-000003.safetensors").header_offset
        start = read.start_dir
    # Every later state points at the first; the file is cut to what is left.
    offset, kept = start, content.index(b"state-000004") - 30 - len("edit-1/state/")
    while content[offset : offset + 4] == b"PK\1\2":
        name, more, comment = struct.unpack_from("<3H", content, offset + 28)
        if b"state-0000" in content[offset + 46 : offset + 46 + name] and b"edit-1" in content[offset + 46 :]:
            struct.pack_into("<I", content, offset + 42, first)
        offset += 46 + name + more + comment
    assert kept < start
    path.write_bytes(content)

    with pytest.raises(StateError):
        open_project(path).unpack(tmp_path / "out")

    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    "place", ["source.mp4", "edit-1/result.mp4", "edit-1/state/state-000002.safetensors"]
)
def test_a_file_with_a_flipped_bit_is_refused_and_nothing_is_left(
    packed: Path, tmp_path: Path, place: str
) -> None:
    archive = Archive(packed)
    facts = dict(archive.sheet["files"][place])
    content = bytearray(archive.entries[place])
    content[len(content) // 2] ^= 1
    archive.put(place, bytes(content))
    archive.sheet["files"][place] = facts
    path = archive.write(tmp_path / "flipped.dreammotion")

    with pytest.raises(StateError, match="is damaged"):
        open_project(path).unpack(tmp_path / "out")

    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("content", [b"", b"PK\5\6", b"x" * 1000, b"PK\3\4" + bytes(200)])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "none.dreammotion"
    path.write_bytes(content)

    with pytest.raises(StateError, match="cannot be read"):
        open_project(path)


def test_a_project_that_was_cut_off_is_refused_wherever(packed: Path, tmp_path: Path) -> None:
    content = packed.read_bytes()
    path = tmp_path / "cut.dreammotion"
    for size in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:size])
        with pytest.raises(StateError):
            open_project(path)


def test_places_that_hold_no_project_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no"):
        open_project(tmp_path / "gone.dreammotion")
    with pytest.raises(StateError, match="is a folder"):
        open_project(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.dreammotion")
        with pytest.raises(StateError, match="is a pipe"):
            open_project(tmp_path / "pipe.dreammotion")
