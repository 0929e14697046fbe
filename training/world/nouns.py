"""Every noun of the world by its name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from training.world import animals, toys, vehicles
from training.world.objects import Layer

NOUNS: dict[str, Callable[[Tensor], list[Layer]]] = {
    "ball": toys.ball,
    "cube": toys.cube,
    "star": toys.star,
    "heart": toys.heart,
    "car": vehicles.car,
    "boat": vehicles.boat,
    "fish": animals.fish,
    "bird": animals.bird,
    "balloon": toys.balloon,
    "mushroom": toys.mushroom,
    "duck": animals.duck,
    "rocket": vehicles.rocket,
    "bus": vehicles.bus,
    "truck": vehicles.truck,
    "pumpkin": toys.pumpkin,
    "planet": toys.planet,
    "plane": vehicles.plane,
    "cat": animals.cat,
    "dog": animals.dog,
}
"""From (..., 2) points in the object's frame, its body roughly within [-1, 1], to layers painted in order."""

LIKE_OUTLINES: tuple[tuple[str, ...], ...] = (
    ("car", "bus", "truck"),
    ("ball", "pumpkin", "planet"),
    ("bird", "plane"),
    ("boat", "duck"),
    ("cat", "dog"),
)
"""Nouns of like outline, so that one can become another where it stands."""
