"""What can be said of a scene in one word, and the same scene with another word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from training.world.materials import MATERIALS
from training.world.nouns import NOUNS
from training.world.palette import COLOURS
from training.world.places import PLACES
from training.world.scene import Scene

ATTRIBUTES = {
    "colour": tuple(COLOURS),
    "material": tuple(MATERIALS),
    "noun": tuple(NOUNS),
    "place": tuple(PLACES),
}
"""What can be asked about a picture, and all answers."""


def changed(scene: Scene, *, attribute: str, value: str) -> Scene:
    """The scene with one attribute changed and nothing else."""
    change: dict[str, Any] = {attribute: value}
    return replace(scene, **change)


def variants(scene: Scene, *, attribute: str) -> dict[str, Scene]:
    """The scene with every value of an attribute, its own included, in the order of `ATTRIBUTES`."""
    return {value: changed(scene, attribute=attribute, value=value) for value in ATTRIBUTES[attribute]}
