"""Held-out clips of the procedural world: what is edited and sampled, what is asked, and true renders of it.

Every case is fixed by its number alone, so that a run can be cut short, continued, shared between processes
or made longer without changing any case.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dreammotion_core.finishing import grown_mask
from dreammotion_core.values import Frames, Mask
from training.world import (
    ATTRIBUTES,
    LIKE_OUTLINES,
    MATERIALS,
    Scene,
    Shot,
    changed,
    object_mask,
    render_batch,
    sample_scene,
)
from training.world.materials import to_lab

FIRST_SEED = 3_000_000_000  # training draws its scenes from small seeds
ROOM = 2
"""Pixels round both outlines that an edit into another noun may use: the soft edge of the old one must go."""
SEEDS_A_CASE = 1000  # how many seeds belong to a case; the first whose scene suits it is taken

Kind = Literal["colour", "material", "noun"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # what an edit changes; the cases go through them in turn

BACKGROUND_DISTANCE = 6.0
"""A pixel nearer than this to the empty scene counts as background: about three times the distance that
the autoencoder leaves on a background it only repeats."""
SHADES = (1.0, 0.85, 0.7, 0.6)  # how much darker a shadow may make the background; a shadow is no object

Lab = NDArray[np.float32]  # (F, H, W, 3) CIELAB, L in [0, 100]


@dataclass(frozen=True)
class EditCase:
    """An edit: a scene, and the scene with one thing changed."""

    index: int
    kind: Kind
    source: Scene
    target: Scene

    @property
    def asked(self) -> str:
        """The value asked for, such as ``"blue"``."""
        return str(getattr(self.target, self.kind))

    def outlines(self, *, shot: Shot) -> Mask:
        """The object's exact mask, (F, H, W); for another noun, joined with the target's at the same pose."""
        scenes = {self.source, self.target} if self.kind == "noun" else {self.source}
        return torch.stack([object_mask(scene, shot=shot) for scene in scenes]).any(dim=0).numpy()

    def mask(self, *, shot: Shot) -> Mask:
        """What the edit may change, (F, H, W).

        The outlines; for another noun grown by `ROOM` pixels, as by a user who selects a little generously.
        """
        outlines = self.outlines(shot=shot)
        return grown_mask(outlines, pixels=ROOM) if self.kind == "noun" else outlines


def edit_case(index: int) -> EditCase:
    """The edit of a number: the first of its seeds with a suitable scene, and a random target."""
    kind = KINDS[index % len(KINDS)]
    for seed in count(FIRST_SEED + index * SEEDS_A_CASE):
        source = sample_scene(seed, held_out=True)
        if targets := _targets(source, kind):
            asked = random.Random(seed).choice(targets)
            return EditCase(index, kind, source, changed(source, attribute=kind, value=asked))
    raise AssertionError("count never ends")


def _targets(scene: Scene, kind: Kind) -> list[str]:
    """What a scene can be turned into; nothing if it does not suit the kind of edit."""
    if kind == "colour":
        options = ATTRIBUTES["colour"] if MATERIALS[scene.material].keeps_colour else ()
    elif kind == "material":
        options = ATTRIBUTES["material"] if scene.material == "plain" else ()
    else:
        options = next((group for group in LIKE_OUTLINES if scene.noun in group), ())
    return [option for option in options if option != getattr(scene, kind)]


def edit_indices(num_cases: int, *, kinds: tuple[str, ...] = KINDS, skip: int = 0) -> list[int]:
    """The numbers of the first cases of some kinds, after `skip` others of these kinds."""
    wanted = (index for index in count() if KINDS[index % len(KINDS)] in kinds)
    return list(islice(wanted, skip, skip + num_cases))


def sample_case(index: int) -> Scene:
    """The held-out scene of a number, for sampling; its plain caption is the prompt."""
    return sample_scene(FIRST_SEED + index * SEEDS_A_CASE, held_out=True)


def shot_like(frames: Frames, *, fps: float) -> Shot:
    """A shot of as many frames and pixels as a clip (F, H, W, 3)."""
    return Shot(len(frames), fps, frames.shape[1])


def rendered(scenes: Sequence[Scene], *, shot: Shot) -> list[Frames]:
    """True renders (F, H, W, 3) uint8 RGB of scenes."""
    return [clip.frames.numpy() for clip in render_batch(scenes, shot=shot)]


def lab(frames: Frames) -> Lab:
    """(F, H, W, 3) uint8 RGB as CIELAB."""
    return to_lab(frames.astype(np.float32) / 255)


def visible_object(frames: Frames, empty: Frames, *, region: Mask) -> Mask:
    """(F, H, W) where a clip shows something other than its background, lit or in shadow.

    Holes are filled: an object may be as green as the meadow in places.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        region: (F, H, W), where to look.
    """
    pixels = lab(frames)
    differs = region.copy()
    for shade in SHADES:
        shaded = lab((empty * shade).astype(np.uint8))
        differs &= np.linalg.norm(pixels - shaded, axis=-1) > BACKGROUND_DISTANCE
    return np.stack([_without_holes(frame) for frame in differs]) & region


def _without_holes(frame: NDArray[np.bool_]) -> NDArray[np.bool_]:
    closed = cv2.morphologyEx(frame.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(closed), outlines, -1, 1, cv2.FILLED) > 0
