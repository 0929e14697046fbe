"""How well and how fast one click on the first frame selects an object and follows it.

    python -m benchmarks.segmentation [--segmenter NAME] [--world N] [--real] [--masks]

Prints per clip: the overlap (IoU) of the first mask with the truth, J (the mean IoU over all later
frames), processor seconds for the click and for each followed frame. `--masks` follows the true first mask
instead of the click's, which measures propagation alone. Real clips are read from
``../shared/data/clips`` or ``$DREAMMOTION_CLIPS``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dreammotion_core.video_io import read_video
from segmentation import Click, Selection, load_segmenter

CLIPS = Path(os.environ.get("DREAMMOTION_CLIPS", Path(__file__).parents[2] / "shared/data/clips"))
FIRST_EVALUATION_SEED = 10**9


@dataclass(frozen=True, eq=False)
class Case:
    """A clip with true masks and one click on its first frame."""

    name: str
    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    click: Click


def world_cases(count: int) -> Iterator[Case]:
    """Clips of the procedural world that no training saw, clicked on the innermost pixel."""
    from training.world import render, sample_scene

    for seed in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + count):
        scene = sample_scene(seed, held_out=None)
        clip = render(scene)
        masks = clip.mask.numpy()
        depth = cv2.distanceTransform(masks[0].astype(np.uint8), cv2.DIST_L2, 5)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        name = f"{scene.colour} {scene.noun}, {scene.place}"
        yield Case(name, clip.frames.numpy(), masks, Click(float(x) + 0.5, float(y) + 0.5))


def real_cases() -> Iterator[Case]:
    """The real clips that have true masks, with their annotated click."""
    for folder in sorted(path.parent for path in CLIPS.glob("*/masks")):
        click = json.loads((folder / "meta.json").read_text())["click"]
        paths = sorted((folder / "masks").glob("*.png"))
        masks = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127 for path in paths])
        frames = read_video(folder / "clip.mp4").frames
        yield Case(folder.name, frames, masks, Click(float(click["x"]), float(click["y"])))


def overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0


def measure(case: Case, segmenter_name: str, *, from_true_mask: bool) -> tuple[float, float, float, float]:
    """First IoU, J, processor seconds of the click and of each followed frame."""
    session = load_segmenter(segmenter_name).open(case.frames)
    selection = Selection(clicks=(case.click,))
    started = time.process_time()
    first = session.mask_at(selection)
    clicked = time.process_time()
    walk = session.follow(0, case.masks[0]) if from_true_mask else session.propagate(selection)
    overlaps = [overlap(mask, case.masks[index]) for index, mask in walk if index > 0]
    seconds = (time.process_time() - clicked) / max(1, len(overlaps))
    return overlap(first, case.masks[0]), float(np.mean(overlaps)), clicked - started, seconds


def report(title: str, cases: Iterator[Case], segmenter_name: str, *, from_true_mask: bool) -> None:
    """Print one line a clip, and the mean."""
    print(f"{title:28}  first      J   click s  frame s")
    rows = []
    for case in cases:
        rows.append(measure(case, segmenter_name, from_true_mask=from_true_mask))
        print("{:28} {:6.3f} {:6.3f} {:9.3f} {:8.3f}".format(case.name, *rows[-1]), flush=True)
    if rows:
        print("{:28} {:6.3f} {:6.3f} {:9.3f} {:8.3f}".format("mean", *np.mean(rows, axis=0)))
        print(f"{'first IoU of at least 0.9':28} {np.mean([row[0] >= 0.9 for row in rows]):6.0%}\n")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--segmenter", default="embedded", help="a name that load_segmenter takes")
    parser.add_argument("--world", type=int, default=24, help="how many clips of the procedural world")
    parser.add_argument("--real", action="store_true", help="also the real clips")
    parser.add_argument("--masks", action="store_true", help="follow the true first mask")
    options = parser.parse_args()
    report("procedural world", world_cases(options.world), options.segmenter, from_true_mask=options.masks)
    if options.real:
        report("real footage", real_cases(), options.segmenter, from_true_mask=options.masks)


if __name__ == "__main__":
    main()
