"""Do colour edits with the embedded model succeed? ``python -m benchmarks.toybox_edits --cases 24``.

Clips have seeds and noun-colour-place triples that were never trained on, and exact masks. An edit
succeeds when the mean colour inside the mask is nearer to the asked palette colour than to any other.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dreammotion_core import DreamMotionPipeline, EditConfig, EditOutput, Video
from training.world import COLOURS, Scene, nearest_colour, render, sample_scene
from training.world.places import PLACES

FIRST_SEED = 3_000_000_000
"""Training draws its scenes from small seeds."""


@dataclass(frozen=True)
class Case:
    """A clip and the colour asked for."""

    scene: Scene
    target: str

    def prompts(self) -> tuple[str, str]:
        """Source and target prompt."""
        where = PLACES[self.scene.place].where
        source, target = (f"a {c} {self.scene.noun} {where}" for c in (self.scene.colour, self.target))
        return source, target


def cases(count: int) -> list[Case]:
    """Held-out scenes, each with another colour, drawn by seed."""
    rng = random.Random(FIRST_SEED)
    scenes = [sample_scene(FIRST_SEED + index, held_out=True) for index in range(count)]
    return [Case(s, rng.choice([c for c in COLOURS if c != s.colour])) for s in scenes]


def run_case(pipe: DreamMotionPipeline, case: Case, config: EditConfig) -> tuple[EditOutput, Video]:
    """Edit one clip with its exact mask."""
    rendered = render(
        case.scene, num_frames=pipe.spec.num_frames, fps=pipe.spec.fps, resolution=pipe.spec.resolution[0]
    )
    video = Video(rendered.frames.numpy(), pipe.spec.fps)
    source_prompt, target_prompt = case.prompts()
    output = pipe(
        video,
        source_prompt=source_prompt,
        target_prompt=target_prompt,
        mask=rendered.mask.numpy(),
        config=config,
    )
    return output, video


def colour_inside(frames: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean sRGB in [0, 1] inside the mask over all frames."""
    return frames[mask].mean(axis=0) / 255


def contact_sheet(pairs: Sequence[tuple[EditOutput, Video]], path: Path) -> None:
    """Source and edit side by side, two frames of each, one case in each cell."""
    cells = []
    for output, video in pairs:
        shown = [0, len(video) // 2]
        cells.append(
            np.concatenate(
                [np.concatenate([v[i] for v in (video.frames, output.frames)], 1) for i in shown], 0
            )
        )
    columns = 4
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % columns)
    rows = [np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)]
    Image.fromarray(np.concatenate(rows, 0)).save(path)


def main() -> None:
    """Run the cases; print each and the summary; write the sheet and the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.toybox_edits", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="toybox")
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--preset", default="fast")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="change settings, values as JSON"
    )
    parser.add_argument("--sheet", type=Path, help="where the contact sheet goes (PNG)")
    options = parser.parse_args()
    changes = {name: json.loads(value) for name, _, value in (item.partition("=") for item in options.set)}
    preset = EditConfig.preset(options.preset, seed=0, preview_interval=0)
    config = EditConfig.from_dict(preset.to_dict() | changes)
    pipe = DreamMotionPipeline.from_pretrained(options.model)
    pairs, hits, ways, seconds = [], 0, [], []
    for case in (bar := tqdm(cases(options.cases))):
        started = time.perf_counter()
        output, video = run_case(pipe, case, replace(config))
        seconds.append(time.perf_counter() - started)
        before, after = (colour_inside(f, output.mask) for f in (video.frames, output.frames))
        goal = colour_inside(render(replace(case.scene, colour=case.target)).frames.numpy(), output.mask)
        hits += nearest_colour(after) == case.target
        ways.append((after - before) @ (goal - before) / np.square(goal - before).sum())
        pairs.append((output, video))
        bar.write(
            f"{case.scene.noun:>9} {case.scene.colour:>7} -> {case.target:<7} "
            f"became {nearest_colour(after):<7} outside: {output.max_difference_outside}"
        )
    print(f"nearest palette colour is the target's: {hits} of {len(pairs)} ({hits / len(pairs):.0%})")
    print(f"mean way travelled towards a true render of the target (1: there): {np.mean(ways):.2f}")
    print(
        f"largest difference outside the mask: {max(o.max_difference_outside or 0 for o, _ in pairs)} of 255"
    )
    print(f"median seconds an edit: {np.median(seconds):.1f}")
    if options.sheet:
        contact_sheet(pairs, options.sheet)


if __name__ == "__main__":
    main()
