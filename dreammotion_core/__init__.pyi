# What `__init__.py` loads lazily, and where each name lives.

__version__: str

from .config import PRESETS as PRESETS, EditConfig as EditConfig
from .errors import (
    BackendError as BackendError,
    ConfigError as ConfigError,
    DeviceLostError as DeviceLostError,
    DreamMotionError as DreamMotionError,
    InputError as InputError,
    KeyLayoutError as KeyLayoutError,
    KeySiteError as KeySiteError,
    MaskError as MaskError,
    MetricError as MetricError,
    ModelLoadError as ModelLoadError,
    NumericsError as NumericsError,
    OutOfMemoryError as OutOfMemoryError,
    OutputError as OutputError,
    PromptError as PromptError,
    StateError as StateError,
    VideoError as VideoError,
)
from .evaluation import (
    EMBEDDED_JUDGE as EMBEDDED_JUDGE,
    ClipJudge as ClipJudge,
    Instruments as Instruments,
    MeasuredClip as MeasuredClip,
    MeasuredEdit as MeasuredEdit,
    Measurement as Measurement,
    evaluate_edit as evaluate_edit,
    judge_name as judge_name,
)
from .evaluation.ablation import (
    EditSource as EditSource,
    VariantEvent as VariantEvent,
    VariantResult as VariantResult,
    run_ablation as run_ablation,
)
from .evaluation.catalog import (
    ABLATION as ABLATION,
    METRICS as METRICS,
    VARIANTS as VARIANTS,
    Metric as Metric,
    Variant as Variant,
)
from .evaluation.board import (
    SYNCHRONISE as SYNCHRONISE,
    AblationBoard as AblationBoard,
    ablation_board as ablation_board,
    write_ablation_board as write_ablation_board,
)
from .finishing import feathered_alpha as feathered_alpha, grown_mask as grown_mask
from .media.frames import read_frames as read_frames, write_frames as write_frames
from .media.mask_levels import (
    GivenMasks as GivenMasks,
    GivenObjects as GivenObjects,
    MaskStream as MaskStream,
)
from .media.masks import (
    read_masks as read_masks,
    read_objects as read_objects,
    write_masks as write_masks,
    write_objects as write_objects,
)
from .media.video import (
    length_words as length_words,
    probe_video as probe_video,
    read_clip as read_clip,
    read_video as read_video,
    shortest_length as shortest_length,
    write_video as write_video,
)
from .memory import usable_memory as usable_memory
from .method.source_cache import (
    DiskSourceCache as DiskSourceCache,
    MemorySourceCache as MemorySourceCache,
    SourceCache as SourceCache,
)
from .models.catalog import list_models as list_models
from .models.download import ModelDownload as ModelDownload, download_model as download_model
from .models.placement import LoadOptions as LoadOptions
from .pipeline import DreamMotionPipeline as DreamMotionPipeline, check_prompts as check_prompts
from .preflight import (
    Preflight as Preflight,
    Trial as Trial,
    describe_download as describe_download,
    describe_memory as describe_memory,
    describe_preflight as describe_preflight,
    measure_edit as measure_edit,
)
from .project import (
    Project as Project,
    ProjectEdit as ProjectEdit,
    gather_edits as gather_edits,
    open_project as open_project,
    pack_project as pack_project,
)
from .receipt import (
    Change as Change,
    EditRecord as EditRecord,
    Verification as Verification,
    build_receipt as build_receipt,
    read_record as read_record,
    verify_result as verify_result,
    write_receipt as write_receipt,
)
from .spec import ModelSpec as ModelSpec
from .states import (
    EditRequest as EditRequest,
    RequestedObject as RequestedObject,
    StateFolder as StateFolder,
)
from .surroundings import (
    AUTOMATIC as AUTOMATIC,
    Choice as Choice,
    Machine as Machine,
    Place as Place,
    Surroundings as Surroundings,
    best_first as best_first,
    find_surroundings as find_surroundings,
    settle_after_fork as settle_after_fork,
    settle_before_fork as settle_before_fork,
)
from .values import (
    AudioTrack as AudioTrack,
    EditEvent as EditEvent,
    EditOutput as EditOutput,
    Finished as Finished,
    Notice as Notice,
    Preview as Preview,
    StageDone as StageDone,
    Started as Started,
    StepDone as StepDone,
    StepLosses as StepLosses,
    Video as Video,
)
