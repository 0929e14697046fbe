"""The example clips of the page: ``python -m training.examples``.

Scenes of the procedural world that were never trained on, with prompts to try and one click.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from dreammotion_core import Video, write_video
from training.data import NUM_FRAMES
from training.world import Scene, render
from training.world.captions import MOTIONS
from training.world.places import PLACES

FOLDER = Path(__file__).resolve().parents[1] / "assets" / "examples"
FPS = 8.0
RESOLUTION = 128

EXAMPLES: dict[str, tuple[Scene, tuple[str, ...]]] = {
    "car": (
        Scene("red", "car", "road", "right", seed=2_000_000_001, y=-0.22, size=0.5),
        ("yellow", "green", "blue"),
    ),
    "balloon": (
        Scene("yellow", "balloon", "meadow", "wobble", seed=2_000_000_002, y=0.1, size=0.55),
        ("purple", "red", "teal"),
    ),
    "duck": (
        Scene("yellow", "duck", "sea", "right", seed=2_000_000_003, y=-0.3, size=0.5),
        ("pink", "purple", "green"),
    ),
    "rocket": (
        Scene("pink", "rocket", "night sky", "arc", seed=2_000_000_004, y=-0.05, size=0.52),
        ("teal", "yellow", "white"),
    ),
}
"""Name -> the scene, and the colours that the target prompts ask for."""


def prompt(scene: Scene) -> str:
    """The plain sentence that the examples use."""
    return f"a {scene.colour} {scene.noun} {PLACES[scene.place].where}"


def write_example(name: str, scene: Scene, colours: tuple[str, ...], folder: Path) -> None:
    """Write ``clip.mp4`` and ``meta.json``; the click is a pixel well inside the object on frame 0."""
    rendered = render(scene, num_frames=NUM_FRAMES, fps=FPS, resolution=RESOLUTION)
    rows, columns = torch.nonzero(rendered.mask[0], as_tuple=True)
    centre = torch.stack([columns, rows], dim=-1).float().median(dim=0).values
    out = folder / name
    out.mkdir(parents=True, exist_ok=True)
    write_video(Video(rendered.frames.numpy(), FPS), out / "clip.mp4")
    meta = {
        "title": f"{scene.colour} {scene.noun}, {MOTIONS[scene.motion][0]}",
        "source_prompt": prompt(scene),
        "target_prompts": [prompt(replace(scene, colour=colour)) for colour in colours],
        "click": {"x": int(centre[0]), "y": int(centre[1])},
        "licence": "CC0-1.0, drawn by this project",
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")


def main() -> None:
    """Write all examples."""
    for name, (scene, colours) in EXAMPLES.items():
        write_example(name, scene, colours, FOLDER)


if __name__ == "__main__":
    main()
