"""DreamMotion: rewrite the appearance of an object in a video, keeping everything else.

pipe = DreamMotionPipeline.from_pretrained("toybox")
output = pipe(read_video("clip.mp4"), source_prompt="a red car", target_prompt="a blue car", mask=mask)
write_video(output.video, "edited.mp4")
"""

from dreammotion_core.backends.base import ModelSpec
from dreammotion_core.backends.load_options import LoadOptions
from dreammotion_core.backends.registry import list_models
from dreammotion_core.checks import check_prompts
from dreammotion_core.config import PRESETS, EditConfig
from dreammotion_core.errors import (
    BackendError,
    ConfigError,
    DreamMotionError,
    InputError,
    KeyLayoutError,
    KeySiteError,
    MaskError,
    ModelLoadError,
    NumericsError,
    OutOfMemoryError,
    OutputError,
    PromptError,
    VideoError,
)
from dreammotion_core.events import EditEvent, Finished, Preview, StageDone, Started, StepDone
from dreammotion_core.frame_folders import read_frames, write_frames
from dreammotion_core.mask_files import read_masks, read_objects, write_masks
from dreammotion_core.mask_levels import GivenMasks, GivenObjects
from dreammotion_core.masks import feathered_alpha, grown_mask
from dreammotion_core.pipeline import DreamMotionPipeline
from dreammotion_core.receipt import build_receipt, write_receipt
from dreammotion_core.source_cache import DiskSourceCache, MemorySourceCache, SourceCache
from dreammotion_core.values import AudioTrack, EditOutput, Notice, StepLosses, Video
from dreammotion_core.video_io import probe_video, read_video, write_video

__all__ = [
    "PRESETS",
    "AudioTrack",
    "BackendError",
    "ConfigError",
    "DiskSourceCache",
    "DreamMotionError",
    "DreamMotionPipeline",
    "EditConfig",
    "EditEvent",
    "EditOutput",
    "Finished",
    "GivenMasks",
    "GivenObjects",
    "InputError",
    "KeyLayoutError",
    "KeySiteError",
    "LoadOptions",
    "MaskError",
    "MemorySourceCache",
    "ModelLoadError",
    "ModelSpec",
    "Notice",
    "NumericsError",
    "OutOfMemoryError",
    "OutputError",
    "Preview",
    "PromptError",
    "SourceCache",
    "StageDone",
    "Started",
    "StepDone",
    "StepLosses",
    "Video",
    "VideoError",
    "build_receipt",
    "check_prompts",
    "feathered_alpha",
    "grown_mask",
    "list_models",
    "probe_video",
    "read_frames",
    "read_masks",
    "read_objects",
    "read_video",
    "write_frames",
    "write_masks",
    "write_receipt",
    "write_video",
]
