# What `__init__.py` loads lazily, and where each name lives.

from .base import (
    Readiness as Readiness,
    SegmentationSession as SegmentationSession,
    Segmenter as Segmenter,
    SegmenterSpec as SegmenterSpec,
)
from .catalog import (
    download_weights as download_weights,
    list_segmenters as list_segmenters,
    load_segmenter as load_segmenter,
    weights_reachable as weights_reachable,
)
from .clicks import Box as Box, Click as Click, Selection as Selection
from .cuts import find_cuts as find_cuts
from .errors import (
    CheckpointError as CheckpointError,
    FramesError as FramesError,
    SceneCutWarning as SceneCutWarning,
    SegmentationError as SegmentationError,
    SelectionError as SelectionError,
    UnknownSegmenterError as UnknownSegmenterError,
)
from .health import (
    FrameHealth as FrameHealth,
    Level as Level,
    assess_masks as assess_masks,
    next_doubtful as next_doubtful,
    review_object as review_object,
)
from .masks import (
    describe_problem as describe_problem,
    fill_box as fill_box,
    fill_holes as fill_holes,
    invert as invert,
    paint_mask as paint_mask,
    smooth_in_time as smooth_in_time,
)
from .project import (
    AddedObjects as AddedObjects,
    History as History,
    PackedMask as PackedMask,
    Project as Project,
    Prompt as Prompt,
    TrackedObject as TrackedObject,
    add_given_objects as add_given_objects,
    describe_project as describe_project,
)
from .tracks import (
    TrackedMask as TrackedMask,
    Tracks as Tracks,
    UnreachedScene as UnreachedScene,
    begin_prompt as begin_prompt,
)
from .weights import Download as Download
