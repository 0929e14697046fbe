"""The models known by name, and loading by name, folder or hub id."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from dreammotion_core.errors import ModelLoadError
from dreammotion_core.method.prior import Backend
from dreammotion_core.models.loading import ModelFiles, family_of, with_manifest
from dreammotion_core.models.placement import LoadOptions, checked_device
from dreammotion_core.spec import HubPart, ModelSpec

ASSETS = Path(__file__).resolve().parents[2] / "assets"

# fmt: off
TOYBOX = ModelSpec(
    name="toybox", label="toybox (embedded)", family="wan", source=str(ASSETS / "toybox"),
    licence="Apache-2.0 (trained by this project)", gpu_precision="float32",
    description=(
        "A very small model trained by this project on its own cartoon world: one coloured toy before a "
        "simple scene. It gives such toys other colours and materials or, less surely, makes other toys of "
        "them, runs offline on a CPU, and knows nothing of the real world: "
        "on real footage it shows how the tool works, not what a large model would make of it."
    ),
    resolution=(128, 128), num_frames=9, max_frames=16, fps=8.0,
)

TOYBOX_FLOW = replace(
    TOYBOX, name="toybox-flow", label="toybox-flow (embedded)", description="Another name of toybox."
)

TOYBOX_UNET = replace(
    TOYBOX,
    name="toybox-unet", label="toybox U-Net (embedded)", family="unet3d", source=str(ASSETS / "toybox-unet"),
    description=(
        "The default model of version 0.1.0: a twin of toybox with the kind of U-Net that the DreamMotion "
        "paper edits with. It knows the same cartoon world, and draws it less cleanly."
    ),
    num_frames=8,
)

ZEROSCOPE = ModelSpec(
    name="zeroscope", label="ZeroScope v2 576w", family="unet3d", source="cerspense/zeroscope_v2_576w",
    revision="6963642a64dbefa93663d1ecebb4ceda2d9ecb28", licence="CC BY-NC 4.0: not for commercial use",
    gpu_precision="float16", size_bytes=6_900_000_000, memory_bytes=13_600_000_000,
    low_memory_bytes=5_800_000_000, loaded_bytes=3_700_000_000,
    description="The open text-to-video model of the DreamMotion paper. Needs a GPU and a download.",
    resolution=(320, 576), num_frames=16, max_frames=24, fps=8.0,
)

MODELSCOPE = replace(
    ZEROSCOPE,
    name="modelscope", label="ModelScope 1.7B", source="damo-vilab/text-to-video-ms-1.7b",
    revision="338683c3175cde59b407a699af8fe68f4a2b8f74", size_bytes=7_300_000_000, memory_bytes=6_800_000_000,
    low_memory_bytes=3_900_000_000,
    description="The model that ZeroScope was made from, for smaller pictures. Needs a GPU and a download.",
    resolution=(256, 256),
)

WAN_1_3B = ModelSpec(
    name="wan-1.3b", label="Wan 2.1 1.3B", family="wan", source="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    revision="0fad780a534b6463e45facd96134c9f345acfa5b", licence="Apache-2.0", size_bytes=28_900_000_000,
    memory_bytes=54_700_000_000, low_memory_bytes=11_700_000_000, loaded_bytes=14_800_000_000,
    description=(
        "The small one of the Wan 2.1 models, with a far larger text encoder. Needs a GPU and a download."
    ),
    resolution=(480, 832), num_frames=81, max_frames=81, frame_step=4, fps=16.0,
)

WAN_14B = replace(
    WAN_1_3B,
    name="wan-14b", label="Wan 2.1 14B", source="Wan-AI/Wan2.1-T2V-14B-Diffusers",
    revision="38ec498cb3208fb688890f8cc7e94ede2cbd7f68", size_bytes=80_400_000_000,
    memory_bytes=230_100_000_000, low_memory_bytes=62_500_000_000, loaded_bytes=40_500_000_000,
    description="The large one of the Wan 2.1 models. Needs a GPU with very much memory, and a download.",
)

COGVIDEOX_2B = ModelSpec(
    name="cogvideox-2b", label="CogVideoX 2B", family="cogvideox", source="THUDM/CogVideoX-2b",
    revision="1137dacfc2c9c012bed6a0793f4ecf2ca8e7ba01", licence="Apache-2.0", gpu_precision="float16",
    size_bytes=13_800_000_000, memory_bytes=22_800_000_000, low_memory_bytes=11_600_000_000,
    loaded_bytes=15_700_000_000,
    description="The small one of the CogVideoX models. Needs a GPU and a download.",
    resolution=(480, 720), num_frames=49, max_frames=49, frame_step=4, fps=8.0,
)

COGVIDEOX_5B = replace(
    COGVIDEOX_2B,
    name="cogvideox-5b", label="CogVideoX 5B", source="THUDM/CogVideoX-5b",
    revision="8d6ea3f817438460b25595a120f109b88d5fdfad",
    licence="CogVideoX licence: free for research, commercial use needs a registration",
    gpu_precision="bfloat16", size_bytes=21_100_000_000, memory_bytes=52_600_000_000,
    low_memory_bytes=21_100_000_000, loaded_bytes=21_600_000_000,
    description="The large one of the CogVideoX models. Needs a GPU with much memory, and a download.",
)

TOYBOX_CASCADE = ModelSpec(
    name="toybox-cascade", label="toybox cascade (embedded)", family="cascade",
    source=str(ASSETS / "toybox-cascade"), licence="Apache-2.0 (trained by this project)",
    gpu_precision="float32",
    description=(
        "A very small twin of Show-1, trained by this project on its own cartoon world: it edits key frames "
        "of 32x32 pixels, and later stages make a clip of them, so that every stage of a cascade can be seen "
        "at work offline. Coarser than toybox."
    ),
    resolution=(128, 128), num_frames=17, max_frames=33, frame_step=4, fps=8.0,
    stages=("key-frames", "interpolation", "super-resolution", "latent-super-resolution"), keeps_detail=False,
)

_PIXEL_STAGE = ("unet", "scheduler")
SHOW_1_STAGES = {
    "interpolation": HubPart(
        "showlab/show-1-interpolation", "db0295e235766dc9a79dba14b528f0eb7c823dcb", _PIXEL_STAGE),
    "super-resolution": HubPart(
        "showlab/show-1-sr1", "51def10fcf940f078b6c6377565937d5458d77ca", _PIXEL_STAGE),
    "first frame": HubPart(
        "DeepFloyd/IF-II-L-v1.0", "609476ce702b2d94aff7d1f944dcc54d4f972901", _PIXEL_STAGE),
    "latent-super-resolution": HubPart("showlab/show-1-sr2", "2d1824a622b57748f8a75a3c5d4b111711036103"),
}
"""The stages after the key frames of Show-1."""

SHOW_1 = ModelSpec(
    name="show-1", label="Show-1 cascade", family="cascade", source="showlab/show-1-base",
    revision="02c7cbcec48f841e4b4bdbc972077c8420b1ae11",
    licence="CC BY-NC 4.0: not for commercial use; DeepFloyd IF licence, to be accepted on huggingface.co",
    gpu_precision="float16",
    # U-Nets 3.45 + 3.45 + 1.59 + 2.82 GB (half precision) and the T5 encoder 19.05 GB (single), as the hub's
    # file lists say; 5.0 GB by its 1.2 billion parameters for the one behind an account; about 0.9 GB for
    # the autoencoder and the text encoder of the last stage.
    size_bytes=36_000_000_000, memory_bytes=25_500_000_000, low_memory_bytes=11_700_000_000,
    loaded_bytes=25_500_000_000,
    description=(
        "The cascade of the DreamMotion paper: eight key frames are edited in pixels, later stages draw the "
        "frames between them and enlarge the clip. Needs a large GPU and five downloads, of which one "
        "(DeepFloyd IF-II-L, for the first frame) asks for an account."
    ),
    resolution=(320, 576), num_frames=29, max_frames=57, frame_step=4, fps=7.5,
    stages=("key-frames", "interpolation", "super-resolution", "latent-super-resolution"), keeps_detail=False,
    further_sources=tuple(SHOW_1_STAGES.values()),
)

KNOWN_MODELS = (
    TOYBOX, TOYBOX_UNET, TOYBOX_CASCADE, TOYBOX_FLOW, ZEROSCOPE, MODELSCOPE, SHOW_1,
    WAN_1_3B, WAN_14B, COGVIDEOX_2B, COGVIDEOX_5B,
)
# fmt: on
"""In the order of the lists for users, the default first."""

# No repository holds all of it; docs/models.md shows how to make a folder from two.
ANIMATEDIFF = replace(ZEROSCOPE, family="animatediff", resolution=(512, 512), max_frames=32)

EXAMPLES = {spec.family: spec for spec in (ZEROSCOPE, ANIMATEDIFF, SHOW_1, WAN_1_3B, COGVIDEOX_2B)}
"""Family -> the known model whose facts hold for a folder or hub repository that does not state its own."""

_ADAPTERS = {
    "unet3d": ("dreammotion_core.models.unet3d", "UNet3DBackend"),
    "animatediff": ("dreammotion_core.models.unet3d", "UNet3DBackend"),
    "cascade": ("dreammotion_core.models.cascade.backend", "CascadeBackend"),
    "wan": ("dreammotion_core.models.wan", "WanBackend"),
    "cogvideox": ("dreammotion_core.models.cogvideox", "CogVideoXBackend"),
}
"""Family -> module and class of its adapter."""

_MODELS = {spec.name: spec for spec in KNOWN_MODELS}


def list_models() -> tuple[ModelSpec, ...]:
    """The models known by name, the default first."""
    return tuple(find_model(name) for name in _MODELS)


def find_model(name_or_path: str) -> ModelSpec:
    """The facts about a model by its name, a folder, or ``owner/name@revision``; else `ModelLoadError`."""
    if name_or_path in _MODELS:
        spec = _MODELS[name_or_path]
        return with_manifest(spec, _read_manifest(spec)) if spec.is_local else spec
    # Unlike `Path.is_dir`, this does not raise for a name that no file can have.
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
    """Load a model onto the CPU by name, folder or hub id; see `find_model`.

    The device decides the precision if the options name none; None means a GPU if there is one.

    Raises:
        ConfigError: if there is no such device.
        ModelLoadError: if the model is unknown, incomplete, damaged or unreachable.
    """
    if device is not None:
        device = checked_device(device)
    spec = find_model(name_or_path)
    options = (options or LoadOptions()).for_model(spec.gpu_precision, device=device)
    module, adapter = _ADAPTERS[spec.family]
    # Imported here, because importing diffusers takes seconds.
    backend: Backend = getattr(import_module(module), adapter).from_pretrained(spec, options=options)
    return backend


def _described(source: str, *, revision: str | None) -> ModelSpec:
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
    # AnimateDiff's image models are all published for float16. For others nothing states the precision, and
    # bfloat16 has the range of float32.
    precision = example.gpu_precision if example.family == "animatediff" else "bfloat16"
    shared = {field: getattr(example, field) for field in common} | {"gpu_precision": precision}
    return with_manifest(replace(spec, **shared), manifest)


def _read_manifest(spec: ModelSpec) -> Mapping[str, Any]:
    """`model_index.json` of a folder or hub repository; empty if a folder has none."""
    if spec.is_local and not (Path(spec.source) / "model_index.json").is_file():
        return {}
    return ModelFiles(spec, parts=()).manifest
