"""A small procedural world: captioned clips of one coloured object moving before a scene.

It is the training data of the embedded models, the source of the example clips, and the ground truth
of the benchmarks: every clip comes with its exact mask, colour, material, noun, place, motion and track.
"""

from training.world.materials import COLOURS, MATERIALS, nearest_colour
from training.world.objects import LIKE_OUTLINES, NOUNS
from training.world.places import PLACES
from training.world.render import Rendered, background, object_mask, object_tracks, render, render_batch
from training.world.scene import (
    ATTRIBUTES,
    MOTIONS,
    NUM_FORMS,
    USUAL_SHOT,
    Companion,
    Scene,
    Shot,
    caption,
    changed,
    is_held_out,
    sample_scene,
    variants,
)

__all__ = [
    "ATTRIBUTES",
    "COLOURS",
    "LIKE_OUTLINES",
    "MATERIALS",
    "MOTIONS",
    "NOUNS",
    "NUM_FORMS",
    "PLACES",
    "USUAL_SHOT",
    "Companion",
    "Rendered",
    "Scene",
    "Shot",
    "background",
    "caption",
    "changed",
    "is_held_out",
    "nearest_colour",
    "object_mask",
    "object_tracks",
    "render",
    "render_batch",
    "sample_scene",
    "variants",
]
