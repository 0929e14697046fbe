"""From clicks, boxes and mask files on the command line to masks; what the user should know is returned."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dreammotion_core.cli.options import given_masks
from dreammotion_core.errors import ConfigError, MaskError
from dreammotion_core.media.mask_levels import MaskStream
from dreammotion_core.receipt import describe_file
from dreammotion_core.values import Mask, Video
from segmentation import (
    Box,
    Click,
    Project,
    Prompt,
    Segmenter,
    Selection,
    SelectionError,
    Tracks,
    describe_problem,
    describe_project,
    download_weights,
    load_segmenter,
)

_OBJECT = 1  # number of the one object on the command line


@dataclass(frozen=True, eq=False)
class SelectedObject:
    """Masks and their origin."""

    masks: Mask  # (F, H, W) bool
    notes: tuple[str, ...]
    record: dict[str, Any]  # for the receipt


class FollowedObject:
    """An object followed through the clip, with its pixels on every frame; its masks are kept packed."""

    def __init__(self, tracks: Tracks, project: Project, *, segmenter: str) -> None:
        self._tracks = tracks
        self._project = project
        self.areas = tuple(int(mask.sum()) for mask in self._masks())
        self.notes = _notes(tracks, project, self.areas)
        self.record = {"selection": describe_project(project), "segmenter": segmenter}

    @property
    def coverage(self) -> float:
        """Share of all pixels that the object covers, in [0, 1]."""
        return sum(self.areas) / self._tracks.frames[..., 0].size

    def stream(self) -> MaskStream:
        """The masks one at a time."""
        return MaskStream(self._tracks.frames.shape[:3], np.dtype(np.bool_), self._masks())

    def selected(self) -> SelectedObject:
        """The masks all at once."""
        return SelectedObject(np.stack(list(self._masks())), self.notes, self.record)

    def _masks(self) -> Iterator[NDArray[np.bool_]]:
        for index in range(len(self._tracks.frames)):
            yield self._tracks.mask(self._project, number=_OBJECT, frame_index=index)


def given_selections(options: argparse.Namespace) -> tuple[Selection, ...]:
    """The selections of the options, one a frame, in order; a `SelectionError` for two boxes on a frame."""
    clicks: dict[int, list[Click]] = {}
    boxes: dict[int, Box] = {}
    for is_positive, pointings in ((True, options.click), (False, options.negative_click)):
        for index, (x, y) in pointings:
            clicks.setdefault(index, []).append(Click(x, y, is_positive))
    for index, corners in options.box:
        if index in boxes:
            raise SelectionError(f"frame {index} has two boxes; give one box on a frame")
        boxes[index] = Box(*corners)
    return tuple(
        Selection(index, tuple(clicks.get(index, ())), boxes.get(index))
        for index in sorted(clicks.keys() | boxes.keys())
    )


def check_one_way_to_select(options: argparse.Namespace, *, uses_mask: bool) -> None:
    """Raise a `ConfigError` unless one of clicks or boxes, a mask and the whole frame was chosen."""
    if options.object_index is not None and options.mask is None:
        raise ConfigError("--object chooses an object of a mask file; give the file with --mask")
    ways = (bool(given_selections(options)), options.mask is not None, not uses_mask)
    if sum(ways) != 1:
        given = "nothing says" if not any(ways) else "more than one option says"
        raise ConfigError(
            f"{given} where to edit; give --click or --box, or --mask, or --no-mask for the whole frame"
        )


def read_given_mask(options: argparse.Namespace, *, video: Video) -> SelectedObject:
    """The mask file, fitted to the clip; a `MaskError` if it cannot be read or does not fit."""
    given = given_masks(options.mask, video=video, object_index=options.object_index, option="--object")
    record = {"mask_file": describe_file(options.mask), "mask_object": options.object_index}
    return SelectedObject(given.masks, tuple(notice.text for notice in given.notices), record)


def follow_selection(options: argparse.Namespace, *, video: Video) -> FollowedObject:
    """The object of the clicks and boxes, followed to the ends of its scenes.

    Raises:
        SelectionError: if there are no clicks or boxes, or they do not fit the clip.
        MaskError: if nothing, or nearly everything, is selected on a frame.
    """
    segmenter = _segmenter(options)
    tracks = Tracks(segmenter.open(video.frames), video.frames)
    project = tracks.new_project().add_object(number=_OBJECT)
    for selection in given_selections(options) or (Selection(),):
        prompt = Prompt(selection)
        problem = describe_problem(tracks.preview(prompt))
        if problem is not None:
            where = f"on frame {selection.frame_index}: " if selection.frame_index else ""
            raise MaskError(where + problem)
        project = project.with_prompt(_OBJECT, prompt)
    with tqdm(total=tracks.num_missing(project), desc="select", unit="frame", disable=None) as bar:
        for _ in tracks.update(project):
            bar.update()
    return FollowedObject(tracks, project, segmenter=segmenter.spec.name)


def _segmenter(options: argparse.Namespace) -> Segmenter:
    if options.checkpoint is None:
        with tqdm(desc="download", unit="B", unit_scale=True, disable=None, leave=False) as bar:
            for progress in download_weights(options.segmenter):
                bar.total = progress.total_bytes
                bar.update(progress.received_bytes - bar.n)
    return load_segmenter(options.segmenter, checkpoint=options.checkpoint, device=options.device)


def _notes(tracks: Tracks, project: Project, areas: tuple[int, ...]) -> tuple[str, ...]:
    unreached = [scene.within for scene in tracks.unreached_scenes(project)]
    elsewhere = {index for scene in unreached for index in scene}
    lost = sum(area == 0 for index, area in enumerate(areas) if index not in elsewhere)
    notes = []
    if lost:
        followed = len(areas) - len(elsewhere)
        notes.append(f"the object was not found on {lost} of {followed} frames; those stay as they are.")
    if unreached:
        listed = ", ".join(f"{scene.start} to {scene.stop - 1}" for scene in unreached)
        notes.append(
            f"nothing is followed over a scene cut: frames {listed} show other scenes and stay as they are. "
            f"If the object is in one of them, point at it there too, for example with "
            f"--click X,Y@{unreached[0].start}."
        )
    return tuple(notes)
