"""Pictures between the forms of files and RGB, by FFmpeg's filters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, Interpolation
from numpy.typing import NDArray

from dreammotion_core.errors import VideoError
from dreammotion_core.media.limits import check_size, size_notices
from dreammotion_core.values import Notice

_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""How FFmpeg converts without rounding errors; by default pictures come out 1 to 1.5 levels too dark."""

_MATRICES = (1, 4, 5, 6, 7, 9, 10)  # of YUV colours, as FFmpeg numbers them
_BT709, _BT601 = 1, 6


class FrameConverter:
    """Converts the pictures of one clip to upright RGB with square pixels, and remembers what that changed.

    Size and orientation of `first`, any picture of the clip, hold for all; `pixel_aspect` is the width of a
    pixel divided by its height. Raises `VideoError` if the size is not accepted.
    """

    def __init__(self, first: VideoFrame, pixel_aspect: float) -> None:
        check_size(first.width, first.height)
        self._first = first
        self._coded = first.width, first.height
        self._width = max(1, round(first.width * pixel_aspect))
        check_size(self._width, first.height)
        self._matrix = _display_matrix(first)
        self._is_on_its_side = abs(self._matrix[0, 1]) > abs(self._matrix[0, 0])
        self._graphs: dict[tuple[object, ...], Graph] = {}
        self._was_transparent = self._was_interlaced = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the converted pictures."""
        size = self._first.height, self._width
        return size[::-1] if self._is_on_its_side else size

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which pictures are turned: 0, 90, 180 or 270. Mirroring does not count."""
        x, y = self._matrix[0]
        return 90 * (round(float(np.degrees(np.arctan2(y, x))) / 90) % 4)

    def to_rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Give a picture as (H, W, 3) uint8 RGB, transparent parts laid over black.

        Raises `VideoError` if its size differs from the first one's.
        """
        if (frame.width, frame.height) != self._coded:
            raise VideoError(
                f"the picture size changes within the clip, from {self._coded[0]}x{self._coded[1]} "
                f"to {frame.width}x{frame.height}; pass a clip of one size"
            )
        form = frame.format.name, frame.colorspace, frame.color_range
        if form not in self._graphs:
            # Files that name no matrix are BT.709 from HD upwards by convention, BT.601 below.
            unstated = _BT709 if frame.height >= 720 else _BT601
            matrix = frame.colorspace if frame.colorspace in _MATRICES else unstated
            colours = f"in_color_matrix={int(matrix)}:in_range={int(frame.color_range)}"
            has_alpha = any(component.is_alpha for component in frame.format.components)
            self._graphs[form] = picture_graph(
                frame,
                ("scale", f"{self._width}:{frame.height}:flags={int(_EXACT)}:{colours}"),
                # Exact conversion to planes takes a third of the time of that to packed pixels.
                ("format", "gbrap" if has_alpha else "gbrp"),
            )
        self._graphs[form].push(frame)
        pixels = self._graphs[form].vpull().to_ndarray()
        picture, alpha = pixels[..., :3], pixels[..., 3:]
        self._was_interlaced |= frame.interlaced_frame
        if alpha.size and alpha.min() < 255:
            self._was_transparent = True
            picture = ((picture * alpha.astype(np.uint16) + 127) // 255).astype(np.uint8)
        upright = picture.swapaxes(0, 1) if self._is_on_its_side else picture
        x, y = (self._matrix[::-1] if self._is_on_its_side else self._matrix).diagonal()
        return upright[:: -1 if y < 0 else 1, :: -1 if x < 0 else 1]

    def notices(self) -> Iterator[Notice]:
        """What was changed, as far as pictures were converted so far."""
        (coded, _), depth = self._coded, max(part.bits for part in self._first.format.components)
        is_hdr = self._first.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
        square = f"Its oblong pixels were made square: {self._width} a line instead of {coded}."
        for code, is_so, text in (
            (
                "rotated",
                np.any(self._matrix != np.eye(2)),
                "The clip was turned upright, as its file asks for.",
            ),
            ("square_pixels", self._width != coded, square),
            ("bit_depth", depth > 8, f"Its {depth}-bit colours were reduced to 8 bits."),
            ("hdr", is_hdr, "It is a high dynamic range clip; its colours will look flat."),
            ("interlaced", self._was_interlaced, "It is interlaced; moving edges will show as combs."),
            ("alpha", self._was_transparent, "Its transparent parts were laid over black."),
        ):
            if is_so:
                yield Notice(code, text)
        yield from size_notices(*self.size)


def to_yuv(picture: NDArray[np.uint8]) -> VideoFrame:
    """An (H, W, 3) uint8 RGB picture as encoders take it: yuv420p, BT.709, limited range.

    An odd side gets its last row or column repeated once.
    """
    height, width, _ = picture.shape
    even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return VideoFrame.from_ndarray(even, format="rgb24").reformat(
        format="yuv420p",
        interpolation=_EXACT,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
    )


def picture_graph(like: VideoFrame, *filters: tuple[str, str]) -> Graph:
    """A chain of FFmpeg's filters, each a name and its options, for pictures like the given one."""
    graph = Graph()
    source = graph.add_buffer(
        width=like.width, height=like.height, format=like.format, time_base=like.time_base
    )
    chain = (graph.add(name, options or None) for name, options in (*filters, ("buffersink", "")))
    graph.link_nodes(source, *chain).configure()
    return graph


def _display_matrix(frame: VideoFrame) -> NDArray[np.float64]:
    """((a, b), (c, d)): a pixel at (x, y) is shown at (a x + c y, b x + d y)."""
    for side_data in cast(SideDataContainer, frame.side_data):
        if side_data.type == Type.DISPLAYMATRIX:
            return np.frombuffer(bytes(side_data), np.int32).reshape(3, 3)[:2, :2] / 65536
    return np.eye(2)
