"""Clips of many windows: ``python -m benchmarks.endurance.long_clips``.

A toy moves to and fro for as long as is asked; the goal is the true render of the same clip with another
colour. Ours, with borders that move with every step, is compared with windows edited each for itself and one
after the other, each beginning where the last one ended. Every row is a process of its own, so that its
memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.arguments import count_of, described_parser
from benchmarks.world_cases import edit_case, edit_indices, rendered
from dreammotion_core import DreamMotionPipeline, EditConfig, Finished, MeasuredClip, MeasuredEdit, Video
from dreammotion_core.finishing import Finishing
from dreammotion_core.media.limits import gather_frames, let_go, stored_array, stretch_of
from dreammotion_core.method.editing import EditState, EditTask, advance, dreammotion
from dreammotion_core.method.windows import Windows
from dreammotion_core.pipeline import windows_of
from dreammotion_core.values import Frames, Mask
from training.world import Shot, caption

OURS, INDEPENDENT, SEQUENTIAL = "moving", "independent", "sequential"
SWEEP = 25
"""Frames until the toy turns round."""
MEMORY_BAR, SEAM_BAR, DRIFT_BAR, LINEAR_BAR = 1.05, 1.1, 2.0, 0.99


@dataclass(frozen=True)
class Row:
    """What one way made of one length; see the heads of the table."""

    way: str
    num_frames: int
    seconds: float
    peak_bytes: int
    seam: float
    drift: float
    outside: int | None
    motion: float | None


@dataclass(frozen=True)
class FixedWindows(Windows):
    """Windows whose borders stay where they are, so that none knows of another."""

    def at(self, step: int) -> list[range]:
        """The same at every step."""
        del step
        return self.stretches()


def main() -> None:
    """Print the table, and the figures that are held against bars."""
    parser = described_parser("endurance.long_clips", __doc__ or "")
    parser.add_argument("--model", default="toybox", metavar="NAME")
    parser.add_argument(
        "--lengths", nargs="+", type=count_of, default=[100, 400, 700, 1000], metavar="FRAMES"
    )
    parser.add_argument("--compared", type=count_of, default=100, help="frames of the two other ways")
    parser.add_argument("--steps", type=count_of, default=20)
    parser.add_argument("--case", type=int, default=0, help="which colour case is edited")
    parser.add_argument(
        "--encodings",
        type=int,
        metavar="CASES",
        help="compare first frames of windows instead, on some cases",
    )
    options = parser.parse_args()
    if options.encodings:
        compare_encodings(options.model, num_cases=options.encodings, num_steps=options.steps)
        return
    asked = [(OURS, length) for length in options.lengths]
    asked += [(way, options.compared) for way in (INDEPENDENT, SEQUENTIAL)]
    print("| way | frames | CPU s | peak GB | seam ratio | ΔE first, last window | outside | motion |")
    print("| --- " * 8 + "|", flush=True)
    rows = []
    for way, length in asked:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            row = alone.submit(measured, options, way, length).result()
        rows.append(row)
        motion = "" if row.motion is None else f"{row.motion:.3f}"
        print(
            f"| {way} | {length} | {row.seconds:.1f} | {row.peak_bytes / 1e9:.3f} | {row.seam:.2f} | "
            f"{row.drift:.2f} | {row.outside} | {motion} |",
            flush=True,
        )
    ours = [row for row in rows if row.way == OURS]
    memory, linear = ours[-1].peak_bytes / ours[0].peak_bytes, _linearity(ours)
    print(
        f"memory, longest / shortest: {memory:.3f} (bar {MEMORY_BAR}); time R²: {linear:.4f} ({LINEAR_BAR})"
    )
    print(f"worst seam {max(row.seam for row in ours):.2f} ({SEAM_BAR}), ", end="")
    print(f"worst ΔE {max(row.drift for row in ours):.2f} ({DRIFT_BAR})")


def measured(options: argparse.Namespace, way: str, num_frames: int) -> Row:
    """Edit a clip in one way, and measure it."""
    torch.set_num_threads(1)
    pipe = DreamMotionPipeline.from_pretrained(options.model, device="cpu")
    spec = pipe.spec
    case = edit_case(edit_indices(options.case + 1, kinds=("colour",))[options.case])
    num_frames, shot = spec.trimmed(num_frames), Shot(SWEEP, spec.fps, spec.resolution[0])
    source, goal = (_long(clip, num_frames) for clip in rendered([case.source, case.target], shot=shot))
    sweep = case.mask(shot=shot)
    mask = stored_array(source.shape[:3], np.bool_)
    for index, place in enumerate(_sweep(num_frames)):
        mask[index] = sweep[place]
    let_go(mask)
    words = (caption(case.source), caption(case.target))
    prompts = dict(zip(("source_prompt", "target_prompt"), words, strict=True))
    config = spec.config(**prompts, num_optimization_steps=options.steps, preview_interval=0, seed=0)
    video, begun = Video(source, spec.fps), time.process_time()
    if way == OURS:
        (output,) = (
            event.output
            for event in pipe.stream(video, **prompts, mask=mask, config=config)
            if isinstance(event, Finished)
        )
        edit, outside = output.frames, output.max_difference_outside
    else:
        edit, outside = _otherwise(pipe, video, mask, words, config, way)
    seconds, peak = time.process_time() - begun, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    window = spec.window(num_frames, asked=config.window)
    seam = _seam(edit, mask, window) / max(_seam(goal, mask, window), 1e-6)
    first, last = (
        _colour(edit, mask, part) for part in (range(window), range(num_frames - window, num_frames))
    )
    drift = float(np.linalg.norm(first - last))
    return Row(way, num_frames, seconds, peak, seam, drift, outside, _motion(source, edit, mask, window))


def _sweep(num_frames: int) -> Iterator[int]:
    """Places in a sweep of `SWEEP` frames, to and fro."""
    return (SWEEP - 1 - abs(SWEEP - 1 - index % (2 * SWEEP - 2)) for index in range(num_frames))


def _long(clip: Frames, num_frames: int) -> Frames:
    pictures = (clip[place] for place in _sweep(num_frames))
    return gather_frames(pictures, count=num_frames, size=(clip.shape[1], clip.shape[2]))


def _otherwise(
    pipe: DreamMotionPipeline, video: Video, mask: Mask, words: tuple[str, str], config: EditConfig, way: str
) -> tuple[Frames, int | None]:
    """The edit with fixed windows: each for itself, or each from the end of the one before."""
    task = pipe._task(video, words, [mask], config, pipe.backend.key_sites)
    moving = windows_of(len(video), pipe.backend, config)
    fixed = FixedWindows(moving.num_frames, moving.length)
    if way == INDEPENDENT:
        latents = _last(pipe, replace(task, windows=fixed), task.source_latents)
    else:
        found, change = list[Tensor](), torch.zeros_like(task.source_latents[:, :, :1])
        for window in fixed.stretches():
            part = task.within(window)
            begin = part.source_latents + change * (1 if part.latent_mask is None else part.latent_mask)
            found.append(_last(pipe, part, begin))
            change = found[-1][:, :, -1:] - part.source_latents[:, :, -1:]
        latents = torch.cat(found, dim=2)
    finish = Finishing.prepare(
        pipe.backend, video, task.source_latents, mask, config, stretches=fixed.stretches()
    )
    frames = finish(latents)
    return frames, finish.difference_outside(frames)


def compare_encodings(model: str, *, num_cases: int, num_steps: int) -> None:
    """Print how far edits of a causal video autoencoder end from the true render, in CIELAB.

    A window in the middle of a clip is either cut out of the clip's latents, or encoded with a first frame of
    its own. Frames that both have count, within the object.
    """
    pipe = DreamMotionPipeline.from_pretrained(model, device="cpu")
    spec, step = pipe.spec, pipe.spec.frame_step
    shot = Shot(4 * step + 1, spec.fps, spec.resolution[0])
    found = []
    for index in edit_indices(num_cases, kinds=("colour",)):
        case = edit_case(index)
        source, goal = rendered([case.source, case.target], shot=shot)
        words, mask = (caption(case.source), caption(case.target)), case.mask(shot=shot)
        config = spec.config("fast", num_optimization_steps=num_steps, preview_interval=0, seed=0)
        edits = []
        for first, window in ((0, range(2, 5)), (2 * step, range(3))):
            video, where = Video(source[first:], spec.fps), mask[first:]
            task = pipe._task(video, words, [where], config, pipe.backend.key_sites)
            latents, part = task.source_latents.clone(), task.within(window)
            latents[:, :, window.start : window.stop] = _last(pipe, part, part.source_latents)
            finish = Finishing.prepare(pipe.backend, video, task.source_latents, where, config)
            edits.append(finish(latents)[-2 * step :])
        inside = mask[-2 * step :]
        far = [_far(edit, goal[-2 * step :], inside) for edit in (*edits, source[-2 * step :])]
        found.append(far)
        print(f"case {index}: cut out {far[0]:.1f}, first frame of its own {far[1]:.1f}, source {far[2]:.1f}")
    cut, own, before = np.mean(found, axis=0)
    print(f"mean of {num_cases}: cut out {cut:.2f}, first frame of its own {own:.2f}, source {before:.2f}")


def _far(frames: Frames, goal: Frames, mask: Mask) -> float:
    """Mean distance of the object's pixels in CIELAB."""
    pairs = zip(frames, goal, mask, strict=True)
    return float(
        np.mean([np.linalg.norm(_lab(a) - _lab(b), axis=-1)[m].mean() for a, b, m in pairs if m.any()])
    )


def _last(pipe: DreamMotionPipeline, task: EditTask, begin: Tensor) -> Tensor:
    *_, (_, state) = advance(pipe.backend, task, EditState(begin), method=dreammotion)
    return state.latents


def _lab(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _seam(frames: Frames, mask: Mask, window: int) -> float:
    """Mean change of the object's pixels across the borders of fixed windows, divided by that elsewhere."""
    across, elsewhere = list[float](), list[float]()
    before = _lab(frames[0])
    for index in range(1, len(frames)):
        now, both = _lab(frames[index]), np.array(mask[index - 1]) & np.array(mask[index])
        if both.any():
            change = float(np.linalg.norm(now - before, axis=-1)[both].mean())
            (across if index % window == 0 else elsewhere).append(change)
        before = now
    return float(np.mean(across) / np.mean(elsewhere))


def _colour(frames: Frames, mask: Mask, part: range) -> NDArray[np.float32]:
    """Mean colour of the object in some frames, in CIELAB."""
    colours = [_lab(frames[index])[np.array(mask[index])] for index in part]
    return np.asarray(np.concatenate(colours).mean(axis=0))


def _motion(source: Frames, edit: Frames, mask: Mask, window: int) -> float | None:
    """Motion fidelity of the first two windows together."""
    part = range(min(2 * window, len(source)))
    before, after, where = (stretch_of(array, part) for array in (source, edit, mask))
    clips = {"source": MeasuredClip(before), "edited": MeasuredClip(after)}
    return MeasuredEdit(**clips, mask=where).measure("motion_fidelity").value


def _linearity(rows: Sequence[Row]) -> float:
    """R² of the straight line through seconds over frames."""
    frames, seconds = (
        np.array(values) for values in zip(*[(r.num_frames, r.seconds) for r in rows], strict=True)
    )
    if len(rows) < 3:
        return float("nan")
    rest = seconds - np.polyval(np.polyfit(frames, seconds, 1), frames)
    return 1 - float((rest**2).sum() / ((seconds - seconds.mean()) ** 2).sum())


if __name__ == "__main__":
    main()
