# What `__init__.py` loads lazily, and where each name lives.

from .catalog import METRICS as METRICS, Metric as Metric, known_metrics as known_metrics
from .judges import (
    EMBEDDED_JUDGE as EMBEDDED_JUDGE,
    ClipJudge as ClipJudge,
    FrameLpips as FrameLpips,
    backbone_path as backbone_path,
    judge_name as judge_name,
)
from .measuring import (
    Instruments as Instruments,
    MeasuredClip as MeasuredClip,
    MeasuredEdit as MeasuredEdit,
    Measurement as Measurement,
    evaluate_edit as evaluate_edit,
    figure as figure,
)
from .motion import (
    CoTracker as CoTracker,
    FlowTracker as FlowTracker,
    PointTracker as PointTracker,
    PointTracks as PointTracks,
    grid_points as grid_points,
    motion_fidelity as motion_fidelity,
    step_agreement as step_agreement,
    warping_error as warping_error,
)
from .pixels import (
    BackgroundProof as BackgroundProof,
    background_proof as background_proof,
    colour_jitter as colour_jitter,
    psnr as psnr,
    region_similarity as region_similarity,
    ssim as ssim,
)
