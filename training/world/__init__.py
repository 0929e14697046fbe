"""A small procedural world: captioned clips of one coloured object moving before a scene.

It is the training data of the embedded models, the source of the example clips, and the ground truth
of the benchmarks: every clip comes with its exact mask, colour, material, noun, place, motion and track.
"""

from training.world.attributes import ATTRIBUTES, changed, variants
from training.world.captions import NUM_FORMS, caption
from training.world.materials import MATERIALS
from training.world.motions import MOTIONS
from training.world.nouns import LIKE_OUTLINES, NOUNS
from training.world.palette import COLOURS, nearest_colour
from training.world.places import PLACES
from training.world.poses import object_tracks
from training.world.render import Rendered, background, object_mask, render, render_batch
from training.world.scene import Companion, Scene, is_held_out, sample_scene
from training.world.shot import USUAL_SHOT, Shot

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
