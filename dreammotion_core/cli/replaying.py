"""The commands that make an edit again from its record, compare it, and keep edits in projects."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path

import torch

from dreammotion_core.cli.main import (
    check_places,
    check_results,
    follow_edit,
    is_same_place,
    load_pipeline,
    say,
    settle,
    write_results,
)
from dreammotion_core.cli.options import PRECISIONS
from dreammotion_core.errors import ConfigError, InputError, StateError, VideoError
from dreammotion_core.media.atomic import check_readable
from dreammotion_core.models.catalog import list_models
from dreammotion_core.pipeline import DreamMotionPipeline
from dreammotion_core.project import SUFFIX, ProjectEdit, gather_edits, open_project, pack_project
from dreammotion_core.receipt import (
    Change,
    EditRecord,
    Verification,
    check_comparable,
    is_whole,
    read_record,
    verify_result,
)
from dreammotion_core.values import Video


def replay(options: argparse.Namespace) -> None:
    """Make the edit of a record again, and write its results.

    Raises:
        StateError: if the result would be another, and that is not allowed.
    """
    if options.out is None:
        options.out = Path(f"{options.record.resolve().stem}-again.mp4")
        if options.out.exists():
            raise ConfigError(f"{options.out} is there already; name another place with --out")
        check_places(options)
    state = check_results(options)
    with _given_edit(options) as (edit, source), state or nullcontext():
        pipe, video, changes = _surroundings_of(edit.record, source, options)
        differing = [change for change in changes if change.part not in ("machine", "version")]
        if differing and not options.anyway:
            raise StateError(
                f"the result would be another: {'; '.join(change.text for change in differing)}; "
                "pass what it was made from, or allow it (--anyway)"
            )
        for change in changes:
            say(f"Note: {change.text}")
        with closing(pipe.stream(video, **edit.record.arguments, state=state)) as events:
            output = follow_edit(events, video, options)
        write_results(options, output, source=source)


def verify(options: argparse.Namespace) -> Verification:
    """Make the edit of a result again, and compare them."""
    with _given_edit(options) as (edit, source):
        check_comparable(edit.record, result=edit.result)
        pipe, video, changes = _surroundings_of(edit.record, source, options)
        arguments = edit.record.arguments
        arguments["config"] = arguments["config"].with_changes(preview_interval=0)
        try:
            with closing(pipe.stream(video, **arguments)) as events:
                output = follow_edit(events, video, options)
        except InputError as error:
            if not changes:
                raise
            return Verification(len(video), changes, problem=str(error))
        return verify_result(output, record=edit.record, result=edit.result, changes=changes)


@contextmanager
def _given_edit(options: argparse.Namespace) -> Iterator[tuple[ProjectEdit, Path]]:
    """The edit that was named, of a project too, and the clip; the process works as it was worked on then."""
    place, given = options.record, getattr(options, "given_receipt", None)
    with ExitStack() as stack:
        source = options.source
        if place.suffix.lower() == SUFFIX:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dreammotion-")))
            project = open_project(place)
            if not 1 <= options.edit <= len(project.records):
                raise ConfigError(
                    f"there is no edit {options.edit}; {place.name} holds {len(project.records)}"
                )
            kept, edits = project.unpack(folder / "project")
            edit, source = edits[options.edit - 1], source or kept
        else:
            if options.edit != 1:
                raise ConfigError(f"--edit chooses an edit of a project ({SUFFIX}); leave it out")
            is_film = place.suffix.lower() != ".json" and not place.is_dir()
            edit = ProjectEdit(read_record(given or place), place if is_film else None)
        if source is None:
            raise ConfigError("nothing says which clip was edited; name it with --source")
        check_readable(source, VideoError, wanted="the clip that was edited")
        stack.enter_context(_as_before(options, edit.record))
        yield edit, source


@contextmanager
def _as_before(options: argparse.Namespace, record: EditRecord) -> Iterator[None]:
    """Take model, precision, device and number of threads from a record, where no option says otherwise."""
    machine, name = record.asked["machine"], record.asked["model"].get("name")
    if options.model == "auto":
        known = {spec.name: spec for spec in list_models()}
        if name not in known:
            raise ConfigError(
                f"the model {name} is not known by name; name its folder or hub id with --model"
            )
        # A file from elsewhere does not start a download.
        if not known[name].is_ready():
            raise ConfigError(f"the model {name} is not on this machine; --model {name} allows its download")
        options.model = name
    if options.precision == "auto" and machine.get("precision") in PRECISIONS:
        options.precision = machine["precision"]
    if options.device == "auto" and machine.get("device") == "cpu":
        options.device = "cpu"
    settle(options)
    threads, here = machine.get("threads"), torch.get_num_threads()
    try:
        if is_whole(threads, 1, os.cpu_count() or 1):
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(here)


def _surroundings_of(
    record: EditRecord, source: Path, options: argparse.Namespace
) -> tuple[DreamMotionPipeline, Video, tuple[Change, ...]]:
    video, pipe = record.read_source(source), load_pipeline(options)
    return pipe, video, record.changes(video, pipe.backend)


def open_or_pack(options: argparse.Namespace) -> Iterator[str]:
    """Write a project, or look into one and unpack it; gives what to tell the user."""
    if options.action == "pack":
        edits = gather_edits(options.items)
        if any(is_same_place(options.project, path) for path in options.items):
            raise ConfigError(f"{options.project} would be written over what is packed; choose another name")
        pack_project(
            options.project, edits=edits, source=options.source, has_source=not options.without_source
        )
        yield (f"{options.project}: {len(edits)} edits, {options.project.stat().st_size / 1e6:.1f} MB")
        return
    if options.items:
        raise ConfigError("project open takes one file; name a folder for its content with --out")
    project = open_project(options.project)
    clip = "not in it" if not project.has_source else "in it"
    named = "" if project.source is None else f" {project.source['name']!r}"
    yield (f"{options.project}: the clip{named} is {clip}")
    for index, record in enumerate(project.records):
        asked, steps = record.asked, project.steps(index)
        prompts = ", ".join(repr(each["target_prompt"]) for each in asked["objects"])
        yield (
            f"edit {index + 1}: {asked['source_prompt']!r} to {prompts}, model {asked['model'].get('name')}, "
            f"seed {asked['settings'].get('seed')}; states {', '.join(map(str, steps)) or 'none'}, "
            f"{'finished' if record.frames else 'unfinished'}"
        )
    if options.out is not None:
        project.unpack(options.out)
        yield (f"{options.out}: everything is there")
