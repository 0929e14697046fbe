"""Which segmenters there are, and how to get one by name."""

from __future__ import annotations

from pathlib import Path

from segmentation.base import Segmenter, SegmenterSpec
from segmentation.embedded import EMBEDDED_SPEC, EmbeddedSegmenter
from segmentation.errors import UnknownSegmenterError
from segmentation.sam_variants import SAM_VARIANTS


def list_segmenters() -> tuple[SegmenterSpec, ...]:
    """All segmenters, the one that needs no download first."""
    return (EMBEDDED_SPEC, *(variant.spec for variant in SAM_VARIANTS))


def load_segmenter(
    name: str = "embedded", *, checkpoint: Path | None = None, device: str = "cpu"
) -> Segmenter:
    """Get a segmenter, downloading its weights once where it has any.

    Args:
        name: one of the names in `list_segmenters`.
        checkpoint: a file with its weights, instead of the download.
        device: a torch device name; the embedded segmenter always runs on the processor.

    Raises:
        UnknownSegmenterError: if there is no such segmenter, or it takes no checkpoint.
        CheckpointError: if its weights are missing, damaged or cannot be downloaded.
    """
    if name == EMBEDDED_SPEC.name:
        if checkpoint is not None:
            raise UnknownSegmenterError(
                f"the embedded segmenter has no weights but the checkpoint {checkpoint} was passed; "
                f"name its segmenter: {', '.join(variant.spec.name for variant in SAM_VARIANTS)}"
            )
        return EmbeddedSegmenter()
    for variant in SAM_VARIANTS:
        if variant.spec.name == name:
            # Loading torch takes seconds, which whoever uses the embedded segmenter need not wait.
            from segmentation.sam import load_sam

            return load_sam(variant, checkpoint=checkpoint, device=device)
    known = ", ".join(spec.name for spec in list_segmenters())
    raise UnknownSegmenterError(f"there is no segmenter {name!r}; choose one of: {known}")
