"""Pictures between the forms of files and RGB, and chains of FFmpeg's filters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import Any, cast

import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc
from numpy.typing import NDArray

from dreammotion_core.errors import VideoError
from dreammotion_core.media.limits import check_size, size_notices
from dreammotion_core.values import Notice

_EXACT = "bicubic+accurate_rnd+full_chroma_int"
"""How FFmpeg converts without rounding errors; by default pictures come out 1 to 1.5 levels too dark."""

_MATRICES = {1: "bt709", 4: "fcc", 5: "smpte170m", 6: "smpte170m", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
_RANGES = {1: "tv", 2: "pc"}
_HD_HEIGHT = 720


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
            self._graphs[form] = self._graph(frame)
        graph = self._graphs[form]
        graph.push(frame)
        picture = cast(VideoFrame, graph.pull()).to_ndarray()
        self._was_interlaced |= frame.interlaced_frame
        if picture.shape[-1] == 3:
            return cast(NDArray[np.uint8], picture)
        alpha = picture[..., 3:].astype(np.uint16)
        if alpha.min() == 255:
            return cast(NDArray[np.uint8], picture[..., :3])
        self._was_transparent = True
        return ((picture[..., :3] * alpha + 127) // 255).astype(np.uint8)

    def notices(self) -> tuple[Notice, ...]:
        """What was changed, as far as pictures were converted so far."""
        found = []
        depth = max(component.bits for component in self._first.format.components)
        if not np.array_equal(self._matrix, np.eye(2)):
            found.append(Notice("rotated", "The clip was turned upright, as its file asks for."))
        if self._width != self._coded[0]:
            text = f"Its oblong pixels were made square: {self._width} a line instead of {self._coded[0]}."
            found.append(Notice("square_pixels", text))
        if depth > 8:
            found.append(Notice("bit_depth", f"Its {depth}-bit colours were reduced to 8 bits."))
        if self._first.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67):
            found.append(Notice("hdr", "It is a high dynamic range clip; its colours will look flat."))
        if self._was_interlaced:
            found.append(Notice("interlaced", "It is interlaced; moving edges will show as combs."))
        if self._was_transparent:
            found.append(Notice("alpha", "Its transparent parts were laid over black."))
        return (*found, *size_notices(*self.size))

    def _graph(self, frame: VideoFrame) -> Graph:
        # Files that do not say are BT.709 from HD upwards by convention, BT.601 below.
        unstated = "bt709" if frame.height >= _HD_HEIGHT else "smpte170m"
        colours = (
            f"in_color_matrix={_MATRICES.get(frame.colorspace, unstated)}"
            f":in_range={_RANGES.get(frame.color_range, 'auto')}"
        )
        has_alpha = any(component.is_alpha for component in frame.format.components)
        (a, b), (c, d) = self._matrix
        x_sign, y_sign = (c, b) if self._is_on_its_side else (a, d)
        turns = (
            (("transpose", "cclock_flip"), self._is_on_its_side),
            (("hflip", ""), x_sign < 0),
            (("vflip", ""), y_sign < 0),
        )
        return picture_graph(
            frame,
            ("scale", f"{self._width}:{frame.height}:flags={_EXACT}:{colours}"),
            # Exact conversion to planes takes a third of the time of that to packed pixels.
            ("format", "gbrap" if has_alpha else "gbrp"),
            *(turn for turn, is_needed in turns if is_needed),
        )


def to_yuv(pictures: Iterable[NDArray[np.uint8]], *, fps: Fraction) -> Iterator[VideoFrame]:
    """Pictures of (H, W, 3) uint8 RGB for an encoder: yuv420p, BT.709, limited range.

    An odd side gets its last row or column repeated once.
    """
    graph: Graph | None = None
    for index, picture in enumerate(pictures):
        height, width, _ = picture.shape
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(even, format="rgb24")
        frame.pts, frame.time_base = index, 1 / fps
        if graph is None:
            colours = "out_color_matrix=bt709:out_range=tv"
            graph = picture_graph(frame, ("scale", f"flags={_EXACT}:{colours}"), ("format", "yuv420p"))
        graph.push(frame)
        yield cast(VideoFrame, graph.pull())


def picture_graph(like: VideoFrame, *filters: tuple[str, str]) -> Graph:
    """A chain of FFmpeg's filters, each a name and its options, for pictures like the given one."""
    graph = Graph()
    source = graph.add_buffer(
        width=like.width, height=like.height, format=like.format, time_base=like.time_base
    )
    return linked(graph, source, *filters, ("buffersink", ""))


def linked(graph: Graph, source: FilterContext, *filters: tuple[str, str]) -> Graph:
    """Link filters behind a source of the graph."""
    graph.link_nodes(source, *(graph.add(name, options or None) for name, options in filters)).configure()
    return graph


def filtered(graph: Graph, frames: Iterable[Any]) -> Iterator[Any]:
    """What comes out of a graph for frames that go in, until it wants no more."""
    for frame in chain(frames, [None]):
        graph.push(frame)
        try:
            while True:
                yield graph.pull()
        except BlockingIOError:
            continue
        except EOFError:
            return


def _display_matrix(frame: VideoFrame) -> NDArray[np.float64]:
    """((a, b), (c, d)): a pixel at (x, y) is shown at (a x + c y, b x + d y)."""
    for side_data in cast(SideDataContainer, frame.side_data):
        if side_data.type == Type.DISPLAYMATRIX:
            return np.frombuffer(bytes(side_data), np.int32).reshape(3, 3)[:2, :2] / 65536
    return np.eye(2)
