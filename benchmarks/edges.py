"""Does a rim of the old colour stay? Errors round the object, without the clean edge and with it.

    python -m benchmarks.edges --perfect
    python -m benchmarks.edges --model toybox --clicked --sheet outputs/edges.png

The procedural world knows the right answer, so each edit is compared with the true render of what was asked:
in the band of two pixels to each side of the outline, and inside. ``rim`` is the share of the old colour that
is left in the outer half of the band, 0 where nothing is left. ``--perfect`` takes the latents of the answer
itself instead of an edit, which shows the edge alone. ``--clicked`` finds the object by one click of the
embedded segmenter instead of its exact mask. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from benchmarks.arguments import count_of, described_parser
from benchmarks.davis.cases import click_inside
from benchmarks.sheets import Cell, contact_sheet
from benchmarks.world_cases import ROOM, EditCase, edit_case, rendered
from dreammotion_core import DreamMotionPipeline, EditConfig, Video, grown_mask
from dreammotion_core.finishing import Finishing, outline_distance, to_model
from dreammotion_core.method.distillation import latent_mask
from dreammotion_core.method.editing import EditState, EditTask, PromptEmbeds, advance, dreammotion
from dreammotion_core.values import Frames, Mask
from segmentation import Click, Prompt, Selection, Tracks, load_segmenter
from training.world import Shot, caption

FIRST_CASE = 300
BAND = 2  # pixels to each side of the outline
ENLARGED = 4


@dataclass(frozen=True)
class Scored:
    """A finished edit: its root mean square errors in levels, and the share of the old colour in the rim."""

    band: float
    inside: float
    rim: float

    NAMES: ClassVar = ("band", "inside", "band / inside", "rim")

    @property
    def figures(self) -> tuple[float, ...]:
        """As `NAMES` lists them."""
        return self.band, self.inside, self.band / self.inside, self.rim

    @classmethod
    def of(cls, frames: Frames, *, source: Frames, goal: Frames, outline: Mask) -> Scored:
        """Compare an edit with the true render; `outline` is (F, H, W), the exact mask."""
        distance = np.stack([outline_distance(mask) for mask in outline])
        error, change = (clip.astype(np.float32) - goal for clip in (frames, source))
        outer = (distance < 0) & (distance > -BAND)
        left = (error * change)[outer].sum() / max(1.0, float((change**2)[outer].sum()))
        band, inside = (_rms(error[where]) for where in (abs(distance) < BAND, distance >= BAND))
        return cls(band, inside, float(left))


def _rms(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def clicked_mask(frames: Frames, click: Click) -> Mask:
    """What the embedded segmenter makes of one click on the first frame, (F, H, W)."""
    tracks = Tracks(load_segmenter().open(frames), frames)
    prompt = Prompt(Selection(0, (click,)))
    project = tracks.new_project().add_object().with_prompt(1, prompt)
    for _ in tracks.update(project):
        pass
    return np.stack([tracks.mask(project, number=1, frame_index=index) for index in range(len(frames))])


def latents_of_edit(
    pipe: DreamMotionPipeline, case: EditCase, *, source: Tensor, mask: Mask, config: EditConfig
) -> Tensor:
    """The latents after the last step, (1, C, f, h, w)."""
    backend = pipe.backend
    texts = (caption(case.source), caption(case.target), config.negative_prompt)
    embeds = PromptEmbeds(*(backend.encode_prompt(text) for text in texts))
    region = latent_mask(mask, source, groups=backend.frame_groups(len(mask)))
    task = EditTask(source, embeds, region, config, backend.key_sites)
    *_, (_, state) = advance(backend, task, EditState(source), method=dreammotion)
    return state.latents


def compared(
    pipe: DreamMotionPipeline, case: EditCase, options: argparse.Namespace
) -> tuple[Scored, Scored, Cell]:
    """An edit without the clean edge and with it, and close-ups of source, true render and both."""
    spec, backend = pipe.spec, pipe.backend
    words = {"source_prompt": caption(case.source), "target_prompt": caption(case.target)}
    config = spec.config(options.preset, **words, seed=0)
    shot = Shot(spec.fit_length(9), spec.fps, spec.resolution[0])
    source, goal = rendered([case.source, case.target], shot=shot)
    outline, mask = case.outlines(shot=shot), case.mask(shot=shot)
    if options.clicked:
        mask = grown_mask(
            clicked_mask(source, click_inside(outline[0])), pixels=ROOM if case.kind == "noun" else 0
        )
    encoded, answer = (backend.encode_video(to_model(clip, spec.resolution)) for clip in (source, goal))
    latents = answer
    if not options.perfect:
        latents = latents_of_edit(pipe, case, source=encoded, mask=mask, config=config)
    edits = [
        Finishing.prepare(
            backend, Video(source, shot.fps), encoded, mask, config.with_changes(mask_edge=width)
        )(latents)
        for width in (0, config.mask_edge)
    ]
    before, after = (Scored.of(edit, source=source, goal=goal, outline=outline) for edit in edits)
    closeups = [closeup(clip, outline=outline) for clip in (source, goal, *edits)]
    return before, after, Cell(closeups, f"{caption(case.source)} -> {caption(case.target)}")


def closeup(frames: Frames, *, outline: Mask) -> Frames:
    """A square round the object of the first frame, `ENLARGED` times as large, without smoothing."""
    side = frames.shape[1] // 2
    middle = np.argwhere(outline[0]).mean(axis=0).round().astype(int)
    top, left = (middle - side // 2).clip(0, frames.shape[1] - side)
    square = frames[:, top : top + side, left : left + side]
    return square.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)


def table(cases: Sequence[EditCase], found: Sequence[tuple[Scored, Scored]]) -> str:
    """Rows for all cases and their mean, in Markdown."""
    values = np.array([[each.figures for each in pair] for pair in found])  # (case, before and after, figure)
    heads = [f"{name}, {when}" for when in ("off", "on") for name in Scored.NAMES]
    rows = [
        *((f"{c.index} {c.kind}", v) for c, v in zip(cases, values, strict=True)),
        ("mean", values.mean(0)),
    ]
    lines = [f"| Case | {' | '.join(heads)} |", "| --- |" + " --- |" * len(heads)]
    lines += [f"| {title} | {' | '.join(f'{x:.2f}' for x in v.ravel())} |" for title, v in rows]
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = described_parser("edges", __doc__)
    parser.add_argument("--model", default="toybox", help="name or folder (%(default)s)")
    parser.add_argument("--preset", default="auto", help="(%(default)s)")
    parser.add_argument("--cases", type=count_of, default=9, metavar="N", help="(%(default)s)")
    parser.add_argument("--perfect", action="store_true", help="the true render's latents, not an edit's")
    parser.add_argument("--clicked", action="store_true", help="masks of one click, not exact ones")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="close-ups: source, true render, off, on")
    options = parser.parse_args()
    disable_progress_bar()
    pipe = DreamMotionPipeline.from_pretrained(options.model, device="cpu")
    cases = [edit_case(FIRST_CASE + number) for number in range(options.cases)]
    found = [compared(pipe, case, options) for case in tqdm(cases, desc="cases", disable=None)]
    print(table(cases, [(before, after) for before, after, _ in found]))
    if options.sheet is not None:
        contact_sheet([cell for *_, cell in found], options.sheet, columns=1)


if __name__ == "__main__":
    main()
