"""DreamMotion: rewrite the appearance of an object in a video, keeping everything else.

pipe = DreamMotionPipeline.from_pretrained("toybox")
output = pipe(read_video("clip.mp4"), source_prompt="a red car", target_prompt="a blue car", mask=mask)
write_video(output.video, "edited.mp4")
"""

from dreammotion_core.config import PRESETS, EditConfig
from dreammotion_core.errors import (
    BackendError,
    ConfigError,
    DeviceLostError,
    DreamMotionError,
    InputError,
    KeyLayoutError,
    KeySiteError,
    MaskError,
    MetricError,
    ModelLoadError,
    NumericsError,
    OutOfMemoryError,
    OutputError,
    PromptError,
    VideoError,
)
from dreammotion_core.evaluation import (
    EMBEDDED_JUDGE,
    METRICS,
    ClipJudge,
    Instruments,
    MeasuredClip,
    MeasuredEdit,
    Measurement,
    Metric,
    evaluate_edit,
    judge_name,
)
from dreammotion_core.evaluation.ablation import (
    ABLATION,
    VARIANTS,
    EditSource,
    Variant,
    VariantEvent,
    VariantResult,
    run_ablation,
)
from dreammotion_core.evaluation.board import SYNCHRONISE, AblationBoard, ablation_board, write_ablation_board
from dreammotion_core.masks import feathered_alpha, grown_mask
from dreammotion_core.media.frames import read_frames, write_frames
from dreammotion_core.media.mask_levels import GivenMasks, GivenObjects, MaskStream
from dreammotion_core.media.masks import read_masks, read_objects, write_masks, write_objects
from dreammotion_core.media.video import (
    length_words,
    probe_video,
    read_clip,
    read_video,
    shortest_length,
    write_video,
)
from dreammotion_core.memory import usable_memory
from dreammotion_core.method.source_cache import DiskSourceCache, MemorySourceCache, SourceCache
from dreammotion_core.models.catalog import list_models
from dreammotion_core.models.download import ModelDownload, download_model
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.pipeline import DreamMotionPipeline, check_prompts
from dreammotion_core.preflight import Preflight, Trial, describe_memory, describe_preflight, measure_edit
from dreammotion_core.receipt import build_receipt, write_receipt
from dreammotion_core.spec import ModelSpec
from dreammotion_core.values import (
    AudioTrack,
    EditEvent,
    EditOutput,
    Finished,
    Notice,
    Preview,
    StageDone,
    Started,
    StepDone,
    StepLosses,
    Video,
)

__all__ = [
    "ABLATION",
    "EMBEDDED_JUDGE",
    "METRICS",
    "PRESETS",
    "SYNCHRONISE",
    "VARIANTS",
    "AblationBoard",
    "AudioTrack",
    "BackendError",
    "ClipJudge",
    "ConfigError",
    "DeviceLostError",
    "DiskSourceCache",
    "DreamMotionError",
    "DreamMotionPipeline",
    "EditConfig",
    "EditEvent",
    "EditOutput",
    "EditSource",
    "Finished",
    "GivenMasks",
    "GivenObjects",
    "InputError",
    "Instruments",
    "KeyLayoutError",
    "KeySiteError",
    "LoadOptions",
    "MaskError",
    "MaskStream",
    "MeasuredClip",
    "MeasuredEdit",
    "Measurement",
    "MemorySourceCache",
    "Metric",
    "MetricError",
    "ModelDownload",
    "ModelLoadError",
    "ModelSpec",
    "Notice",
    "NumericsError",
    "OutOfMemoryError",
    "OutputError",
    "Preflight",
    "Preview",
    "PromptError",
    "SourceCache",
    "StageDone",
    "Started",
    "StepDone",
    "StepLosses",
    "Trial",
    "Variant",
    "VariantEvent",
    "VariantResult",
    "Video",
    "VideoError",
    "ablation_board",
    "build_receipt",
    "check_prompts",
    "describe_memory",
    "describe_preflight",
    "download_model",
    "evaluate_edit",
    "feathered_alpha",
    "grown_mask",
    "judge_name",
    "length_words",
    "list_models",
    "measure_edit",
    "probe_video",
    "read_clip",
    "read_frames",
    "read_masks",
    "read_objects",
    "read_video",
    "run_ablation",
    "shortest_length",
    "usable_memory",
    "write_ablation_board",
    "write_frames",
    "write_masks",
    "write_objects",
    "write_receipt",
    "write_video",
]
