"""Clicks become masks: select objects on frames of a clip and follow them through the others.

    frames = ...                                            # (F, H, W, 3) uint8 RGB
    tracks = Tracks(load_segmenter().open(frames), frames)
    history = History(tracks.new_project()).do(lambda project: project.add_object("the car"))
    prompt = Prompt(Selection(3, (Click(46, 81),)))
    history = history.do(lambda project: project.with_prompt(1, prompt))
    for found in tracks.update(history.present):            # streams; closing it cancels
        ...                                                 # found.frame_index, .number, .mask
    health = review_object(tracks, project=history.present, number=1)
    frame = next_doubtful(health, after=3)                  # correct it, update again

Frames are uint8 (F, H, W, 3) RGB, masks bool (H, W), coordinates pixels of the source video with x to
the right and y down. The package stands alone: it knows nothing of what the masks are for.
"""

from segmentation.base import Readiness, SegmentationSession, Segmenter, SegmenterSpec
from segmentation.catalog import download_weights, list_segmenters, load_segmenter
from segmentation.clicks import Box, Click, Selection
from segmentation.cuts import find_cuts
from segmentation.errors import (
    CheckpointError,
    FramesError,
    SceneCutWarning,
    SegmentationError,
    SelectionError,
    UnknownSegmenterError,
)
from segmentation.health import FrameHealth, Level, assess_masks, next_doubtful, review_object
from segmentation.masks import describe_problem, fill_box, fill_holes, invert, paint_mask, smooth_in_time
from segmentation.project import (
    AddedObjects,
    History,
    PackedMask,
    Project,
    Prompt,
    TrackedObject,
    add_given_objects,
    describe_project,
)
from segmentation.tracks import TrackedMask, Tracks, UnreachedScene, begin_prompt
from segmentation.weights import Download

__all__ = [
    "AddedObjects",
    "Box",
    "CheckpointError",
    "Click",
    "Download",
    "FrameHealth",
    "FramesError",
    "History",
    "Level",
    "PackedMask",
    "Project",
    "Prompt",
    "Readiness",
    "SceneCutWarning",
    "SegmentationError",
    "SegmentationSession",
    "Segmenter",
    "SegmenterSpec",
    "Selection",
    "SelectionError",
    "TrackedMask",
    "TrackedObject",
    "Tracks",
    "UnknownSegmenterError",
    "UnreachedScene",
    "add_given_objects",
    "assess_masks",
    "begin_prompt",
    "describe_problem",
    "describe_project",
    "download_weights",
    "fill_box",
    "fill_holes",
    "find_cuts",
    "invert",
    "list_segmenters",
    "load_segmenter",
    "next_doubtful",
    "paint_mask",
    "review_object",
    "smooth_in_time",
]
