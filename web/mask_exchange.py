"""Masks in and out: those made elsewhere become objects, and the objects' masks become a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from dreammotion_core import GivenObjects, MaskError, read_objects, write_objects
from segmentation import AddedObjects, TrackedObject, add_given_objects
from web.clip import Clip, Snapshot, refined_masks
from web.selection import follow, require_clip
from web.views import Update, download_folder
from web.visitors import VisitorStore

EXPORT_OUTPUTS = ("canvas", "mask_file")
MASK_KINDS = {"PNG": "masks.zip", "NumPy": "masks.npz", "MP4": "masks.mp4"}  # For an export.
MASK_FILE_TYPES = [".zip", ".npz", ".mp4", ".png"]


@dataclass(kw_only=True, eq=False)
class MaskExchange:
    """Imports and exports masks for visitors."""

    visitors: VisitorStore

    def bring_in(self, *, token: str, mask_upload: str | None) -> Update:
        """Add the objects of an uploaded file to those that are selected."""
        clip = require_clip(self.visitors.get(token))
        if not mask_upload:
            raise MaskError(f"no file arrived; choose one of these kinds: {', '.join(MASK_FILE_TYPES)}")
        import_masks(clip, path=Path(mask_upload))
        return {}

    def take_out(self, *, token: str, mask_kind: Any) -> Iterator[Update]:
        """Write the masks of all objects, following them through the clip first if necessary."""
        visitor = self.visitors.get(token)
        clip = require_clip(visitor)
        snapshot = clip.snapshot()
        check_export(snapshot, kind=mask_kind)
        # What is downloaded at the end must not be the file before.
        yield {"mask_file": gr.DownloadButton(value=None)}
        if not snapshot.is_followed:
            with visitor.job() as stop:
                yield from follow(clip, stop)
            if not snapshot.is_followed:
                return
        with download_folder() as folder:
            path, notes = export_masks(snapshot, folder=folder, kind=mask_kind)
            clip.remark(notes)
            yield {"mask_file": gr.DownloadButton(value=str(path))}


def import_masks(clip: Clip, *, path: Path) -> None:
    """Add the objects of a mask file, as one step that can be undone; every frame counts as it is.

    What the visitor should know is among the remarks of the clip until the step is undone. A refused file
    leaves the clip unchanged: `MaskError` if it cannot be read, or its masks do not fit, `SelectionError` if
    these are too many objects.
    """
    given = read_objects(path, num_frames=len(clip.video), size=clip.video.size)
    with clip.changing:
        added = add_given_objects(clip.project, masks=given.masks, names=given.names)
        clip.change(lambda _: added.project)
        clip.pick(min(added.numbers.values()))
        clip.remark(_import_notes(given, added))


def check_export(snapshot: Snapshot, *, kind: Any) -> None:
    """Raise a `MaskError` early if `export_masks` could not write the file."""
    if kind not in MASK_KINDS:
        raise MaskError(f"there is no kind of mask file {kind!r}; choose one of: {', '.join(MASK_KINDS)}")
    num_objects = len(snapshot.selected)
    if not num_objects:
        raise MaskError("nothing is selected; click the object first, so that there are masks to export")
    if num_objects > 1 and MASK_KINDS[kind].endswith(".mp4"):
        raise MaskError(f"a video holds one object, but {num_objects} are selected; choose PNG or NumPy")


def export_masks(snapshot: Snapshot, *, folder: Path, kind: str) -> tuple[Path, list[str]]:
    """Write the masks of all objects, followed before, filled and steadied as the canvas shows them.

    Object 1 alone is written in black and white, others by their numbers; where they overlap and the file
    cannot keep that, a pixel belongs to the one that was changed last. An archive keeps of names what is
    printable. Gives the file, and what it does not hold; raises `MaskError` if there is nothing in the masks.
    """
    objects, video = snapshot.selected, snapshot.video
    masks = {
        tracked.number: refined_masks(snapshot, number=tracked.number, within=range(len(video)))
        for tracked in objects
    }
    if not any(mask.any() for mask in masks.values()):
        raise MaskError("the masks are empty on every frame; select the object anew, then export")
    named = {tracked.number: _portable_name(tracked) for tracked in objects}
    target = folder / MASK_KINDS[kind]
    lost = [notice.text for notice in write_objects(masks, target, fps=video.fps, names=named)]
    if target.suffix == ".zip":
        changed = [tracked for tracked in objects if tracked.name != named[tracked.number]]
        lost += [f"{tracked.name} is called {named[tracked.number]} in the file." for tracked in changed]
    return target, lost


def _portable_name(tracked: TrackedObject) -> str:
    """Blanks for other spaces, printable characters only."""
    spaced = "".join(" " if character.isspace() else character for character in tracked.name)
    printable = "".join(character for character in spaced if character.isprintable()).strip()
    return printable or f"Object {tracked.number}"


def _import_notes(given: GivenObjects, added: AddedObjects) -> list[str]:
    names = [added.project.object(number).name for number in added.numbers.values()]
    listed = names[0] if len(names) == 1 else f"{len(names)} objects: {', '.join(names)}"
    notes = [f"Imported {listed}. Every frame counts as it is; a click on any frame corrects it there."]
    notes += [
        f"Object {old} of the file has the number {new} here, because its own was taken."
        for old, new in added.numbers.items()
        if old != new
    ]
    return notes + [notice.text for notice in given.notices]
