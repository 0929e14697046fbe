"""Measures of an edit: pure functions on frames, masks and tracks, and loaders of the models behind some.

`evaluate_edit` works out all that a clip allows, `MeasuredEdit` one measure after the other; each measure can
also be called by itself.
"""

from dreammotion_core.evaluation.judges import (
    EMBEDDED_JUDGE,
    ClipJudge,
    FrameLpips,
    backbone_path,
    judge_name,
)
from dreammotion_core.evaluation.measuring import (
    METRICS,
    Instruments,
    MeasuredClip,
    MeasuredEdit,
    Measurement,
    Metric,
    evaluate_edit,
    figure,
    known_metrics,
)
from dreammotion_core.evaluation.motion import (
    CoTracker,
    FlowTracker,
    PointTracker,
    PointTracks,
    grid_points,
    motion_fidelity,
    step_agreement,
    warping_error,
)
from dreammotion_core.evaluation.pixels import (
    BackgroundProof,
    background_proof,
    colour_jitter,
    psnr,
    region_similarity,
    ssim,
)

__all__ = [
    "EMBEDDED_JUDGE",
    "METRICS",
    "BackgroundProof",
    "ClipJudge",
    "CoTracker",
    "FlowTracker",
    "FrameLpips",
    "Instruments",
    "MeasuredClip",
    "MeasuredEdit",
    "Measurement",
    "Metric",
    "PointTracker",
    "PointTracks",
    "backbone_path",
    "background_proof",
    "colour_jitter",
    "evaluate_edit",
    "figure",
    "grid_points",
    "judge_name",
    "known_metrics",
    "motion_fidelity",
    "psnr",
    "region_similarity",
    "ssim",
    "step_agreement",
    "warping_error",
]
