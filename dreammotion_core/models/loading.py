"""Manifests, and the loading of a model's parts one by one, with errors that say what to do.

Whole pipelines of diffusers are not loaded: some are frozen, and all bring parts that no edit needs.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dreammotion_core.config import Accepted, EditConfig, Real, Sides, Whole, check_accepted
from dreammotion_core.errors import ConfigError, ModelLoadError, reason_of
from dreammotion_core.spec import ModelSpec

FORMAT_VERSION, OLDEST_FORMAT_VERSION = 2, 1
"""Format of the manifests that this project writes, and the oldest that it reads. Others have none."""

FAMILIES = {
    "UNet3DConditionModel": "unet3d",
    "UNetMotionModel": "animatediff",
    "DreamMotionCascade": "cascade",
    "WanTransformer3DModel": "wan",
    "CogVideoXTransformer3DModel": "cogvideox",
}
"""Class of a denoiser or a whole model, as named in manifests -> family."""

_LIBRARIES = {"diffusers", "transformers", "dreammotion_core", "showone.models.unet_3d_condition"}
"""Libraries named in published manifests; the last one is the package of Show-1's authors."""

ACCEPTED: Mapping[str, Accepted] = {
    "resolution": Sides(1, 10_000),
    "num_frames": Whole(1, 10_000),
    "max_frames": Whole(1, 10_000),
    "frame_step": Whole(1, 100),
    "fps": Real(0.0, 1000.0, above=True),
}
"""What the numbers in a manifest may be."""


def component_classes(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Subfolder -> class name of the parts in a manifest, which names each as [library, class]."""
    return {
        part: entry[1]
        for part, entry in manifest.items()
        if isinstance(entry, list) and len(entry) == 2
        if entry[0] in _LIBRARIES and isinstance(entry[1], str)
    }


def family_of(manifest: Mapping[str, Any], *, source: str) -> str | None:
    """The family of the first known class in a manifest; None if it names no class.

    It raises `ModelLoadError` if there are only classes of other models; `source` is for this error.
    """
    whole = manifest.get("_class_name")
    named = [*([whole] if isinstance(whole, str) else []), *component_classes(manifest).values()]
    family = next((FAMILIES[name] for name in named if name in FAMILIES), None)
    if family is None and named:
        raise ModelLoadError(
            f"{source} is a {named[0]}, which is not a text-to-video model that can edit; one of its "
            f"parts must be a {' or '.join(FAMILIES)}"
        )
    return family


def with_manifest(spec: ModelSpec, manifest: Mapping[str, Any]) -> ModelSpec:
    """The spec with the facts from a manifest; `ModelLoadError` if they cannot be used."""
    try:
        _check_format(spec.source, int(manifest.get("format_version", FORMAT_VERSION)))
        vocabulary = manifest.get("vocabulary")
        named = manifest.get("settings", spec.settings)
        config = EditConfig.from_dict(named)
        settings = {name: getattr(config, name) for name in named}
        described = replace(
            spec,
            family=family_of(manifest, source=spec.source) or spec.family,
            resolution=tuple(manifest.get("resolution", spec.resolution)),
            num_frames=manifest.get("num_frames", spec.num_frames),
            max_frames=manifest.get("max_frames", spec.max_frames),
            frame_step=manifest.get("frame_step", spec.frame_step),
            stages=_names("stages", manifest.get("stages", spec.stages)),
            settings=settings,
            fps=float(manifest.get("fps", spec.fps)),
            vocabulary=None if vocabulary is None else _names("vocabulary", vocabulary),
            size_bytes=sum(f.stat().st_size for f in Path(spec.source).rglob("*.safetensors")),
        )
        check_accepted(described, accepted=ACCEPTED)
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise ModelLoadError(
            f"model_index.json of {spec.source} cannot be read ({error}); fetch the model folder again"
        ) from error
    return described


def _names(name: str, values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(word, str) for word in values):
        raise ConfigError(f"{name} is {values!r}; pass a list of words")
    return tuple(values)


def _check_format(source: str, version: int) -> None:
    if OLDEST_FORMAT_VERSION <= version <= FORMAT_VERSION:
        return
    remedy = "update this program" if version > FORMAT_VERSION else "fetch the model folder again"
    raise ModelLoadError(
        f"model_index.json of {source} has format version {version}, and this program reads "
        f"{OLDEST_FORMAT_VERSION} to {FORMAT_VERSION}; {remedy}"
    )


SETTINGS_FILES = {"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"}
"""Part -> its settings file. Without it the libraries go on with defaults that suit no model."""


def outer_dtype(torch_dtype: torch.dtype) -> torch.dtype:
    """Precision of the autoencoder beside a denoiser; bfloat16 is too coarse for pictures."""
    return torch.float32 if torch_dtype == torch.bfloat16 else torch_dtype


class ModelFiles:
    """A folder in diffusers' layout, or the pinned revision of a hub repository, with some parts.

    Raises:
        ModelLoadError: on construction, if there is no such folder or repository, a part is missing, or the
            model is guidance-distilled; in all methods, if a file is missing, incomplete, damaged,
            unreachable or another model's.
    """

    def __init__(self, spec: ModelSpec, *, parts: Sequence[str]) -> None:
        self.spec = spec
        if spec.is_local:
            _check_folder(Path(spec.source), parts)
        self.manifest = self.read_json("model_index.json")
        self._check_parts(parts)
        _refuse_distilled(spec, self.manifest)

    def class_of(self, part: str, choices: Mapping[str, Any]) -> Any:
        """The class that the manifest names for a part, by its name in `choices`."""
        name = component_classes(self.manifest).get(part)
        if name is None or name not in choices:
            raise ModelLoadError(
                f"the {part} of {self.spec.source} is a {name or 'part without a class name'}; "
                f"models of this family have one of: {', '.join(choices)}"
            )
        return choices[name]

    def load(self, part: str, component: Callable[..., Any], **options: Any) -> Any:
        """Load a part without weights, such as a tokenizer, by the `from_pretrained` of its class."""
        if part in SETTINGS_FILES:
            self.read_json(f"{part}/{SETTINGS_FILES[part]}")
        default_dtype = torch.get_default_dtype()
        try:
            return component(self.spec.source, subfolder=part, revision=self.spec.revision, **options)
        except ModelLoadError as error:
            raise ModelLoadError(f"{part} of {self.spec.source} cannot be used: {error}") from error
        except Exception as error:
            # The libraries raise many kinds of errors, without a common base class for a dropped connection.
            raise ModelLoadError(_advice(self.spec, part, error)) from error
        finally:
            # diffusers does not restore it when it refuses a configuration.
            torch.set_default_dtype(default_dtype)

    def load_network(self, part: str, network: Any, *, strict: bool = False, **options: Any) -> Any:
        """Load a part with all of its weights by its class; `strict` refuses weights that are left over."""
        model, report = self.load(part, network.from_pretrained, output_loading_info=True, **options)
        # The libraries would go on with random numbers instead of missing weights.
        if missing := sorted(report["missing_keys"]):
            error = ValueError(f"the weights lack {', '.join(missing[:3])}")
            raise ModelLoadError(_advice(self.spec, part, error))
        if strict and (left_over := sorted(report["unexpected_keys"])):
            raise ModelLoadError(
                f"{part} of {self.spec.source} has weights that its configuration has no place for "
                f"({', '.join(left_over[:3])}); they are another model's: fetch the folder again"
            )
        return model

    def load_denoiser(self, part: str, network: Any, **options: Any) -> Any:
        """`load_network` for the denoiser, which must not be guidance-distilled."""
        _refuse_distilled(self.spec, self.read_json(f"{part}/config.json"))
        return self.load_network(part, network, **options)

    def read_json(self, name: str) -> Mapping[str, Any]:
        """A JSON file with an object that is not empty, by its path within the folder or repository."""
        try:
            if self.spec.is_local:
                path = Path(self.spec.source) / name
            else:
                path = Path(hf_hub_download(self.spec.source, name, revision=self.spec.revision))
            values = json.loads(path.read_text(encoding="utf-8"))
        except Exception as error:
            raise ModelLoadError(_advice(self.spec, name, error)) from error
        if not isinstance(values, dict) or not values:
            raise ModelLoadError(
                f"{name} of {self.spec.source} cannot be read (it holds no settings); fetch it again"
            )
        return values

    def _check_parts(self, parts: Sequence[str]) -> None:
        named = component_classes(self.manifest)
        missing = [part for part in parts if part not in named]
        if named and missing:
            raise ModelLoadError(
                f"{self.spec.source} is a {self.manifest.get('_class_name', 'model')} without "
                f"{', '.join(missing)}, not a text-to-video model of this family; one has the parts "
                f"{', '.join(parts)}"
            )


def _check_folder(folder: Path, parts: Sequence[str]) -> None:
    if not folder.is_dir():
        raise ModelLoadError(
            f"there is no model folder {folder}; pass a model name, a hub id or an existing folder"
        )
    missing = [name for name in parts if not (folder / name).is_dir()]
    if missing:
        raise ModelLoadError(
            f"the model folder {folder} lacks {', '.join(missing)}; it needs the subfolders "
            f"{', '.join(parts)}. If a download was interrupted, run it again"
        )


def _refuse_distilled(spec: ModelSpec, settings: Mapping[str, Any]) -> None:
    # Transformers take the guidance scale by `guidance_embeds`, U-Nets by `time_cond_proj_dim`; diffusers
    # writes `is_distilled` into manifests.
    if settings.get("guidance_embeds") or settings.get("time_cond_proj_dim") or settings.get("is_distilled"):
        raise ModelLoadError(
            f"{spec.source} is a guidance-distilled model: it has no unconditional branch, which the edit "
            "compares with; pass the model that it was distilled from"
        )


def _advice(spec: ModelSpec, part: str, error: Exception) -> str:
    reason = reason_of(error)
    causes = list(_causes(error))
    if any(isinstance(cause, OSError) and cause.errno == errno.ENOSPC for cause in causes):
        size = f"about {spec.size_bytes / 1e9:.0f} GB" if spec.size_bytes else "several GB"
        return (
            f"{part} of {spec.source} does not fit on the disk; the whole model takes "
            f"{size}: free some space, or let HF_HOME name a folder on a larger disk"
        )
    if spec.is_local:
        return (
            f"{part} in {spec.source} cannot be loaded ({reason}); "
            "the folder may be half-downloaded: fetch it again"
        )
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return (
            f"{spec.source} is a gated repository; accept its terms on huggingface.co, and log in with "
            "`hf auth login` or set HF_TOKEN"
        )
    if any(isinstance(cause, RepositoryNotFoundError | RevisionNotFoundError) for cause in causes):
        return (
            f"there is no repository {spec.source} at {spec.revision} on the hub, or it is private; check "
            "name and revision, or log in with `hf auth login`"
        )
    if any(isinstance(cause, RemoteEntryNotFoundError) for cause in causes):
        return (
            f"{spec.source} has no {part} at {spec.revision}; pass a text-to-video model in diffusers' "
            "layout, which has model_index.json and a folder for each part"
        )
    return (
        f"{part} of {spec.source} cannot be loaded ({reason}); check the network, or download the model "
        "on another machine and pass its folder, or use the embedded model 'toybox'"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes; the libraries wrap the hub's errors."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def check_latents(source: str, *, denoiser: Any, latent_channels: int) -> None:
    """Raise `ModelLoadError` if the denoiser's channels are not those of the autoencoder's latents."""
    found = (denoiser.config.in_channels, denoiser.config.out_channels)
    if found != (latent_channels, latent_channels):
        raise ModelLoadError(
            f"the denoiser of {source} has {found[0]} channels in and {found[1]} out, and its autoencoder "
            f"makes latents of {latent_channels}; pass a text-to-video model, whose denoiser takes nothing "
            "beside them (one for inpainting takes a mask too), with its own autoencoder"
        )


def check_text(source: str, *, width: Any, text_encoder: Any) -> None:
    """Raise `ModelLoadError` unless the text encoder's states have the denoiser's width (of each level)."""
    made = text_encoder.config.hidden_size
    if any(each != made for each in (width if isinstance(width, list | tuple) else [width])):
        raise ModelLoadError(
            f"the denoiser of {source} takes text states of width {width}, and its text encoder makes them "
            f"of width {made}; pass a model with the text encoder that it was trained with"
        )


def check_motion_schedule(source: str, *, scheduler: Any) -> None:
    """Raise `ModelLoadError` if AnimateDiff's motion modules come with the noise schedule of an image model.

    They were trained on a linear schedule. With that of Stable Diffusion they would see far less noise than
    they expect at a timestep, and only a worse edit would show it.
    """
    if scheduler.config.beta_schedule == "scaled_linear":
        raise ModelLoadError(
            f"scheduler/scheduler_config.json of {source} has the beta_schedule 'scaled_linear' of its image "
            "model, and AnimateDiff's motion modules were trained on 'linear'; write \"beta_schedule\": "
            '"linear" there, or make the folder as docs/models.md shows'
        )
