"""What captions say about a scene, in several forms and with paraphrases."""

from __future__ import annotations

from training.world.materials import MATERIALS
from training.world.motions import MOTIONS
from training.world.places import PLACES
from training.world.scene import Companion, Scene

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
NUM_FORMS = len(FORMS) * WORDINGS
"""How many captions a scene has at most."""


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
    """A sentence that describes the scene.

    Args:
        scene: what to describe.
        form: which of the `NUM_FORMS` sentences, modulo their number; 1 is the plain one
            ("a striped red car on a road").
    """
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
