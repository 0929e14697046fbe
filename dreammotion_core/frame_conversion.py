"""From a decoded picture of any format to upright 8-bit RGB with square pixels."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, ColorTrc
from numpy.typing import NDArray

from dreammotion_core.errors import VideoError
from dreammotion_core.values import Notice

MIN_SIDE, MAX_SIDE, MAX_ASPECT = 16, 4096, 8.0
_UNSPECIFIED_COLORSPACES = (0, 2)
_HD_HEIGHT = 720


def check_size(width: int, height: int) -> None:
    """Refuse pictures that are too small, too large or too elongated to edit.

    Raises:
        VideoError: with the size received and the sizes accepted.
    """
    if max(width, height) > MAX_SIDE:
        raise VideoError(
            f"the clip is {width}x{height} pixels; at most {MAX_SIDE} on a side are accepted: "
            "downscale it first"
        )
    if min(width, height) < MIN_SIDE:
        raise VideoError(f"the clip is {width}x{height} pixels; at least {MIN_SIDE} on a side are needed")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise VideoError(
            f"the clip is {width}x{height} pixels; sides up to {MAX_ASPECT:g}:1 are accepted: crop it first"
        )


def size_notices(height: int, width: int) -> tuple[Notice, ...]:
    """What saving frames of this size as MP4 will change."""
    if height % 2 == width % 2 == 0:
        return ()
    text = f"Its size {width}x{height} is odd; a saved MP4 repeats the last row or column to make it even."
    return (Notice("odd_size", text),)


class FrameConverter:
    """Converts the frames of one clip and remembers what it had to change.

    Args:
        first: any frame of the clip; its size, orientation and format hold for all.
        pixel_aspect: width of a pixel divided by its height; None or 0 where the file does not say.

    Raises:
        VideoError: if the size is not accepted.
    """

    def __init__(self, first: VideoFrame, *, pixel_aspect: Fraction | None = None) -> None:
        check_size(first.width, first.height)
        self._coded_size = (first.width, first.height)
        self._orientation = _orientation(first)
        self._pixel_aspect = float(pixel_aspect or 1)
        self._width = max(1, round(first.width * self._pixel_aspect))
        check_size(self._width, first.height)
        self._first = first
        self._was_transparent = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the converted frames."""
        height, width = self._first.height, self._width
        return (width, height) if _is_on_its_side(self._orientation) else (height, width)

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which frames are turned, one of 0, 90, 180, 270; mirroring is left out."""
        (a, b), _ = self._orientation
        return 90 * (round(float(np.degrees(np.arctan2(b, a))) / 90) % 4)

    def to_rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Convert one frame.

        Returns:
            (H, W, 3) uint8 RGB, upright. Transparent parts are laid over black.

        Raises:
            VideoError: if the frame's size differs from the first one's.
        """
        if (frame.width, frame.height) != self._coded_size:
            raise VideoError(
                f"the picture size changes within the clip, from {self._coded_size[0]}x{self._coded_size[1]} "
                f"to {frame.width}x{frame.height}; pass a clip of one size"
            )
        has_alpha = any(component.is_alpha for component in frame.format.components)
        picture = (
            frame.reformat(
                width=self._width,
                format="rgba" if has_alpha else "rgb24",
                src_colorspace=_colorspace(frame),
            )
            .to_ndarray()
            .astype(np.uint8, copy=False)
        )
        if has_alpha:
            picture = self._over_black(picture)
        return _upright(picture, self._orientation)

    def notices(self) -> tuple[Notice, ...]:
        """What was changed, as far as frames were converted so far."""
        found = []
        depth = max(component.bits for component in self._first.format.components)
        if not np.array_equal(self._orientation, np.eye(2)):
            found.append(Notice("rotated", "The clip was turned upright, as its file asks for."))
        if self._width != self._coded_size[0]:
            width = self._coded_size[0]
            text = f"Its oblong pixels were made square: {self._width} a line instead of {width}."
            found.append(Notice("square_pixels", text))
        if depth > 8:
            found.append(Notice("bit_depth", f"Its {depth}-bit colours were reduced to 8 bits."))
        if self._first.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67):
            found.append(Notice("hdr", "It is a high dynamic range clip; its colours will look flat."))
        if self._was_transparent:
            found.append(Notice("alpha", "Its transparent parts were laid over black."))
        return (*found, *size_notices(*self.size))

    def _over_black(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        alpha = picture[..., 3:].astype(np.uint16)
        if alpha.min() == 255:
            return picture[..., :3]
        self._was_transparent = True
        return ((picture[..., :3] * alpha + 127) // 255).astype(np.uint8)


def _colorspace(frame: VideoFrame) -> Colorspace | None:
    # Files that do not say are BT.709 from HD upwards by convention; the converter would take BT.601.
    is_unspecified = int(frame.colorspace) in _UNSPECIFIED_COLORSPACES
    return Colorspace.ITU709 if is_unspecified and frame.height >= _HD_HEIGHT else None


def _orientation(frame: VideoFrame) -> NDArray[np.float64]:
    """The display matrix [[a, b], [c, d]]: a pixel at (x, y) is shown at (a x + c y, b x + d y)."""
    for side_data in cast(SideDataContainer, frame.side_data):
        if side_data.type == Type.DISPLAYMATRIX:
            matrix = np.frombuffer(bytes(side_data), dtype=np.int32).reshape(3, 3)
            return matrix[:2, :2] / 65536.0
    return np.eye(2)


def _is_on_its_side(orientation: NDArray[np.float64]) -> bool:
    return bool(abs(orientation[0, 1]) > abs(orientation[0, 0]))


def _upright(picture: NDArray[np.uint8], orientation: NDArray[np.float64]) -> NDArray[np.uint8]:
    (a, b), (c, d) = orientation
    if _is_on_its_side(orientation):
        picture, x_sign, y_sign = picture.swapaxes(0, 1), c, b
    else:
        x_sign, y_sign = a, d
    return picture[:: -1 if y_sign < 0 else 1, :: -1 if x_sign < 0 else 1]
