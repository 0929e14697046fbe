"""Which segmenters there are, and how to get one by name."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from segmentation.base import Readiness, Segmenter, SegmenterSpec
from segmentation.errors import UnknownSegmenterError
from segmentation.weights import MOBILE_SAM, SAM_VARIANTS, VIDEO_VARIANTS, Download, Variant

EMBEDDED_SPEC = SegmenterSpec(
    name="embedded",
    label="Embedded (colour and motion)",
    licence="Apache-2.0",
    size_bytes=0,
    source="part of this software",
    description="Answers at once and needs no download. Good at cartoons and at objects that stand out "
    "by their colour or by how they move; real footage often takes several clicks or a box.",
)

_WITH_WEIGHTS = {variant.name: variant for variant in (*SAM_VARIANTS, MOBILE_SAM, *VIDEO_VARIANTS)}


def list_segmenters() -> tuple[SegmenterSpec, ...]:
    """All segmenters, the one that needs no download first."""
    return (EMBEDDED_SPEC, *(variant.spec for variant in _WITH_WEIGHTS.values()))


def load_segmenter(
    name: str = "embedded", *, checkpoint: Path | None = None, device: str = "cpu"
) -> Segmenter:
    """Get one of `list_segmenters` by name, downloading its weights once if it has any.

    `checkpoint` is a file with its weights, or the folder that holds them, instead of the download. The
    embedded segmenter always runs on the processor. Raises `UnknownSegmenterError` if there is no such
    segmenter, it takes no checkpoint, or lacks a Python package, and `CheckpointError` if its weights are
    missing, damaged or cannot be downloaded.
    """
    # Each segmenter is imported when it is asked for: the list needs none, and torch takes seconds.
    if name == EMBEDDED_SPEC.name:
        if checkpoint is not None:
            raise UnknownSegmenterError(
                f"the embedded segmenter has no weights but the checkpoint {checkpoint} was passed; "
                f"name its segmenter: {', '.join(_WITH_WEIGHTS)}"
            )
        from segmentation.embedded.segmenter import EmbeddedSegmenter

        return EmbeddedSegmenter(EMBEDDED_SPEC)
    if name not in _WITH_WEIGHTS:
        known = ", ".join((EMBEDDED_SPEC.name, *_WITH_WEIGHTS))
        raise UnknownSegmenterError(f"there is no segmenter {name!r}; choose one of: {known}")
    variant = _available(name)
    if variant in VIDEO_VARIANTS:
        from segmentation.sam2 import load_sam2

        return load_sam2(variant, checkpoint=checkpoint, device=device)
    from segmentation.sam import load_sam

    return load_sam(variant, checkpoint=checkpoint, device=device)


def download_weights(name: str) -> Generator[Download, None, None]:
    """Download the weights of a segmenter, unless they are here already or it has none; yield the progress.

    `load_segmenter` downloads too, but without progress. Closing the iterator cancels the download. Raises
    `UnknownSegmenterError` if a Python package that it needs is not installed, and `CheckpointError` if it
    cannot be reached or written, or its checksum differs.
    """
    if name in _WITH_WEIGHTS:
        yield from _available(name).download()


def weights_reachable(name: str) -> bool:
    """Whether a download of a segmenter's weights can begin: its publisher answers within two seconds."""
    return name in _WITH_WEIGHTS and _WITH_WEIGHTS[name].is_reachable()


def _available(name: str) -> Variant:
    variant = _WITH_WEIGHTS[name]
    if variant.spec.readiness() is Readiness.UNAVAILABLE:
        raise UnknownSegmenterError(f"{name} is {variant.spec.describe_readiness()}")
    return variant
