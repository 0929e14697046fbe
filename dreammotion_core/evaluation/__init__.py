"""How good is an edit? Metrics of frames, masks and tracks, the models behind some, and the ablation board.

`evaluate_edit` computes every metric that a clip allows, `MeasuredEdit` one after the other. Each metric is
also a function of its own.
"""

import lazy_loader

__getattr__, __dir__, _ = lazy_loader.attach_stub(__name__, __file__)

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
