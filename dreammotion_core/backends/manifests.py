"""What `model_index.json`, the manifest of a model's folder or repository, tells about the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreammotion_core.accepted_values import Accepted, Real, Sides, Whole, check_accepted
from dreammotion_core.method.prior import ModelSpec
from dreammotion_core.config import EditConfig
from dreammotion_core.errors import ConfigError, ModelLoadError

FORMAT_VERSION = 2
"""Of the manifests that this project's training writes; manifests of others name none."""
OLDEST_FORMAT_VERSION = 1

FAMILIES = {
    "UNet3DConditionModel": "unet3d",
    "UNetMotionModel": "animatediff",
    "DreamMotionCascade": "cascade",
    "WanTransformer3DModel": "wan",
    "CogVideoXTransformer3DModel": "cogvideox",
}
"""Class of a denoiser or of a whole model, as manifests name it, -> its family."""

_LIBRARIES = {"diffusers", "transformers", "dreammotion_core", "showone.models.unet_3d_condition"}
"""What the published manifests name; the last one is the package of Show-1's authors."""

ACCEPTED: Mapping[str, Accepted] = {
    "resolution": Sides(1, 10_000),
    "num_frames": Whole(1, 10_000),
    "max_frames": Whole(1, 10_000),
    "frame_step": Whole(1, 100),
    "fps": Real(0.0, 1000.0, above=True),
}
"""What a manifest may say in numbers."""


def component_classes(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Subfolder -> class name of the parts that a manifest names, each as [library, class]."""
    return {
        part: entry[1]
        for part, entry in manifest.items()
        if isinstance(entry, list)
        and len(entry) == 2
        and entry[0] in _LIBRARIES
        and isinstance(entry[1], str)
    }


def family_of(manifest: Mapping[str, Any], *, source: str) -> str | None:
    """The family of the first known class that a manifest names; None if it names no class at all.

    Args:
        manifest: its content.
        source: where it comes from, for the error.

    Raises:
        ModelLoadError: if it names only classes of other models.
    """
    whole = manifest.get("_class_name")
    named = [*([whole] if isinstance(whole, str) else []), *component_classes(manifest).values()]
    family = next((FAMILIES[name] for name in named if name in FAMILIES), None)
    if family is None and named:
        raise ModelLoadError(
            f"{source} is a {named[0]}, which is no text-to-video model that can be edited with; one of its "
            f"parts must be a {' or '.join(FAMILIES)}"
        )
    return family


def with_manifest(spec: ModelSpec, manifest: Mapping[str, Any]) -> ModelSpec:
    """The spec with what the manifest says, if it says anything.

    Raises:
        ModelLoadError: if it says it in another way than this program reads.
    """
    try:
        _check_format(spec.source, int(manifest.get("format_version", FORMAT_VERSION)))
        vocabulary = manifest.get("vocabulary")
        described = replace(
            spec,
            family=family_of(manifest, source=spec.source) or spec.family,
            resolution=tuple(manifest.get("resolution", spec.resolution)),
            num_frames=manifest.get("num_frames", spec.num_frames),
            max_frames=manifest.get("max_frames", spec.max_frames),
            frame_step=manifest.get("frame_step", spec.frame_step),
            stages=_words("stages", manifest.get("stages", spec.stages)),
            settings=_settings(manifest.get("settings", spec.settings)),
            fps=float(manifest.get("fps", spec.fps)),
            vocabulary=None if vocabulary is None else _words("vocabulary", vocabulary),
            size_bytes=sum(f.stat().st_size for f in Path(spec.source).rglob("*.safetensors")),
        )
        check_accepted(described, accepted=ACCEPTED)
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise ModelLoadError(
            f"model_index.json of {spec.source} cannot be read ({error}); fetch the model folder again"
        ) from error
    return described


def _words(name: str, values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(word, str) for word in values):
        raise ConfigError(f"{name} is {values!r}; pass a list of words")
    return tuple(values)


def _settings(named: Mapping[str, Any]) -> dict[str, Any]:
    config = EditConfig.from_dict(named)
    return {name: getattr(config, name) for name in named}


def _check_format(source: str, version: int) -> None:
    if OLDEST_FORMAT_VERSION <= version <= FORMAT_VERSION:
        return
    remedy = "update this program" if version > FORMAT_VERSION else "fetch the model folder again"
    raise ModelLoadError(
        f"model_index.json of {source} has format version {version}, and this program reads "
        f"{OLDEST_FORMAT_VERSION} to {FORMAT_VERSION}; {remedy}"
    )
