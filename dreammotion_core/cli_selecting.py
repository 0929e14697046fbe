"""From what the command line points at to masks. Deliberately absent: messages; they are returned."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from dreammotion_core.cli_arguments import given_device
from dreammotion_core.errors import ConfigError, MaskError
from dreammotion_core.mask_files import read_masks
from dreammotion_core.values import Mask, Video
from segmentation import (
    Box,
    Click,
    Prompt,
    Selection,
    Tracks,
    describe_problem,
    describe_project,
    load_segmenter,
)


@dataclass(frozen=True, eq=False)
class SelectedObject:
    """Masks, and where they come from.

    Attributes:
        masks: (F, H, W) bool.
        notes: what the user should know about them.
        record: for the receipt: ``selection`` and ``segmenter``; empty for masks from a file.
    """

    masks: Mask
    notes: tuple[str, ...]
    record: dict[str, Any]


def given_selection(options: argparse.Namespace) -> Selection:
    """What the options point at on the first frame; it may be empty."""
    clicks = [Click(x, y) for x, y in options.click]
    clicks += [Click(x, y, is_positive=False) for x, y in options.negative_click]
    return Selection(clicks=tuple(clicks), box=Box(*options.box) if options.box else None)


def check_one_way_to_select(options: argparse.Namespace, *, uses_mask: bool) -> None:
    """Refuse an edit of nowhere in particular, and one of two places.

    Raises:
        ConfigError: unless exactly one of pointing, a mask file and the whole frame was chosen.
    """
    if options.object_index is not None and options.mask is None:
        raise ConfigError("--object chooses an object of a mask file; give the file with --mask")
    ways = (not given_selection(options).is_empty, options.mask is not None, not uses_mask)
    if sum(ways) != 1:
        given = "nothing says" if not any(ways) else "more than one option says"
        raise ConfigError(
            f"{given} where to edit; give --click or --box, or --mask, or --no-mask for the whole frame"
        )


def read_given_mask(options: argparse.Namespace, *, video: Video) -> SelectedObject:
    """The mask file, fitted to the clip.

    Raises:
        MaskError: if it cannot be read or does not fit.
    """
    given = read_masks(
        options.mask, num_frames=len(video), size=video.size, object_index=options.object_index
    )
    return SelectedObject(given.masks, tuple(notice.text for notice in given.notices), {})


def follow_selection(options: argparse.Namespace, *, video: Video) -> SelectedObject:
    """The object that was pointed at, followed to the ends of its scene.

    Raises:
        MaskError: if nothing, or nearly everything, is selected.
    """
    segmenter = load_segmenter(options.segmenter, checkpoint=options.checkpoint, device=given_device(options))
    tracks, prompt = Tracks(segmenter.open(video.frames), video.frames), Prompt(given_selection(options))
    project = tracks.new_project().add_object().with_prompt(1, prompt)
    problem = describe_problem(tracks.preview(prompt))
    if problem is not None:
        raise MaskError(problem)
    masks = np.zeros(video.frames.shape[:3], np.bool_)
    masks[0] = tracks.preview(prompt)
    with tqdm(total=tracks.num_missing(project), desc="select", unit="frame", disable=None) as bar:
        for found in tracks.update(project):
            masks[found.frame_index] = found.mask
            bar.update()
    record = {"selection": describe_project(project), "segmenter": segmenter.spec.name}
    return SelectedObject(masks, _notes(tracks, masks), record)


def _notes(tracks: Tracks, masks: Mask) -> tuple[str, ...]:
    end = tracks.cuts[0] if tracks.cuts else len(masks)
    lost = int((~masks[:end].any(axis=(1, 2))).sum())
    notes = []
    if lost:
        notes.append(f"the object was not found on {lost} of {end} frames; those stay as they are.")
    if end < len(masks):
        notes.append(
            f"another scene begins at frame {end + 1}; the object was followed up to there, and the "
            f"{len(masks) - end} frames after it stay as they are. Work on each scene by itself: "
            "choose it with --start-frame and --num-frames."
        )
    return tuple(notes)
