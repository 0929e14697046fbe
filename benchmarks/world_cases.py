"""Which held-out clips are edited and sampled, and what is asked of each.

Every case is fixed by its number alone, so that a run can be cut short, continued, shared between
processes or made longer without changing any case.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import count, islice
from typing import Literal, get_args

import torch

from dreammotion_core.masks import grown_mask
from dreammotion_core.values import Mask
from training.world import (
    ATTRIBUTES,
    LIKE_OUTLINES,
    MATERIALS,
    Scene,
    Shot,
    changed,
    object_mask,
    sample_scene,
)

FIRST_SEED = 3_000_000_000
"""Training draws its scenes from small seeds."""
ROOM = 2
"""Pixels round both outlines that another noun may use: the soft edge of the old one has to go."""
SEEDS_A_CASE = 1000
"""How many seeds belong to a case; the first whose scene suits it is taken."""

Kind = Literal["colour", "material", "noun"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What an edit changes; the cases go through them in turn."""


@dataclass(frozen=True)
class Case:
    """An edit: a scene, and the scene with one thing changed.

    Attributes:
        index: the number that fixes everything else.
        kind: what changes, also the name of that attribute of a scene.
        source: what the clip shows.
        target: what is asked for.
    """

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


def _targets(scene: Scene, kind: Kind) -> list[str]:
    """What a scene can be turned into; nothing if it does not suit the kind of edit."""
    if kind == "colour":
        options = ATTRIBUTES["colour"] if MATERIALS[scene.material].keeps_colour else ()
    elif kind == "material":
        options = ATTRIBUTES["material"] if scene.material == "plain" else ()
    else:
        options = next((group for group in LIKE_OUTLINES if scene.noun in group), ())
    return [option for option in options if option != getattr(scene, kind)]


def edit_case(index: int) -> Case:
    """The edit of a number: the first of its seeds with a suitable scene, and a random target."""
    kind = KINDS[index % len(KINDS)]
    for seed in count(FIRST_SEED + index * SEEDS_A_CASE):
        source = sample_scene(seed, held_out=True)
        if targets := _targets(source, kind):
            asked = random.Random(seed).choice(targets)
            return Case(index, kind, source, changed(source, attribute=kind, value=asked))
    raise AssertionError("count never ends")


def edit_indices(num_cases: int, *, kinds: tuple[str, ...] = KINDS, skip: int = 0) -> list[int]:
    """The numbers of the first cases of some kinds.

    Args:
        num_cases: how many.
        kinds: which.
        skip: how many of these kinds come before, such as those that a setting is judged on later.
    """
    wanted = (index for index in count() if KINDS[index % len(KINDS)] in kinds)
    return list(islice(wanted, skip, skip + num_cases))


def sample_case(index: int) -> Scene:
    """The held-out scene of a number, for sampling; its plain caption is the prompt."""
    return sample_scene(FIRST_SEED + index * SEEDS_A_CASE, held_out=True)
