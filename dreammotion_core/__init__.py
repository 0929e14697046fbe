"""DreamMotion: rewrite the appearance of an object in a video, keeping everything else.

pipe = DreamMotionPipeline.from_pretrained("toybox")
output = pipe(read_video("clip.mp4"), source_prompt="a red car", target_prompt="a blue car", mask=mask)
write_video(output.video, "edited.mp4")
"""

from dreammotion_core.evaluation.ablation import EditSource, VariantEvent, VariantResult, run_ablation
from dreammotion_core.method.prior import ModelSpec
from dreammotion_core.backends.load_options import LoadOptions
from dreammotion_core.backends.registry import list_models
from dreammotion_core.checks import check_prompts
from dreammotion_core.clip_reading import length_words, read_clip, shortest_length
from dreammotion_core.config import PRESETS, EditConfig
from dreammotion_core.device_memory import usable_memory
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
from dreammotion_core.events import EditEvent, Finished, Preview, StageDone, Started, StepDone
from dreammotion_core.media.frames import read_frames, write_frames
from dreammotion_core.media.masks import read_masks, read_objects, write_masks, write_objects
from dreammotion_core.media.mask_levels import GivenMasks, GivenObjects
from dreammotion_core.mask_streams import MaskStream
from dreammotion_core.masks import feathered_alpha, grown_mask
from dreammotion_core.methods.variants import ABLATION, VARIANTS, Variant
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
from dreammotion_core.models.download import ModelDownload, download_model
from dreammotion_core.pipeline import DreamMotionPipeline
from dreammotion_core.preflight import Preflight, Trial, measure_edit
from dreammotion_core.preflight_words import describe_memory, describe_preflight
from dreammotion_core.receipt import build_receipt, write_receipt
from dreammotion_core.evaluation.board import AblationBoard, ablation_board, write_ablation_board
from dreammotion_core.reports.players import SYNCHRONISE
from dreammotion_core.method.source_cache import DiskSourceCache, MemorySourceCache, SourceCache
from dreammotion_core.values import AudioTrack, EditOutput, Notice, StepLosses, Video
from dreammotion_core.media.video import probe_video, read_video, write_video

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
