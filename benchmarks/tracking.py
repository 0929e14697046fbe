"""How well the embedded tracker follows what is known to move: ``python -m benchmarks.tracking``.

Points on the objects of procedural clips that no study uses are followed, in the source and in the true
render of an edit of it, and compared with their true places. So the tracker is judged by the truth, not by
the motion fidelity that it finds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.arguments import count_of
from benchmarks.study.pairs import FIRST_CASE
from benchmarks.world_cases import edit_case, rendered
from dreammotion_core import ModelSpec, list_models
from dreammotion_core.evaluation import FlowTracker, PointTracks, grid_points, step_agreement
from dreammotion_core.evaluation.motion import DEFAULT_GRID
from dreammotion_core.values import Frames
from training.world import Shot, object_mask, object_tracks

NEAR = 2.0  # pixels from the truth within which a point counts as found


@dataclass(frozen=True)
class Followed:
    """How well the points of a clip were followed, over all frames on which they are in the picture."""

    found: float
    seen: float
    agreement: float


def compared(tracks: PointTracks, *, truth: NDArray[np.float64]) -> Followed:
    """Tracks beside the truth; `truth` is (F, T, 2) true places in pixels."""
    height, width = tracks.size
    inside = ((truth >= 0) & (truth <= (width - 1, height - 1))).all(axis=-1)
    near = tracks.visible & (np.linalg.norm(tracks.positions - truth, axis=-1) <= NEAR)
    steps = inside[:-1] & inside[1:]
    seen = steps & tracks.visible[:-1] & tracks.visible[1:]
    agreement = step_agreement(
        np.diff(tracks.positions, axis=0), other_steps=np.diff(truth, axis=0), longer_side=max(tracks.size)
    )
    return Followed(
        found=float(near[1:].sum() / inside[1:].sum()),
        seen=float(seen.sum() / steps.sum()),
        agreement=float(agreement[seen].sum() / steps.sum()),
    )


def followed_clips(index: int, *, spec: ModelSpec, grey: bool = False) -> tuple[Followed, Followed]:
    """How well the object of a study's pair is followed in the source, and in a perfect edit of it."""
    case = edit_case(FIRST_CASE + index)
    shot = Shot(spec.num_frames, spec.fps, spec.resolution[0])
    source, target = rendered([case.source, case.target], shot=shot)
    perfect = np.where(case.mask(shot=shot)[..., None], target, source)
    outline = object_mask(case.source, shot=shot).numpy()[0]
    points = grid_points(outline.shape, mask=outline, grid_size=DEFAULT_GRID)
    truth = object_tracks(case.source, points=torch.from_numpy(points), shot=shot).numpy()
    clips = [in_grey(clip) if grey else clip for clip in (source, perfect)]
    one, other = (compared(FlowTracker()(clip, points=points), truth=truth) for clip in clips)
    return one, other


def in_grey(frames: Frames) -> Frames:
    """(F, H, W, 3) uint8 RGB with three equal channels, the lightness of Rec. 601."""
    pictures = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return np.stack([cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) for picture in pictures])


def table(rows: Sequence[tuple[str, Sequence[Followed]]]) -> str:
    """A Markdown table of means over clips, a row for each kind of clip."""
    lines = [
        f"| {FlowTracker.name} | points within {NEAR:g} pixels | steps seen | agreement of steps |",
        "|---|---|---|---|",
    ]
    for name, clips in rows:
        means = [fmean(getattr(clip, of) for clip in clips) for of in ("found", "seen", "agreement")]
        lines.append(f"| {name} | {means[0]:.1%} | {means[1]:.1%} | {means[2]:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tracking", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--first", type=int, default=100, metavar="K", help="(%(default)s)")
    parser.add_argument("--clips", type=count_of, default=48, metavar="N", help="(%(default)s)")
    parser.add_argument("--grey", action="store_true", help="follow the clips in grey, for comparison")
    options = parser.parse_args()
    spec = next(spec for spec in list_models() if spec.name == "toybox-unet")
    numbers = range(options.first, options.first + options.clips)
    pairs = [
        followed_clips(number, spec=spec, grey=options.grey)
        for number in tqdm(numbers, desc="clips", disable=None)
    ]
    sources, edits = zip(*pairs, strict=True)
    print(table([("source clips", sources), ("perfect edits", edits), ("both", sources + edits)]))


if __name__ == "__main__":
    main()
