"""Whether a repository of the hub was fetched whole; looks at the cache of `huggingface_hub` alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NETWORKS = ("unet", "transformer", "vae", "text_encoder")
"""Folders with weights that a model is loaded from; what else it needs is fetched before them."""

WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
)
"""Where diffusers and transformers look for them; large ones lie in several files with an index."""


def is_downloaded(source: str, *, revision: str, folders: Sequence[str] = ()) -> bool:
    """Whether all weights of a repository are on this machine; touches no network.

    Args:
        source: hub id.
        revision: commit.
        folders: the only ones that are loaded; empty takes all that its manifest names.
    """
    from huggingface_hub import try_to_load_from_cache

    manifest = try_to_load_from_cache(source, "model_index.json", revision=revision)
    if not isinstance(manifest, str):
        return False
    asked = [name for name in NETWORKS if name in _read(Path(manifest)) and name in (folders or NETWORKS)]
    return bool(asked) and all(_has_weights(Path(manifest).parent / name) for name in asked)


def _has_weights(folder: Path) -> bool:
    return any((folder / name).is_file() or _has_shards(folder, name) for name in WEIGHTS)


def _has_shards(folder: Path, name: str) -> bool:
    """Whether there is an index, which is fetched first, and all that it names."""
    shards = _read(folder / f"{name}.index.json").get("weight_map", {})
    return bool(shards) and all((folder / shard).is_file() for shard in set(shards.values()))


def _read(path: Path) -> Mapping[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
