"""Weights of the video models: from a safetensors file into the architecture, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import EdgeTamVideoConfig, EdgeTamVideoModel, Sam2VideoConfig, Sam2VideoModel
from transformers.utils import logging

from segmentation.weights import explain_error
from segmentation.errors import CheckpointError
from segmentation.sam2_variants import WEIGHTS_NAME


def load_video_model(config: Sam2VideoConfig | EdgeTamVideoConfig, path: Path) -> Any:
    """A model with weights; every tensor must be there and fit.

    Args:
        config: its architecture.
        path: a safetensors file, or a folder with model.safetensors.

    Returns:
        A `Sam2VideoModel` or `EdgeTamVideoModel`, as the architecture says, on the processor.

    Raises:
        CheckpointError: if the file is missing, damaged, or of another architecture.
    """
    file = path / WEIGHTS_NAME if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(
            f"there are no weights at {file}; pass a .safetensors file or a folder with {WEIGHTS_NAME}"
        )
    kind = EdgeTamVideoModel if isinstance(config, EdgeTamVideoConfig) else Sam2VideoModel
    try:
        weights = load_file(file)
        model = _without_bar(
            lambda: kind.from_pretrained(
                None, config=config, state_dict=dict(weights), dtype=torch.float32, local_files_only=True
            )
        )
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{file} is damaged or holds other weights ({explain_error(error)}); delete it and download it "
            "again as safetensors, or choose the segmenter that it belongs to"
        ) from error
    # Left to itself it would fill gaps with random numbers and pass over what it does not know.
    _check_complete(weights.keys(), model.state_dict().keys(), file)
    return model


def _without_bar(load: Callable[[], Any]) -> Any:
    """Its bar for reading weights would mix with those of whoever calls this."""
    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return load()
    finally:
        if was_on:
            logging.enable_progress_bar()


def _check_complete(found: Set[str], expected: Set[str], file: Path) -> None:
    missing, unknown = sorted(expected - found), sorted(found - expected)
    if missing or unknown:
        examples = ", ".join((missing + unknown)[:3])
        raise CheckpointError(
            f"{file} holds other weights: {len(missing)} tensors are missing and {len(unknown)} too many "
            f"({examples}); choose the segmenter that it belongs to"
        )
