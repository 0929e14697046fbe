"""Clicks, a box, and both together, as immutable values, and whether they fit a clip.

Coordinates are pixels of the source video, x to the right, y down, origin at the top-left corner of the
frame; the centre of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from segmentation.errors import SelectionError


@dataclass(frozen=True)
class Click:
    """A point on the object (positive), or one beside it (negative); pixels from the top-left corner.

    Raises `SelectionError` if a coordinate is not a finite number, or the sign is not a bool.
    """

    x: float
    y: float
    is_positive: bool = True

    def __post_init__(self) -> None:
        _check_finite("click", x=self.x, y=self.y)
        if not isinstance(self.is_positive, bool):
            raise SelectionError(f"is_positive is {self.is_positive!r}; pass True or False")


@dataclass(frozen=True)
class Box:
    """A rectangle round the object, from the top-left corner to the bottom-right one, exclusive.

    Raises `SelectionError` if a coordinate is not finite or the box has no area.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        _check_finite("box", x0=self.x0, y0=self.y0, x1=self.x1, y1=self.y1)
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise SelectionError(
                f"the box {self.x0:g},{self.y0:g},{self.x1:g},{self.y1:g} has no area; "
                "pass left, top, right, bottom with left < right and top < bottom"
            )


@dataclass(frozen=True)
class Selection:
    """All clicks in the order they were made, and at most one box, on one 0-based frame.

    Raises `SelectionError` if the frame number is negative or not whole.
    """

    frame_index: int = 0
    clicks: tuple[Click, ...] = ()
    box: Box | None = None

    def __post_init__(self) -> None:
        index = self.frame_index
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise SelectionError(f"the frame number is {index!r}; pass a whole number from 0")

    @property
    def is_empty(self) -> bool:
        """Whether it has neither clicks nor box."""
        return not self.clicks and self.box is None

    def with_click(self, click: Click) -> Self:
        """A copy with one more click."""
        return replace(self, clicks=(*self.clicks, click))

    def with_box(self, box: Box) -> Self:
        """A copy with this box instead of any earlier one."""
        return replace(self, box=box)

    def undo(self) -> Self:
        """A copy without the latest click; if there is none, without the box."""
        return replace(self, clicks=self.clicks[:-1]) if self.clicks else replace(self, box=None)

    def cleared(self) -> Self:
        """A copy of the same frame without clicks and box."""
        return replace(self, clicks=(), box=None)

    def to_dict(self) -> dict[str, Any]:
        """The selection as plain JSON values."""
        return {
            "frame_index": self.frame_index,
            "clicks": [asdict(click) for click in self.clicks],
            "box": asdict(self.box) if self.box else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Missing entries take their default.

        Raises `SelectionError` if an entry is unknown, missing or out of its range.
        """
        try:
            entries = dict(values)
            box = entries.pop("box", None)
            clicks = tuple(Click(**click) for click in entries.pop("clicks", ()))
            return cls(clicks=clicks, box=None if box is None else Box(**box), **entries)
        except TypeError as error:
            raise SelectionError(
                f"the selection {values!r} cannot be read ({error}); "
                'pass {"frame_index": 0, "clicks": [{"x": 1.5, "y": 2.5, "is_positive": true}], "box": null}'
            ) from error


def check_selection(
    selection: Selection, *, shape: tuple[int, int, int], may_only_remove: bool = False
) -> None:
    """Raise unless a selection fits a clip of (F, H, W) `shape`. A box may stick out of the frame.

    `may_only_remove` allows negative clicks alone, because they correct an earlier mask. Raises
    `SelectionError` if nothing positive was selected, a click or all of the box lies outside the frame, or
    the clip has no such frame.
    """
    num_frames, height, width = shape
    check_frame_index(selection.frame_index, num_frames)
    box = selection.box
    if box is None and not any(click.is_positive or may_only_remove for click in selection.clicks):
        raise SelectionError("nothing is selected; click on the object or draw a box round it")
    for click in selection.clicks:
        if not (0 <= click.x < width and 0 <= click.y < height):
            raise SelectionError(
                f"the click at {click.x:g},{click.y:g} lies outside the {width}x{height} frame; "
                f"click at x from 0 to {width - 1}, y from 0 to {height - 1}"
            )
    if box is not None and (box.x1 <= 0 or box.y1 <= 0 or box.x0 >= width or box.y0 >= height):
        raise SelectionError(
            f"the box {box.x0:g},{box.y0:g},{box.x1:g},{box.y1:g} lies outside the {width}x{height} frame; "
            "draw it over the object"
        )


def check_frame_index(index: int, num_frames: int) -> None:
    """Raise `SelectionError` unless a clip of `num_frames` frames has a frame `index`, counted from 0."""
    if not 0 <= index < num_frames:
        raise SelectionError(f"the clip has no frame {index}; choose a frame from 0 to {num_frames - 1}")


def _check_finite(what: str, **coordinates: Any) -> None:
    for name, value in coordinates.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise SelectionError(f"{name} of the {what} is {value!r}; pass a finite number of pixels")
