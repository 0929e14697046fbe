"""Measures of an edit: pure functions on frames, masks and tracks, and loaders of the models behind some.

`evaluate_edit` works out all that a clip allows, `MeasuredEdit` one measure after the other; each measure can
also be called by itself.
"""

from dreammotion_core.metrics.background import BackgroundProof, background_proof
from dreammotion_core.evaluation.judges import EMBEDDED_JUDGE, ClipJudge, judge_name
from dreammotion_core.metrics.colour_jitter import colour_jitter
from dreammotion_core.metrics.cotracker import CoTracker
from dreammotion_core.metrics.evaluation import evaluate_edit
from dreammotion_core.metrics.fidelity import psnr, ssim
from dreammotion_core.metrics.instruments import Instruments
from dreammotion_core.metrics.mask_overlap import region_similarity
from dreammotion_core.metrics.measured_clip import MeasuredClip
from dreammotion_core.evaluation.measuring import MeasuredEdit
from dreammotion_core.metrics.measurement import Measurement, figure
from dreammotion_core.evaluation.motion import motion_fidelity, step_agreement
from dreammotion_core.metrics.perceptual import FrameLpips, backbone_path
from dreammotion_core.metrics.registry import METRICS, Metric, known_metrics
from dreammotion_core.metrics.tracks import PointTracker, PointTracks, grid_points
from dreammotion_core.metrics.tracks_flow import FlowTracker
from dreammotion_core.metrics.warping import warping_error

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
