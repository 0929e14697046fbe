"""A small procedural world: captioned clips of one coloured object moving before a scene.

It is the training data of the embedded models, the source of the example clips, and the ground truth
of the benchmarks: every clip comes with its exact mask, colour, noun, place and motion.
"""

from training.world.palette import COLOURS, nearest_colour
from training.world.places import PLACES
from training.world.render import Rendered, object_mask, render
from training.world.scene import Scene, caption, is_held_out, sample_scene
from training.world.shapes import NOUNS

__all__ = [
    "COLOURS",
    "NOUNS",
    "PLACES",
    "Rendered",
    "Scene",
    "caption",
    "is_held_out",
    "nearest_colour",
    "object_mask",
    "render",
    "sample_scene",
]
