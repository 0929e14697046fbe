"""How good is an edit? Metrics of frames, masks and tracks, the models behind some, and the ablation board.

`evaluate_edit` computes every metric that a clip allows, `MeasuredEdit` one after the other. Each metric is
also a function of its own.
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
