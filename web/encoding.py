"""Frames and masks as data URIs, so that nothing is written to disk for a picture on the page."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

DISPLAY_SIDE = 640
"""Longest side of a frame as the player shows it. Results are written at full size."""

MASK_COLOUR = (255, 45, 120)
"""RGB of the overlay: seldom found in nature, and visible on dark and light."""


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


def encode_overlay(mask: NDArray[np.bool_]) -> str:
    """A PNG data URI of an (H, W) mask: True is tinted, with a white rim; the rest is transparent.

    It is drawn at about `DISPLAY_SIDE`, so that the rim of a small mask is not a staircase.
    """
    scale = DISPLAY_SIDE / max(mask.shape)
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    shape = Image.fromarray(mask).convert("L").resize(size, Image.Resampling.BILINEAR)
    if scale > 1:
        shape = shape.filter(ImageFilter.GaussianBlur(0.7 * scale))
    inside = shape.point(lambda level: 255 * (level >= 128))
    core = inside.filter(ImageFilter.MinFilter(5))
    overlay = Image.new("RGBA", size, (255, 255, 255, 0))
    overlay.paste((255, 255, 255, 255), mask=inside)
    overlay.paste((*MASK_COLOUR, 130), mask=core)
    return _data_uri(overlay, "png", compress_level=1)


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
