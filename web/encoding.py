"""Frames as data URIs: no picture on the page is written to disk."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DISPLAY_SIDE = 640  # Longest side of a frame as the player shows it. Results are written at full size.


def encode_frames(frames: NDArray[np.uint8], *, quality: int = 82) -> list[str]:
    """JPEG data URIs of (F, H, W, 3) uint8 RGB frames, reduced to `DISPLAY_SIDE`; `quality` is 1 to 95."""
    return [encode_frame(frame, quality=quality) for frame in frames]


def encode_frame(frame: NDArray[np.uint8], *, quality: int = 82, side: int = DISPLAY_SIDE) -> str:
    """A JPEG data URI of one (H, W, 3) uint8 RGB frame, reduced to at most `side` pixels a side."""
    image = _reduced(frame, side)
    return data_uri(image, "jpeg", quality=quality)


def encode_loop(frames: NDArray[np.uint8], *, fps: float, side: int) -> str:
    """An endlessly looping WebP data URI of (F, H, W, 3) uint8 RGB frames, at most `side` pixels a side."""
    first, *others = (_reduced(frame, side) for frame in frames)
    duration = round(1000 / fps)
    return data_uri(first, "webp", save_all=True, append_images=others, duration=duration, loop=0, quality=60)


def _reduced(frame: NDArray[np.uint8], side: int) -> Image.Image:
    image = Image.fromarray(frame)
    image.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return image


def data_uri(image: Image.Image, kind: str, **options: object) -> str:
    """A picture as a data URI; `kind` is ``"jpeg"``, ``"png"`` or ``"webp"``, `options` are Pillow's."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
