"""Frames and masks as data URIs, so that nothing is written to disk for a picture on the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

DISPLAY_SIDE = 640
"""Longest side of a frame as the player shows it. Results are written at full size."""

MASK_COLOUR = (255, 45, 120)
"""RGB of what is no single object's: seldom found in nature, and visible on dark and light."""

TINT = 130
"""Opacity of an overlay's inside, to 255."""

_RIM = np.ones((5, 5), np.uint8)


def encode_frames(frames: NDArray[np.uint8], *, quality: int = 82) -> list[str]:
    """JPEG data URIs of frames, reduced to `DISPLAY_SIDE`.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        quality: of the JPEG, 1 to 95.
    """
    return [encode_frame(frame, quality=quality) for frame in frames]


def encode_frame(frame: NDArray[np.uint8], *, quality: int = 82, side: int = DISPLAY_SIDE) -> str:
    """A JPEG data URI of one (H, W, 3) uint8 RGB frame, reduced to at most `side` pixels a side."""
    image = Image.fromarray(frame)
    image.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return _data_uri(image, "jpeg", quality=quality)


@dataclass(frozen=True, eq=False)
class Layer:
    """One mask of an overlay.

    Attributes:
        mask: (H, W) bool.
        colour: RGB.
        opacity: (H, W) of the tint, in [0, 1]; None draws the outline alone.
    """

    mask: NDArray[np.bool_]
    colour: tuple[int, int, int]
    opacity: NDArray[np.float32] | None = None


def encode_overlay(layers: Sequence[Layer], *, size: tuple[int, int]) -> str:
    """A PNG data URI of masks over each other: tinted with a white rim, transparent elsewhere.

    It is drawn at about `DISPLAY_SIDE`, so that the rim of a small mask is not a staircase.

    Args:
        layers: the lowest first.
        size: height and width of the frame.
    """
    scale = DISPLAY_SIDE / max(size)
    overlay = Image.new("RGBA", (max(1, round(size[1] * scale)), max(1, round(size[0] * scale))))
    for layer in layers:
        _paste(overlay, layer, scale)
    return _data_uri(overlay, "png", compress_level=1)


def _paste(overlay: Image.Image, layer: Layer, scale: float) -> None:
    shape = Image.fromarray(layer.mask).convert("L").resize(overlay.size, Image.Resampling.BILINEAR)
    if scale > 1:
        shape = shape.filter(ImageFilter.GaussianBlur(0.7 * scale))
    inside = shape.point(lambda level: 255 * (level >= 128))
    core = Image.fromarray(cv2.erode(np.asarray(inside), _RIM))
    rim = ImageChops.subtract(inside, core)
    if layer.opacity is None:
        overlay.paste((*layer.colour, 255), mask=rim)
        return
    levels = Image.fromarray((layer.opacity * TINT).astype(np.uint8)).resize(overlay.size)
    tint = Image.new("RGBA", overlay.size, (*layer.colour, 0))
    tint.putalpha(levels)
    overlay.paste(tint, mask=core)
    overlay.paste((255, 255, 255, 255), mask=rim)


def encode_loop(frames: NDArray[np.uint8], *, fps: float, side: int) -> str:
    """An endlessly looping WebP data URI of (F, H, W, 3) uint8 RGB frames, at most `side` pixels a side."""
    images = [Image.fromarray(frame) for frame in frames]
    for image in images:
        image.thumbnail((side, side), Image.Resampling.BILINEAR)
    first, *others = images
    duration = round(1000 / fps)
    return _data_uri(
        first, "webp", save_all=True, append_images=others, duration=duration, loop=0, quality=75
    )


def _data_uri(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
