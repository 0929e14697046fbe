"""The manifest of a cascade: where each stage lies and how it is run; and that of the published Show-1.

It is the ``model_index.json`` of a folder. Besides the facts of every manifest it has
``"_class_name": "DreamMotionCascade"``, ``"text"``, ``"key-frames"`` and the later stages of the cascade,
each an object with the attributes of its class below. For example::

    "text": {"source": "../toybox-unet"},
    "key-frames": {"source": "key_frames", "size": [32, 32]},
    "interpolation": {"source": "interpolation", "num_inference_steps": 20, "guidance_scale": 4.0},

Every source is a folder in diffusers' layout with a ``model_index.json`` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from dreammotion_core.config import FLAG, Accepted, Kind, Real, Sides, Whole, check_accepted
from dreammotion_core.errors import ConfigError, ModelLoadError
from dreammotion_core.models.catalog import SHOW_1, SHOW_1_STAGES
from dreammotion_core.spec import ModelSpec

KEY_FRAMES, INTERPOLATION = "key-frames", "interpolation"
SUPER_RESOLUTION, LATENT_SUPER_RESOLUTION = "super-resolution", "latent-super-resolution"
STAGES = (KEY_FRAMES, INTERPOLATION, SUPER_RESOLUTION, LATENT_SUPER_RESOLUTION)
"""Names of the stages in the order in which they run."""

ACCEPTED: Mapping[str, Accepted] = {
    "source": Kind(str, "a folder, or a hub id"),
    "revision": Kind(str, "a commit, or null for a folder", optional=True),
    "max_tokens": Whole(1, 10_000, optional=True),
    "mask_padding": FLAG,
    "size": Sides(1, 10_000),
    "num_inference_steps": Whole(1, 1000),
    "guidance_scale": Real(0.0, 1000.0),
    "noise_level": Whole(0, 999),
    "scale": Whole(1, 100),
    "window": Whole(2, 10_000),
    "strength": Real(0.0, 1.0, above=True),
    "negative_prompt": Kind(str, "text"),
}
"""Attribute of a class below -> its accepted values."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where the weights of a stage lie.

    The source is a path relative to the manifest's folder, within that folder's parent; or a hub id, with the
    pinned commit as its revision. A wrong value, also of a class below, raises `ConfigError`.
    """

    source: str
    revision: str | None = None

    def __post_init__(self) -> None:
        check_accepted(self, accepted=ACCEPTED)


@dataclass(frozen=True, kw_only=True)
class TextSettings(Part):
    """The text encoder of all stages in pixels; without `max_tokens`, the tokenizer's limit holds."""

    max_tokens: int | None = None
    mask_padding: bool = False


@dataclass(frozen=True, kw_only=True)
class KeyFrameSettings(Part):
    """The stage that an edit optimises; its size is the trained (height, width) in pixels."""

    size: tuple[int, int]

    def __post_init__(self) -> None:
        """JSON has no tuples."""
        object.__setattr__(self, "size", tuple(self.size))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class SampledSettings(Part):
    """A stage that draws its frames from noise; a guidance scale up to 1 switches guidance off."""

    num_inference_steps: int
    guidance_scale: float


@dataclass(frozen=True, kw_only=True)
class FirstFrameSettings(SampledSettings):
    """Super-resolution of the first frame by an image model; its input gets the noise of a timestep."""

    noise_level: int


@dataclass(frozen=True, kw_only=True)
class SuperResolutionSettings(SampledSettings):
    """Super-resolution in pixels by `scale` on both sides, with the noise of a timestep on the input.

    At most `window` frames are enlarged at once; the last frame of a window is the first of the next.
    """

    first_frame: FirstFrameSettings
    scale: int
    window: int
    noise_level: int

    def __post_init__(self) -> None:
        """JSON has no classes."""
        if not isinstance(self.first_frame, FirstFrameSettings):
            object.__setattr__(self, "first_frame", read_settings(FirstFrameSettings, self.first_frame))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class LatentSuperResolutionSettings(SampledSettings):
    """Video-to-video by a latent U-Net3D, over a share in (0, 1] of the noise schedule, its strength.

    The negative prompt comes before the user's own.
    """

    strength: float
    negative_prompt: str = ""


Settings = TypeVar("Settings", bound=Part)


@dataclass(frozen=True, kw_only=True)
class CascadeManifest:
    """All stages of a cascade; None for a later stage that it does not have."""

    text: TextSettings
    key_frames: KeyFrameSettings
    interpolation: SampledSettings | None = None
    super_resolution: SuperResolutionSettings | None = None
    latent_super_resolution: LatentSuperResolutionSettings | None = None

    @classmethod
    def read(cls, manifest: Mapping[str, Any]) -> Self:
        """Read a ``model_index.json``; `ModelLoadError` if something is missing, unknown or out of place."""
        later = (SampledSettings, SuperResolutionSettings, LatentSuperResolutionSettings)
        kinds = dict(zip(("text", *STAGES), (TextSettings, KeyFrameSettings, *later), strict=True))
        if missing := [name for name in ("text", KEY_FRAMES) if name not in manifest]:
            raise ModelLoadError(f"the manifest of the cascade lacks {' and '.join(missing)}; fetch it again")
        stages: dict[str, Any] = {
            name.replace("-", "_"): read_settings(kind, manifest[name])
            for name, kind in kinds.items()
            if name in manifest
        }
        result = cls(**stages)
        absent = [name for name in STAGES if name not in result.stages]
        if result.stages != STAGES[: len(result.stages)]:
            raise ModelLoadError(
                f"the cascade has the stages {', '.join(result.stages)} but not {', '.join(absent)}, which "
                f"they need; the order is {', '.join(STAGES)}"
            )
        return result

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages of the cascade."""
        return tuple(name for name in STAGES if getattr(self, name.replace("-", "_")) is not None)


def read_settings(kind: type[Settings], values: Any) -> Settings:
    """The settings of a stage from a JSON object; `ModelLoadError` if they are not those of the class."""
    known = {field.name: field for field in fields(kind)}
    required = {name for name, field in known.items() if field.default is MISSING}
    if not isinstance(values, Mapping) or not required <= set(values) <= set(known):
        given = ", ".join(values) if isinstance(values, Mapping) else repr(values)
        raise ModelLoadError(
            f"the manifest of the cascade gives {given} for {kind.__name__}; "
            f"it needs {', '.join(sorted(required))} and may have {', '.join(sorted(set(known) - required))}"
        )
    try:
        return kind(**values)
    except (TypeError, ConfigError) as error:
        raise ModelLoadError(
            f"the manifest of the cascade gives what {kind.__name__} cannot have: {error}"
        ) from error


def spec_of(part: Part, spec: ModelSpec) -> ModelSpec:
    """The facts about a cascade, with the source of a part; `ModelLoadError` if it is missing or outside."""
    if part.revision is not None:
        return replace(spec, source=part.source, revision=part.revision)
    folder = Path(spec.source).resolve()
    place = (folder / part.source).resolve()
    if not place.is_relative_to(folder.parent):
        raise ModelLoadError(
            f"the cascade {spec.source} refers to {part.source}, which lies outside {folder.parent}; "
            "put the part beside the cascade, or name a hub id with its revision"
        )
    if not place.is_dir():
        raise ModelLoadError(
            f"the cascade {spec.source} lacks {part.source}, which its manifest names; fetch it again"
        )
    return replace(spec, source=str(place), revision=None)


def _on_hub(stage: str) -> dict[str, Any]:
    return {"source": SHOW_1_STAGES[stage].source, "revision": SHOW_1_STAGES[stage].revision}


BASE, BASE_REVISION = SHOW_1.source, SHOW_1.revision

SHOW_1_MANIFEST = CascadeManifest(
    text=TextSettings(source=BASE, revision=BASE_REVISION, max_tokens=77, mask_padding=True),
    key_frames=KeyFrameSettings(source=BASE, revision=BASE_REVISION, size=(40, 64)),
    interpolation=SampledSettings(**_on_hub("interpolation"), num_inference_steps=75, guidance_scale=4.0),
    super_resolution=SuperResolutionSettings(
        **_on_hub("super-resolution"),
        num_inference_steps=125,
        guidance_scale=7.0,
        noise_level=250,
        scale=4,
        window=8,
        first_frame=FirstFrameSettings(
            **_on_hub("first frame"), num_inference_steps=70, guidance_scale=4.0, noise_level=150
        ),
    ),
    latent_super_resolution=LatentSuperResolutionSettings(
        **_on_hub("latent-super-resolution"),
        num_inference_steps=50,
        guidance_scale=15.0,
        strength=0.8,
        negative_prompt="low resolution, blur",
    ),
)
"""The published cascade, with its authors' settings: `run_inference.py` of showlab/Show-1."""
