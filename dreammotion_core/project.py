"""Project files (``.dreammotion``): a clip or its digest, its edits with their masks, states and results.

A project is a zip archive without compression: nothing in it unpacks to more than the file. Its names are
those listed here and no others. Whoever opens one trusts nothing in it, and nothing of it is run.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from dreammotion_core.errors import OutputError, StateError, VideoError
from dreammotion_core.media.archives import check_entry_size, opened_archive
from dreammotion_core.media.atomic import check_readable, check_writable, written_atomically
from dreammotion_core.media.frames import check_empty_folder, picture_name, png_files
from dreammotion_core.media.video import LARGEST_RECORD
from dreammotion_core.receipt import EditRecord, describe_file, is_fact, is_whole, read_json, read_record
from dreammotion_core.states import StateFolder

PROJECT_FORMAT = 1
SUFFIX = ".dreammotion"
MOST_EDITS = 100
MOST_BYTES = 2**36
_LIST = "project.json"
_STATE_FILE = r"request\.json|state-\d{6}\.safetensors|sampling-\d{6}-\d{6}\.safetensors"
_NAMES = re.compile(
    r"source\.[a-z0-9]{1,8}|source/\d{5,6}\.png"
    rf"|edit-([1-9]\d{{0,2}})/(record\.json|result\.mp4|state/({_STATE_FILE}))",
    re.ASCII,
)
_PIECE = 2**20
_opened = partial(opened_archive, error=StateError, wanted="one project", most_bytes=MOST_BYTES)
_ADVICE = f"pack the project again, as a {SUFFIX} file"
_check_size = partial(check_entry_size, error=StateError, wanted="a project", advice=_ADVICE)


@dataclass(frozen=True, eq=False)
class ProjectEdit:
    """An edit of a project: its record and, where there are any, its result (MP4) and folder of states."""

    record: EditRecord
    result: Path | None = None
    state: Path | None = None


@dataclass(frozen=True, eq=False)
class Project:
    """A project that was opened; its files lie still in the archive.

    Attributes:
        source: ``name``, ``bytes`` and ``sha256`` of the clip's file; None for a folder of frames.
        records: of its edits, in order.
        files: name in the archive -> ``bytes`` and ``sha256``.
    """

    path: Path
    source: Mapping[str, Any] | None
    records: tuple[EditRecord, ...]
    files: Mapping[str, Mapping[str, Any]]

    @property
    def has_source(self) -> bool:
        """Whether the clip itself is in it."""
        return any(name.startswith("source") for name in self.files)

    def steps(self, index: int) -> tuple[int, ...]:
        """The steps of the edit at an index, from 0, whose states are in it."""
        form = re.compile(rf"edit-{index + 1}/state/state-(\d{{6}})\.safetensors")
        return tuple(sorted(int(found[1]) for name in self.files if (found := form.fullmatch(name))))

    def unpack(self, folder: str | Path) -> tuple[Path | None, tuple[ProjectEdit, ...]]:
        """Write all files into a new or empty folder, or none; give the clip, if it is there, and the edits.

        Raises:
            StateError: if a file is damaged.
            OutputError: if the folder is not empty or cannot be written.
        """
        check_empty_folder(folder)
        target = Path(os.path.realpath(folder))
        part = target.with_name(f".dreammotion-{uuid.uuid4().hex[:12]}")
        try:
            part.mkdir(parents=True)
            with _opened(self.path) as archive:
                for name, facts in self.files.items():
                    _unpack(archive, name, part / name, facts)
            if target.exists():
                target.rmdir()
            os.replace(part, target)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{target} could not be written ({error.strerror}); free some space") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        sources = [target / "source", *target.glob("source.*")]
        edits = []
        for index, record in enumerate(self.records, start=1):
            place = target / f"edit-{index}"
            result, state = place / "result.mp4", place / "state"
            edits.append(
                ProjectEdit(record, result if result.is_file() else None, state if state.is_dir() else None)
            )
        return next((path for path in sources if path.exists()), None), tuple(edits)


def pack_project(
    path: str | Path, *, edits: Sequence[ProjectEdit], source: str | Path | None, has_source: bool = True
) -> Path:
    """Write a project, or raise and leave nothing behind; equal files give equal projects.

    Args:
        source: the clip that was edited, a video file or a folder of PNG frames. None leaves it out.
        has_source: False keeps only its name, size and digest.

    Raises:
        StateError: if there are no edits or too many, the name does not end in ``.dreammotion``, or another
            process works on a state.
        VideoError: if the clip cannot be read.
        OutputError: if the project cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() != SUFFIX:
        raise StateError(f"the project is called {target.name!r}; choose a name that ends in {SUFFIX}")
    if not 1 <= len(edits) <= MOST_EDITS:
        raise StateError(f"{len(edits)} edits are given; a project holds 1 to {MOST_EDITS}")
    check_writable(target)
    place = None if source is None else Path(source)
    if place is not None:
        check_readable(place, VideoError, wanted="the clip that was edited")
    facts = describe_file(place) if place is not None and place.is_file() else None
    files: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        for edit in edits:
            if edit.state is not None:
                stack.enter_context(StateFolder(edit.state))
        temporary = stack.enter_context(written_atomically(target))
        archive = stack.enter_context(zipfile.ZipFile(temporary, "w"))
        for name, content in _contents(edits, place if has_source else None):
            with content, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                files[name] = _copied(content, entry.write)
        sheet = {"dreammotion_project": PROJECT_FORMAT, "source": facts, "files": files}
        archive.writestr(zipfile.ZipInfo(_LIST), json.dumps(sheet, indent=1))
    return target


def gather_edits(paths: Sequence[str | Path]) -> tuple[ProjectEdit, ...]:
    """The edits of some results (MP4), receipts and folders of states, in order; those of one edit are one.

    Raises `StateError` and `VideoError` as `read_record`.
    """
    found: dict[str, ProjectEdit] = {}
    for place in map(Path, paths):
        record = read_record(place)
        edit = found.get(record.id, ProjectEdit(record))
        # A state does not know yet what came out.
        edit = replace(edit, record=record) if record.frames else edit
        if place.is_dir():
            edit = replace(edit, state=place)
        elif place.suffix.lower() != ".json":
            edit = replace(edit, result=place)
        found[record.id] = edit
    return tuple(found.values())


def open_project(path: str | Path) -> Project:
    """Look into an untrusted project. All but the content of large files is checked, and nothing written.

    Raises `StateError` if it is no project, damaged, of a newer version, or has anything in it that a project
    does not have.
    """
    place = Path(path)
    check_readable(place, StateError, wanted=f"a {SUFFIX} file")
    if place.is_dir():
        raise StateError(f"{place} is a folder; pass a {SUFFIX} file")
    with _opened(place) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        sheet = _read_json(archive, _LIST)
        files = sheet.get("files") if isinstance(sheet, dict) else None
        found = sheet.get("dreammotion_project") if isinstance(sheet, dict) else None
        if is_whole(found, PROJECT_FORMAT + 1, 2**31):
            raise StateError(
                f"{place.name} is of a newer version of DreamMotion (format {found}, here {PROJECT_FORMAT}); "
                "update"
            )
        if not is_whole(found, PROJECT_FORMAT, PROJECT_FORMAT) or not isinstance(files, dict):
            raise StateError(f"{place.name} is no project of DreamMotion; {_ADVICE}")
        _check_files(place, entries, files)
        numbers = {int(match[1]) for name in files if (match := _NAMES.fullmatch(name)) and match[1]}
        if numbers != {*range(1, len(numbers) + 1)} or not 1 <= len(numbers) <= MOST_EDITS:
            raise StateError(f"{place.name} does not hold 1 to {MOST_EDITS} numbered edits; {_ADVICE}")
        records = []
        for number in sorted(numbers):
            try:
                records.append(EditRecord.from_dict(_read_json(archive, f"edit-{number}/record.json")))
                kept = f"edit-{number}/state/request.json"
                if kept in files and records[-1].id != EditRecord.of_request(_read_json(archive, kept)).id:
                    raise StateError(f"its states are of another edit; {_ADVICE}")
            except StateError as error:
                raise StateError(f"edit {number} of {place.name}: {error}") from error
        _check_source(place, sheet.get("source"), files)
    return Project(place, sheet["source"], tuple(records), files)


def _check_source(place: Path, source: Any, files: Mapping[str, Any]) -> None:
    """One clip at most, and the one that is described."""
    is_described = isinstance(source, dict) and {*source} == {"name", "bytes", "sha256"}
    kept = [name for name in files if name.startswith("source.")]
    has_folder = any(name.startswith("source/") for name in files)
    if (
        len(kept) + has_folder > 1
        or (kept and not is_described)
        or (source is not None and not (is_described and all(map(is_fact, source.values()))))
        or any(source[fact] != files[name][fact] for name in kept for fact in ("bytes", "sha256"))
    ):
        raise StateError(f"{place.name} does not say which clip it holds; {_ADVICE}")


def _check_files(place: Path, entries: Mapping[str, zipfile.ZipInfo], files: Mapping[str, Any]) -> None:
    """The archive holds what its list says and nothing else, uncompressed, within its own size."""
    if {*entries} != {*files, _LIST}:
        stranger = next(iter({*entries} ^ {*files, _LIST}))
        raise StateError(f"{place.name} and its list do not agree about {stranger[:80]!r}; {_ADVICE}")
    for name, facts in files.items():
        if not _NAMES.fullmatch(name):
            raise StateError(f"{place.name} holds {name[:80]!r}, which is not part of a project; {_ADVICE}")
        if (
            not isinstance(facts, dict)
            or {*facts} != {"bytes", "sha256"}
            or facts["bytes"] != entries[name].file_size
            or not isinstance(facts["sha256"], str)
        ):
            raise StateError(f"{place.name} and its list do not agree about {name}; {_ADVICE}")
    packed = [entry for entry in entries.values() if entry.compress_size != entry.file_size]
    if packed or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise StateError(f"{place.name} is compressed, which a project never is; {_ADVICE}")
    if sum(entry.file_size for entry in entries.values()) > place.stat().st_size:
        raise StateError(f"{place.name} declares more than it holds; {_ADVICE}")


def _read_json(archive: zipfile.ZipFile, name: str) -> Any:
    if name not in archive.namelist():
        raise StateError(f"there is no {name} in it; {_ADVICE}")
    _check_size(archive, name, limit=LARGEST_RECORD)
    with archive.open(name) as entry:
        return read_json(entry.read(LARGEST_RECORD).decode("utf-8", errors="replace"), name=name)


def _contents(edits: Sequence[ProjectEdit], source: Path | None) -> Iterator[tuple[str, IO[bytes]]]:
    if source is not None and source.is_dir():
        for index, path in enumerate(png_files(source, VideoError)):
            yield f"source/{picture_name(index)}", path.open("rb")
    elif source is not None:
        suffix = source.suffix.lower()
        yield f"source{suffix if re.fullmatch(r'[.][a-z0-9]{1,8}', suffix) else '.video'}", source.open("rb")
    for number, edit in enumerate(edits, start=1):
        place = f"edit-{number}"
        text = json.dumps(edit.record.to_dict(), allow_nan=False)
        yield f"{place}/record.json", io.BytesIO(text.encode())
        if edit.result is not None:
            yield f"{place}/result.mp4", edit.result.open("rb")
        if edit.state is not None:
            for path in sorted(edit.state.iterdir()):
                if re.fullmatch(_STATE_FILE, path.name, re.ASCII):
                    yield f"{place}/state/{path.name}", path.open("rb")


def _unpack(archive: zipfile.ZipFile, name: str, target: Path, facts: Mapping[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(name) as entry, target.open("xb") as file:
        found = _copied(entry, file.write)
    if found != facts:
        raise StateError(f"{name} in {Path(str(archive.filename)).name} is damaged; get the project again")


def _copied(content: IO[bytes], write: Callable[[bytes], object]) -> dict[str, Any]:
    """Number and digest of the bytes that were copied."""
    digest, size = hashlib.sha256(), 0
    while piece := content.read(_PIECE):
        digest.update(piece)
        size += len(piece)
        write(piece)
    return {"bytes": size, "sha256": digest.hexdigest()}
