"""``python -m tests.killing FAMILY``: kill an edit with a tiny model at every write, in a process of its own.

It forks, which a process of pytest may not.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import torch

from benchmarks.endurance.kills import killed_everywhere
from dreammotion_core import DreamMotionPipeline, EditConfig
from tests.tiny import moving_square
from tests.tiny_families import FAMILIES


def main() -> None:
    torch.set_num_threads(1)
    family = FAMILIES[sys.argv[1]]
    video, mask = moving_square(family.num_frames)
    config = EditConfig(
        num_optimization_steps=3, preview_interval=0, seed=1, optimizer="adam", timestep_range=(50, 900)
    )
    found = killed_everywhere(DreamMotionPipeline(family.build()), video, mask, config)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
