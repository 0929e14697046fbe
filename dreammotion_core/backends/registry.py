"""The models that are known by name, and loading of any other by folder or hub id."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from dreammotion_core.method.prior import Backend, ModelSpec
from dreammotion_core.models.catalog import EXAMPLES, KNOWN_MODELS
from dreammotion_core.backends.load_options import LoadOptions, checked_device
from dreammotion_core.backends.manifests import family_of, with_manifest
from dreammotion_core.errors import ModelLoadError

_ADAPTERS = {
    "unet3d": ("dreammotion_core.models.unet3d", "UNet3DBackend"),
    "animatediff": ("dreammotion_core.models.unet3d", "UNet3DBackend"),
    "cascade": ("dreammotion_core.models.cascade.backend", "CascadeBackend"),
    "wan": ("dreammotion_core.models.wan", "WanBackend"),
    "cogvideox": ("dreammotion_core.models.cogvideox", "CogVideoXBackend"),
}
"""Family -> module and class that load and run it."""

_MODELS = {spec.name: spec for spec in KNOWN_MODELS}


def list_models() -> tuple[ModelSpec, ...]:
    """The models known by name, the default first."""
    return tuple(find_model(name) for name in _MODELS)


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
        return with_manifest(spec, _read_manifest(spec)) if spec.is_local else spec
    # Unlike `Path.is_dir`, it takes a name that no file can have for one that is not there.
    if os.path.isdir(name_or_path):
        return _described(name_or_path, revision=None)
    source, _, revision = name_or_path.partition("@")
    if source.count("/") == 1 and not source.startswith((".", "/", "~")) and revision:
        return _described(source, revision=revision)
    raise ModelLoadError(
        f"there is no model {name_or_path!r}; pass one of {', '.join(_MODELS)}, an existing folder, or "
        "owner/name@revision of a hub model (the revision, a commit hash, keeps the result reproducible)"
    )


def load_backend(
    name_or_path: str, *, options: LoadOptions | None = None, device: torch.device | str | None = None
) -> Backend:
    """Load a model by name, folder or hub id; see `find_model`. It is on the CPU first.

    Args:
        name_or_path: the model.
        options: precision, and what is traded between memory and speed; None takes the defaults.
        device: where it will work, which decides the precision if the options name none; None stands for a
            GPU where there is one.

    Raises:
        ConfigError: if there is no such device.
        ModelLoadError: if it is unknown, incomplete, damaged or unreachable.
    """
    if device is not None:
        device = checked_device(device)
    spec = find_model(name_or_path)
    options = (options or LoadOptions()).for_model(spec.gpu_precision, device=device)
    module, adapter = _ADAPTERS[spec.family]
    # Imported here because loading diffusers takes seconds that `models` and `--help` need not wait.
    backend: Backend = getattr(import_module(module), adapter).from_pretrained(spec, options=options)
    return backend


def _described(source: str, *, revision: str | None) -> ModelSpec:
    """A model that is not known by name: what its family has in common, and what its manifest says."""
    name = source if revision else Path(source).name
    spec = replace(
        EXAMPLES["unet3d"],
        name=name,
        label=name,
        source=source,
        revision=revision,
        licence="see the model's own card",
        size_bytes=0,
        description=f"A text-to-video model from {'the hub' if revision else 'a local folder'}.",
    )
    manifest = _read_manifest(spec)
    example = EXAMPLES.get(family_of(manifest, source=source) or spec.family, spec)
    common = ("family", "resolution", "num_frames", "max_frames", "frame_step", "fps")
    # AnimateDiff's image models are all published for float16; what others were trained in nobody says, and
    # bfloat16 has room for all values.
    precision = example.gpu_precision if example.family == "animatediff" else "bfloat16"
    shared = {field: getattr(example, field) for field in common} | {"gpu_precision": precision}
    return with_manifest(replace(spec, **shared), manifest)


def _read_manifest(spec: ModelSpec) -> Mapping[str, Any]:
    """`model_index.json` of a folder, where a missing one is empty, or of a hub repository."""
    if spec.is_local and not (Path(spec.source) / "model_index.json").is_file():
        return {}
    # Imported here for the same reason as the adapters.
    from dreammotion_core.models.loading import ModelFiles

    return ModelFiles(spec, parts=()).manifest
