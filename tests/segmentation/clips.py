"""Small clips, pictures and sessions with known masks, for the tests of all segmenters."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation import Click, Selection
from segmentation.base import FrameMask

SIZE = 96
CENTRE = Selection(clicks=(Click(0.4 * SIZE, 0.5 * SIZE),))
"""A click on the disc of `disc_clip`."""


def overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """IoU of two masks."""
    return float((first & second).sum() / (first | second).sum())


def disc_clip(
    num_frames: int = 4, *, size: int = SIZE, step: float = 3.0, start: float = 0.4
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A shaded red disc that moves to the right over a textured green ground, and its masks."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    texture = cv2.GaussianBlur(rng.normal(0, 60, (size, size)).astype(np.float32), (0, 0), 2)
    ground = np.stack([40 + texture, 130 + y / size * 60 + texture, 60 + texture], axis=-1)
    frames, masks = [], []
    for index in range(num_frames):
        across, down = x - (start * size + step * index), y - 0.5 * size
        inside = np.hypot(across, down) < 0.2 * size
        spots = 25 * np.sin(across / 3) * np.sin(down / 3)
        shade = 1 - 0.3 * (across + down) / (0.4 * size)
        disc = np.stack([190 * shade + spots, 40 * shade, 40 * shade], axis=-1)
        frames.append(np.where(inside[..., None], disc, ground))
        masks.append(inside)
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8), np.stack(masks)


def hidden_clip(*, step: int = 3) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A patch of gravel that moves over gravel: only its motion tells where it is."""
    rng = np.random.default_rng(0)
    ground, patch = (
        cv2.GaussianBlur(rng.normal(0, 200, (160, 160)).astype(np.float32), (0, 0), 2) + 128 for _ in range(2)
    )
    y, x = np.mgrid[0:160, 0:160]
    frames, masks = [], []
    for index in range(3):
        mask = np.hypot(x - 70 - step * index, y - 80) < 32
        frames.append(np.where(mask, np.roll(patch, step * index, axis=1), ground))
        masks.append(mask)
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=-1), np.stack(masks)


def picture_of(
    mask: NDArray[np.bool_],
    *,
    inside: tuple[int, int, int] = (160, 90, 60),
    outside: tuple[int, int, int] = (80, 120, 70),
    noise: float = 10,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """An object of one colour on a ground of another, under the same grey noise."""
    grain = np.random.default_rng(seed).normal(0, noise, (*mask.shape, 1))
    return np.clip(np.where(mask[..., None], inside, outside) + grain, 0, 255).astype(np.uint8)


Y, X = np.mgrid[:120, :160]
BODY = np.hypot((X - 60) / 40, (Y - 70) / 24) < 1
TAIL = (abs(Y - 62) < 8) & (X > 90) & (X < 135)
OBJECT = BODY | TAIL
PLAIN = np.full((120, 160, 3), 90, np.uint8)


def tailed_picture() -> NDArray[np.uint8]:
    """A brown body with a tail of another brown, on noisy green."""
    noise = np.random.default_rng(0).normal(0, 8, (120, 160, 1))
    colours = np.where(
        BODY[..., None], (150, 90, 60), np.where(TAIL[..., None], (175, 120, 80), (70, 130, 80))
    )
    return np.clip(colours + noise, 0, 255).astype(np.uint8)


DOWN, ACROSS = np.mgrid[:90, :120]
ELLIPSE = np.hypot((ACROSS - 60) / 26, (DOWN - 45) / 18) < 1


def disc(*, radius: float = 20, across: float = 48) -> NDArray[np.bool_]:
    """A disc on a square frame of 96 pixels."""
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.hypot(x - across, y - 48) < radius


def grainy_picture(mask: NDArray[np.bool_], *, seed: int = 0) -> NDArray[np.uint8]:
    """A brown object on an olive ground, with noise that hides a single pixel's side."""
    return picture_of(mask, inside=(150, 100, 70), outside=(110, 115, 70), noise=25, seed=seed)


class ScriptedSession:
    """A session without pictures; its subclasses say what a selection and following give."""

    num_frames: int

    def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
        raise NotImplementedError

    def followed(self, index: int, mask: FrameMask) -> FrameMask:
        """The mask on a frame to which one is followed."""
        raise NotImplementedError

    def propagate(self, selection: Selection) -> Iterator[tuple[int, FrameMask]]:
        return self.follow(selection.frame_index, self.mask_at(selection))

    def follow(
        self, start: int, mask: FrameMask, *, within: range | None = None
    ) -> Iterator[tuple[int, FrameMask]]:
        within = range(self.num_frames) if within is None else within
        yield start, mask
        for index in (*range(start + 1, within.stop), *range(start - 1, within.start - 1, -1)):
            yield index, self.followed(index, mask)
