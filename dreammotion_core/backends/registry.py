"""The models that are known by name, and loading of any other by folder or hub id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from dreammotion_core.backends.base import Backend, ModelSpec
from dreammotion_core.backends.load_options import LoadOptions
from dreammotion_core.errors import ModelLoadError

FORMAT_VERSION = 2
"""Of the manifests that this project's training writes; manifests of others name none."""
OLDEST_FORMAT_VERSION = 1

ASSETS = Path(__file__).resolve().parents[2] / "assets"

_TOYBOX = ModelSpec(
    name="toybox",
    label="toybox (embedded)",
    family="unet3d",
    source=str(ASSETS / "toybox"),
    licence="Apache-2.0 (trained by this project)",
    size_bytes=18_500_000,
    description=(
        "A very small model trained by this project on its own cartoon world: one coloured toy before a "
        "simple scene. It gives such toys other colours and, less cleanly, other materials or shapes, runs "
        "offline on a CPU, and knows nothing of the real world: "
        "on real footage it shows how the tool works, not what a large model would make of it."
    ),
    resolution=(128, 128),
    num_frames=8,
    max_frames=16,
    fps=8.0,
)

_ZEROSCOPE = ModelSpec(
    name="zeroscope",
    label="ZeroScope v2 576w",
    family="unet3d",
    source="cerspense/zeroscope_v2_576w",
    revision="6963642a64dbefa93663d1ecebb4ceda2d9ecb28",
    licence="CC BY-NC 4.0: not for commercial use",
    size_bytes=6_900_000_000,
    description="The open text-to-video model of the DreamMotion paper. Needs a GPU and a download.",
    resolution=(320, 576),
    num_frames=16,
    max_frames=24,
    fps=8.0,
)

_ADAPTERS = {"unet3d": ("dreammotion_core.backends.unet3d", "UNet3DBackend")}
"""Family -> module and class that load and run it."""

_FAMILIES = {"UNet3DConditionModel": "unet3d"}
"""Class of a denoiser, as manifests name it, -> its family."""

_MODELS = {spec.name: spec for spec in (_TOYBOX, _ZEROSCOPE)}


def list_models() -> tuple[ModelSpec, ...]:
    """The models known by name, the default first."""
    return tuple(_with_manifest(spec) if spec.is_local else spec for spec in _MODELS.values())


def find_model(name_or_path: str) -> ModelSpec:
    """The facts about a model.

    Args:
        name_or_path: a known name, a folder in diffusers' layout, or ``owner/name`` on the hub with an
            optional ``@revision``.

    Raises:
        ModelLoadError: if it is none of these.
    """
    if name_or_path in _MODELS:
        spec = _MODELS[name_or_path]
        return _with_manifest(spec) if spec.is_local else spec
    if Path(name_or_path).is_dir():
        spec = replace(
            _ZEROSCOPE,
            name=Path(name_or_path).name,
            label=Path(name_or_path).name,
            source=name_or_path,
            revision=None,
            licence="see the model's own card",
            size_bytes=0,
            description="A text-to-video model from a local folder.",
        )
        return _with_manifest(spec)
    source, _, revision = name_or_path.partition("@")
    if source.count("/") == 1 and not source.startswith((".", "/", "~")) and revision:
        return replace(
            _ZEROSCOPE,
            name=source,
            label=source,
            source=source,
            revision=revision,
            licence="see the model's own card",
            size_bytes=0,
            description="A text-to-video model from the hub.",
        )
    raise ModelLoadError(
        f"there is no model {name_or_path!r}; pass one of {', '.join(_MODELS)}, an existing folder, or "
        "owner/name@revision of a hub model (the revision, a commit hash, keeps the result reproducible)"
    )


def load_backend(name_or_path: str, *, options: LoadOptions | None = None) -> Backend:
    """Load a model by name, folder or hub id; see `find_model`.

    Args:
        name_or_path: the model.
        options: precision, and what is traded between memory and speed; None takes the defaults.

    Raises:
        ModelLoadError: if it is unknown, incomplete, damaged or unreachable.
    """
    spec = find_model(name_or_path)
    module, adapter = _ADAPTERS[spec.family]
    # Imported here because loading diffusers takes seconds that `models` and `--help` need not wait.
    backend: Backend = getattr(import_module(module), adapter).from_pretrained(
        spec, options=options or LoadOptions()
    )
    return backend


def _with_manifest(spec: ModelSpec) -> ModelSpec:
    """The spec with what the folder's own manifest says, if it says anything."""
    path = Path(spec.source) / "model_index.json"
    if not path.is_file():
        return spec
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = manifest.get("vocabulary")
        spec = replace(
            spec,
            family=_family(manifest) or spec.family,
            resolution=tuple(manifest.get("resolution", spec.resolution)),
            num_frames=manifest.get("num_frames", spec.num_frames),
            max_frames=manifest.get("max_frames", spec.max_frames),
            frame_step=manifest.get("frame_step", spec.frame_step),
            stages=tuple(manifest.get("stages", spec.stages)),
            fps=float(manifest.get("fps", spec.fps)),
            vocabulary=None if vocabulary is None else tuple(vocabulary),
            size_bytes=sum(f.stat().st_size for f in Path(spec.source).rglob("*.safetensors")),
        )
        _check_format(path, int(manifest.get("format_version", FORMAT_VERSION)))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelLoadError(f"{path} cannot be read ({error}); fetch the model folder again") from error
    return spec


def _family(manifest: Mapping[str, Any]) -> str | None:
    """The family of the first known class that a manifest names, as the whole or as a component."""
    named = [part[-1] if isinstance(part, list) and part else part for part in manifest.values()]
    return next((_FAMILIES[name] for name in named if isinstance(name, str) and name in _FAMILIES), None)


def _check_format(path: Path, version: int) -> None:
    if OLDEST_FORMAT_VERSION <= version <= FORMAT_VERSION:
        return
    remedy = "update this program" if version > FORMAT_VERSION else "fetch the model folder again"
    raise ModelLoadError(
        f"{path} has format version {version}, and this program reads {OLDEST_FORMAT_VERSION} to "
        f"{FORMAT_VERSION}; {remedy}"
    )
