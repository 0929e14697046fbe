"""What a clip shows, and how it is sampled from a seed."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, replace
from typing import Any

import torch

from training.world.materials import COLOURS, MATERIALS
from training.world.objects import NOUNS
from training.world.places import PLACES


@dataclass(frozen=True)
class Shot:
    """Length and size of a clip, and where it is drawn."""

    num_frames: int = 8
    fps: float = 8.0
    resolution: int = 128  # height and width in pixels
    device: str | torch.device = "cpu"


USUAL_SHOT = Shot()  # the shot of the training clips

MOTIONS: dict[str, tuple[str, ...]] = {
    "right": ("moving to the right", "going right"),
    "left": ("moving to the left", "going left"),
    "bounce": ("bouncing", "bouncing up and down"),
    "spin": ("spinning", "turning round"),
    "zoom": ("coming closer", "getting bigger"),
    "arc": ("jumping", "leaping"),
    "wobble": ("wobbling", "rocking"),
    "pan": ("followed by the camera", "seen by a moving camera"),
}
"""Motion -> its words in captions, the usual ones first. Scenes are drawn by the order of the names."""

WORLD_VERSION = 2  # number that goes up when equal seeds give other clips, and that names kept files

PLAIN_SHARE = 0.4  # part of the scenes whose object has one plain colour
COMPANION_SHARE = 0.15  # part of the scenes with a second object


@dataclass(frozen=True)
class Companion:
    """A second, resting object, smaller and behind the first."""

    colour: str
    noun: str
    x: float
    y: float
    size: float
    material: str = "plain"


@dataclass(frozen=True)
class Scene:
    """Everything that determines a clip; a changed copy differs in nothing else."""

    colour: str
    noun: str
    place: str
    motion: str
    seed: int
    material: str = "plain"
    x: float = 0.0  # centre in the middle of the clip, in [-1, 1]
    y: float = -0.2  # the same, up
    size: float = 0.42
    phase: float = 0.0  # start of periodic motion, in [0, 1)
    speed: float = 1.0
    companion: Companion | None = None
    second_motion: str = ""  # at the same time; no caption says so, and no training clip has one

    @property
    def is_held_out(self) -> bool:
        """Whether its combination is kept for evaluation."""
        return is_held_out(_visible(self.colour, self.material), self.noun, self.place)


def is_held_out(colour: str, noun: str, place: str) -> bool:
    """Whether a combination is kept for evaluation: one in ten, fixed for all time by its name.

    For a substance that hides the colour, its name stands in for the colour's.
    """
    return zlib.crc32(f"{colour}/{noun}/{place}".encode()) % 10 == 0


def sample_scene(seed: int, *, held_out: bool | None = False) -> Scene:
    """The scene of a seed.

    Args:
        held_out: False draws from the training combinations only, True from the held-out ones only,
            None from all.
    """
    rng = random.Random(seed)
    while True:
        colour, noun, place = rng.choice(list(COLOURS)), rng.choice(list(NOUNS)), rng.choice(list(PLACES))
        material = "plain" if rng.random() < PLAIN_SHARE else rng.choice(list(MATERIALS)[1:])
        if held_out is None or is_held_out(_visible(colour, material), noun, place) == held_out:
            break
    x, y = rng.uniform(-0.3, 0.3), rng.uniform(-0.38, 0.12)
    return Scene(
        colour=colour,
        noun=noun,
        place=place,
        motion=rng.choice(list(MOTIONS)),
        seed=seed,
        material=material,
        x=x,
        y=y,
        size=rng.uniform(0.34, 0.54),
        phase=rng.random(),
        speed=rng.uniform(0.7, 1.2),
        companion=_sample_companion(rng, x, y) if rng.random() < COMPANION_SHARE else None,
    )


def _visible(colour: str, material: str) -> str:
    """The colour, or the substance that hides it."""
    return colour if MATERIALS[material].keeps_colour else material


def _sample_companion(rng: random.Random, x: float, y: float) -> Companion:
    side = -1 if x > 0 else 1
    return Companion(
        colour=rng.choice(list(COLOURS)),
        noun=rng.choice(list(NOUNS)),
        x=side * rng.uniform(0.55, 0.8),
        y=y + rng.uniform(0.05, 0.25),
        size=rng.uniform(0.16, 0.22),
    )


FORMS = (
    "{thing}, {place}",
    "{thing} {where}",
    "{thing} {motion} {where}",
    "{thing} {motion}, {place}",
    "{bare} {where}",
    "a video of {thing} {where}",
    "{thing}",
)
WORDINGS = 4
NUM_FORMS = len(FORMS) * WORDINGS  # captions of a scene, at most


def with_article(words: str) -> str:
    """The words with the article they need, as in "an orange fish"."""
    return f"{'an' if words[0] in 'aeio' else 'a'} {words}"


def appearance(thing: Scene | Companion) -> str:
    """The words for material and colour: "striped red", "red", "golden"."""
    words = [] if thing.material == "plain" else [thing.material]
    if MATERIALS[thing.material].keeps_colour:
        words.append(thing.colour)
    return " ".join(words)


def caption(scene: Scene, form: int = 1) -> str:
    """A sentence that describes the scene."""
    wording = form // len(FORMS) % WORDINGS
    places = (PLACES[scene.place].where, *PLACES[scene.place].also)
    bare = f"{appearance(scene)} {scene.noun}"
    sentence = FORMS[form % len(FORMS)].format(
        thing=with_article(bare),
        bare=bare,
        place=scene.place,
        where=places[wording % len(places)],
        motion=MOTIONS[scene.motion][wording % 2],
    )
    if scene.companion and wording > 1:
        return f"{sentence} with {with_article(f'{appearance(scene.companion)} {scene.companion.noun}')}"
    return sentence


def every_sentence() -> list[str]:
    """Texts that together hold every word that a caption can contain."""
    return [
        *FORMS,
        "an with",
        *(phrase for phrases in MOTIONS.values() for phrase in phrases),
        *(phrase for place in PLACES.values() for phrase in (place.where, *place.also)),
        *PLACES,
    ]


ATTRIBUTES = {
    "colour": tuple(COLOURS),
    "material": tuple(MATERIALS),
    "noun": tuple(NOUNS),
    "place": tuple(PLACES),
}
"""Attribute -> its values."""


def changed(scene: Scene, *, attribute: str, value: str) -> Scene:
    """The scene with one attribute changed and nothing else."""
    change: dict[str, Any] = {attribute: value}
    return replace(scene, **change)


def variants(scene: Scene, *, attribute: str) -> dict[str, Scene]:
    """The scene with every value of an attribute, its own included, in the order of `ATTRIBUTES`."""
    return {value: changed(scene, attribute=attribute, value=value) for value in ATTRIBUTES[attribute]}
