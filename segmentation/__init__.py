"""Clicks become masks: select an object on one frame of a clip and follow it through the others.

Frames are uint8 (F, H, W, 3) RGB, masks bool (H, W), coordinates pixels of the source video with x to
the right and y down. The package stands alone: it knows nothing of what the masks are for.
"""

from segmentation.base import SegmentationSession, Segmenter, SegmenterSpec
from segmentation.clicks import Box, Click, Selection
from segmentation.errors import (
    CheckpointError,
    FramesError,
    SegmentationError,
    SelectionError,
    UnknownSegmenterError,
)
from segmentation.overlay import describe_problem, paint_mask
from segmentation.registry import list_segmenters, load_segmenter

__all__ = [
    "Box",
    "CheckpointError",
    "Click",
    "FramesError",
    "SegmentationError",
    "SegmentationSession",
    "Segmenter",
    "SegmenterSpec",
    "Selection",
    "SelectionError",
    "UnknownSegmenterError",
    "describe_problem",
    "list_segmenters",
    "load_segmenter",
    "paint_mask",
]
