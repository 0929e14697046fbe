"""Which segmenters there are, and how to get one by name."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from segmentation.base import Readiness, Segmenter, SegmenterSpec
from segmentation.embedded.segmenter import EMBEDDED_SPEC, EmbeddedSegmenter
from segmentation.errors import UnknownSegmenterError
from segmentation.weights import MOBILE_SAM, SAM_VARIANTS, VIDEO_VARIANTS, Download

_WITH_WEIGHTS = (*SAM_VARIANTS, MOBILE_SAM, *VIDEO_VARIANTS)


def list_segmenters() -> tuple[SegmenterSpec, ...]:
    """All segmenters, the one that needs no download first."""
    return (EMBEDDED_SPEC, *(variant.spec for variant in _WITH_WEIGHTS))


def load_segmenter(
    name: str = "embedded", *, checkpoint: Path | None = None, device: str = "cpu"
) -> Segmenter:
    """Get a segmenter, downloading its weights once where it has any.

    Args:
        name: one of the names in `list_segmenters`.
        checkpoint: a file with its weights, or the folder that holds them, instead of the download.
        device: a torch device name; the embedded segmenter always runs on the processor.

    Raises:
        UnknownSegmenterError: if there is no such segmenter, it takes no checkpoint, or a Python
            package that it needs is not installed.
        CheckpointError: if its weights are missing, damaged or cannot be downloaded.
    """
    if name == EMBEDDED_SPEC.name:
        if checkpoint is not None:
            raise UnknownSegmenterError(
                f"the embedded segmenter has no weights but the checkpoint {checkpoint} was passed; "
                f"name its segmenter: {', '.join(variant.name for variant in _WITH_WEIGHTS)}"
            )
        return EmbeddedSegmenter()
    _check_available(name)
    # Loading torch takes seconds, which whoever uses the embedded segmenter need not wait.
    for image_variant in SAM_VARIANTS:
        if image_variant.name == name:
            from segmentation.sam import load_sam

            return load_sam(image_variant, checkpoint=checkpoint, device=device)
    if name == MOBILE_SAM.name:
        from segmentation.sam import load_mobile_sam

        return load_mobile_sam(checkpoint=checkpoint, device=device)
    for video_variant in VIDEO_VARIANTS:
        if video_variant.name == name:
            from segmentation.sam2 import load_sam2

            return load_sam2(video_variant, checkpoint=checkpoint, device=device)
    known = ", ".join(spec.name for spec in list_segmenters())
    raise UnknownSegmenterError(f"there is no segmenter {name!r}; choose one of: {known}")


def download_weights(name: str) -> Generator[Download, None, None]:
    """Fetch the weights of a segmenter, unless they are here already or it has none.

    `load_segmenter` does so too, but says nothing while it lasts.

    Args:
        name: one of the names in `list_segmenters`; of any other, nothing is fetched.

    Yields:
        How far it has come. Closing the iterator cancels the download.

    Raises:
        UnknownSegmenterError: if a Python package that it needs is not installed.
        CheckpointError: if it cannot be reached or written, or its checksum differs.
    """
    for variant in _WITH_WEIGHTS:
        if variant.name == name:
            _check_available(name)
            yield from variant.download()


def _check_available(name: str) -> None:
    for variant in _WITH_WEIGHTS:
        if variant.name == name and variant.spec.readiness() is Readiness.UNAVAILABLE:
            raise UnknownSegmenterError(f"{name} is {variant.spec.describe_readiness()}")
