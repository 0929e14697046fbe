"""Pictures for the page."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from web.encoding import Layer, encode_frame, encode_overlay


def picture(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_the_overlay_tints_the_object_and_nothing_else() -> None:
    mask = np.zeros((32, 64), bool)
    mask[8:24, 16:48] = True

    layer = Layer(mask, (255, 0, 0), mask.astype(np.float32))
    overlay = picture(encode_overlay([layer], size=mask.shape))

    assert overlay.size == (640, 320)
    assert overlay.getpixel((320, 160))[3] > 0
    assert overlay.getpixel((20, 20))[3] == 0


def test_large_frames_are_shown_reduced_with_their_shape_kept() -> None:
    assert picture(encode_frame(np.zeros((720, 1280, 3), np.uint8))).size == (640, 360)
