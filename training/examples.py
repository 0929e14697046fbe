"""The example clips of the page: ``python -m training.examples``.

Scenes of the procedural world that were never trained on, with prompts to try and one click. Each has more
life than a training clip: two motions at once, or a second toy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from dreammotion_core import Video, write_video
from training.world import MOTIONS, Companion, Scene, Shot, caption, render

FOLDER = Path(__file__).resolve().parents[1] / "assets" / "examples"
SHOT = Shot(num_frames=9)  # a length that every embedded model takes

Change = dict[str, str]
"""Attribute of a scene -> its new value."""


@dataclass(frozen=True)
class Example:
    """A scene, what its suggested prompts change, and room by noun where the rule's own is too little.

    Room is in pixels, by which the selection grows.
    """

    scene: Scene
    changes: tuple[Change, ...]
    rooms: dict[str, int] = field(default_factory=dict)


EXAMPLES = {
    "balloon": Example(
        Scene(
            *("yellow", "balloon", "city", "wobble"),
            seed=2_000_000_002,
            second_motion="pan",
            y=0.0,
            size=0.8,
            phase=0.2,
        ),
        ({"colour": "purple"}, {"material": "dotted"}, {"noun": "heart"}),
        {"heart": 10},
    ),
    "ball": Example(
        Scene(
            *("blue", "ball", "desert", "right"),
            seed=2_000_000_011,
            second_motion="bounce",
            y=-0.22,
            size=0.52,
        ),
        ({"colour": "green"}, {"material": "striped"}, {"noun": "pumpkin"}),
    ),
    "car": Example(
        Scene(
            *("red", "car", "road", "right"),
            seed=2_000_000_001,
            second_motion="zoom",
            x=-0.04,
            size=0.62,
            speed=0.8,
        ),
        ({"colour": "blue"}, {"material": "golden"}, {"noun": "bus"}),
        {"bus": 10},
    ),
    "cat": Example(
        Scene(
            *("orange", "cat", "meadow", "wobble"),
            seed=2_000_000_005,
            x=-0.18,
            y=-0.16,
            size=0.64,
            phase=0.1,
            companion=Companion("green", "ball", x=0.74, y=-0.42, size=0.24),
        ),
        ({"colour": "pink"}, {"material": "striped"}, {"noun": "dog"}),
    ),
    "duck": Example(
        Scene(
            *("yellow", "duck", "sea", "right"),
            seed=2_000_000_003,
            second_motion="wobble",
            y=-0.12,
            size=0.62,
            phase=0.1,
            speed=0.8,
        ),
        ({"colour": "red"}, {"material": "striped"}, {"noun": "boat"}),
        {"boat": 8},
    ),
    "pumpkin": Example(
        Scene(
            *("orange", "pumpkin", "night sky", "arc"),
            seed=2_000_000_006,
            second_motion="wobble",
            y=-0.08,
            size=0.62,
            phase=0.05,
            speed=0.8,
        ),
        ({"colour": "teal"}, {"material": "golden"}, {"noun": "planet"}),
        {"planet": 10},
    ),
}
"""By name."""


def write_example(name: str, example: Example, folder: Path) -> None:
    """Write ``clip.mp4`` and ``meta.json``; the click is a pixel well inside the object on frame 0."""
    scene = example.scene
    rendered = render(scene, shot=SHOT)
    rows, columns = torch.nonzero(rendered.mask[0], as_tuple=True)
    centre = torch.stack([columns, rows], dim=-1).float().median(dim=0).values
    out = folder / name
    out.mkdir(parents=True, exist_ok=True)
    write_video(Video(rendered.frames.numpy(), SHOT.fps), out / "clip.mp4")
    prompts = {caption(replace(scene, **change)): change for change in example.changes}
    rooms = {p: example.rooms[c["noun"]] for p, c in prompts.items() if c.get("noun") in example.rooms}
    meta = {
        "title": f"{scene.colour} {scene.noun}, {MOTIONS[scene.motion][0]}",
        "source_prompt": caption(scene),
        "target_prompts": list(prompts),
        "rooms": rooms,
        "click": {"x": int(centre[0]), "y": int(centre[1])},
        "licence": "CC0-1.0, drawn by this project",
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")


def main() -> None:
    """Write all examples."""
    for name, example in EXAMPLES.items():
        write_example(name, example, FOLDER)


if __name__ == "__main__":
    main()
