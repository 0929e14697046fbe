"""What a clip shows, how it is sampled from a seed, and what its captions say."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

from training.world.palette import COLOURS
from training.world.places import PLACES
from training.world.shapes import NOUNS

MOTIONS: dict[str, str] = {
    "right": "moving to the right",
    "left": "moving to the left",
    "bounce": "bouncing",
    "spin": "spinning",
    "zoom": "coming closer",
    "arc": "jumping",
    "wobble": "wobbling",
    "pan": "followed by the camera",
}
"""Motion name and the words a caption uses for it."""

TEMPLATES = (
    "a {colour} {noun}, {place}",
    "a {colour} {noun} {where}",
    "a {colour} {noun} {motion} {where}",
    "a {colour} {noun} {motion}, {place}",
    "{colour} {noun} {where}",
    "a video of a {colour} {noun} {where}",
)


@dataclass(frozen=True)
class Scene:
    """Everything that determines a clip, so that a changed copy differs in nothing else.

    Attributes:
        colour, noun, place, motion: keys of COLOURS, NOUNS, PLACES, MOTIONS.
        seed: fixes the background's details and the sensor noise.
        x, y: centre of the object in the middle of the clip, in [-1, 1], y up.
        size: half the object's width, in half frame heights.
        phase: start of periodic motion, in [0, 1).
        speed: how far or how fast it moves, about 1.
    """

    colour: str
    noun: str
    place: str
    motion: str
    seed: int
    x: float = 0.0
    y: float = -0.2
    size: float = 0.42
    phase: float = 0.0
    speed: float = 1.0


def is_held_out(colour: str, noun: str, place: str) -> bool:
    """Whether a combination is kept for evaluation: one in ten, fixed for all time by its name."""
    return zlib.crc32(f"{colour}/{noun}/{place}".encode()) % 10 == 0


def sample_scene(seed: int, *, held_out: bool | None = False) -> Scene:
    """The scene of a seed.

    Args:
        seed: any whole number; training uses [0, 10^9), evaluation uses seeds above.
        held_out: False draws from the training combinations only, True from the held-out ones only,
            None from all.
    """
    rng = random.Random(seed)
    while True:
        colour, noun, place = rng.choice(list(COLOURS)), rng.choice(list(NOUNS)), rng.choice(list(PLACES))
        if held_out is None or is_held_out(colour, noun, place) == held_out:
            break
    return Scene(
        colour=colour,
        noun=noun,
        place=place,
        motion=rng.choice(list(MOTIONS)),
        seed=seed,
        x=rng.uniform(-0.3, 0.3),
        y=rng.uniform(-0.38, 0.12),
        size=rng.uniform(0.34, 0.54),
        phase=rng.random(),
        speed=rng.uniform(0.7, 1.2),
    )


def caption(scene: Scene, template: int = 1) -> str:
    """A sentence that describes the scene; `template` picks its form, modulo their number."""
    return TEMPLATES[template % len(TEMPLATES)].format(
        colour=scene.colour,
        noun=scene.noun,
        place=scene.place,
        where=PLACES[scene.place].where,
        motion=MOTIONS[scene.motion],
    )
