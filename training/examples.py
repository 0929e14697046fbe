"""The example clips of the page: ``python -m training.examples``.

Scenes of the procedural world that were never trained on, with prompts to try and one click.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from dreammotion_core import Video, write_video
from dreammotion_core.models.catalog import find_model
from training.world import MOTIONS, USUAL_SHOT, Scene, caption, render

FOLDER = Path(__file__).resolve().parents[1] / "assets" / "examples"

EXAMPLES: dict[str, tuple[Scene, tuple[dict[str, str], ...]]] = {
    "car": (
        Scene("red", "car", "road", "right", seed=2_000_000_001, y=-0.22, size=0.5),
        ({"colour": "blue"}, {"material": "golden"}, {"material": "checkered"}),
    ),
    "cat": (
        Scene("orange", "cat", "meadow", "wobble", seed=2_000_000_005, y=-0.2, size=0.5),
        ({"colour": "black"}, {"material": "wooden"}, {"colour": "purple"}),
    ),
    "balloon": (
        Scene("yellow", "balloon", "meadow", "wobble", seed=2_000_000_002, y=0.1, size=0.55),
        ({"colour": "purple"}, {"material": "dotted"}, {"material": "icy"}),
    ),
    "duck": (
        Scene("yellow", "duck", "sea", "right", seed=2_000_000_003, y=-0.3, size=0.5),
        ({"colour": "pink"}, {"material": "striped"}, {"colour": "green"}),
    ),
    "planet": (
        Scene("teal", "planet", "night sky", "arc", seed=2_000_000_006, y=-0.05, size=0.5),
        ({"colour": "orange"}, {"material": "golden"}, {"colour": "pink"}),
    ),
    "rocket": (
        Scene("pink", "rocket", "night sky", "arc", seed=2_000_000_004, y=-0.05, size=0.52),
        ({"colour": "teal"}, {"material": "golden"}, {"colour": "white"}),
    ),
}
"""Name -> the scene, and what the target prompts ask to change in it."""


def write_example(name: str, scene: Scene, changes: tuple[dict[str, str], ...], folder: Path) -> None:
    """Write ``clip.mp4`` and ``meta.json``; the click is a pixel well inside the object on frame 0."""
    rendered = render(scene)
    rows, columns = torch.nonzero(rendered.mask[0], as_tuple=True)
    centre = torch.stack([columns, rows], dim=-1).float().median(dim=0).values
    out = folder / name
    out.mkdir(parents=True, exist_ok=True)
    write_video(Video(rendered.frames.numpy(), USUAL_SHOT.fps), out / "clip.mp4")
    prompts = [caption(replace(scene, **change)) for change in changes]
    spec, size = find_model("toybox"), (rendered.frames.shape[1], rendered.frames.shape[2])
    choices = [spec.choose_preset(caption(scene), prompt, size=size) for prompt in prompts]
    meta = {
        "title": f"{scene.colour} {scene.noun}, {MOTIONS[scene.motion][0]}",
        "source_prompt": caption(scene),
        "target_prompts": prompts,
        "presets": [{"name": choice.preset, "mask_grow": choice.mask_grow} for choice in choices],
        "click": {"x": int(centre[0]), "y": int(centre[1])},
        "licence": "CC0-1.0, drawn by this project",
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")


def main() -> None:
    """Write all examples."""
    for name, (scene, changes) in EXAMPLES.items():
        write_example(name, scene, changes, FOLDER)


if __name__ == "__main__":
    main()
