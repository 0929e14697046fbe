"""What an edit or a sample of the toy world shows, and the tables and contact sheets of many.

A true render is the source's scene with one thing changed, so pose, place, light and sensor noise are those
of the clip; windows and wheels are in it as they are in the edit. A sample has no ground truth but its
prompt, so renders are fitted to it: the prompted object is rendered small in many poses, those nearest to the
sample are kept, and in these poses all colours (or all nouns) compete. All distances are in CIELAB.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.edges import Scored, closeup
from benchmarks.results import Results
from benchmarks.sheets import Cell, contact_sheet
from benchmarks.world_cases import (
    KINDS,
    EditCase,
    edit_case,
    lab,
    rendered,
    sample_case,
    shot_like,
    visible_object,
)
from dreammotion_core import ModelLoadError
from dreammotion_core.errors import ConfigError
from dreammotion_core.evaluation.board import markdown_table
from dreammotion_core.evaluation.judges import EMBEDDED_JUDGE, ClipJudge
from dreammotion_core.evaluation.pixels import colour_jitter, psnr, region_similarity
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.models.catalog import ASSETS
from dreammotion_core.values import Frames, Mask
from training.judge import CLOSE_UP_MARGIN, SENTENCE, THING, cut_out, square_around
from training.world import (
    MATERIALS,
    Scene,
    Shot,
    background,
    caption,
    object_mask,
    render_batch,
    sample_scene,
    variants,
)

JUDGE_FOLDER = ASSETS / EMBEDDED_JUDGE

SIZE = 32  # height and width in pixels at which clips and renders are compared
POSES, KEPT = 120, 6
FAR = 30.0
"""A pixel's distance in CIELAB counts at most this much, so that details of the background, which the
renders do not share with the clip, do not decide."""

Answers = dict[str, Any]  # figures of one case by name; those that need a judge are missing without one


def evaluate_case(case: EditCase, frames: Frames, *, fps: float, judge: Judge | None) -> Answers:
    """Did the edit succeed, and what did it keep?

    A true render of the target gets the same figures where they tell how to read those of the edit.
    """
    shot = shot_like(frames, fps=fps)
    source, goal = rendered([case.source, case.target], shot=shot)
    region = case.mask(shot=shot)
    before, wanted = (object_mask(scene, shot=shot).numpy() for scene in (case.source, case.target))
    empty = background(case.source, shot=shot).numpy()
    outlines = case.outlines(shot=shot)
    after, ideal = (visible_object(clip, empty, region=outlines) for clip in (frames, goal))
    scored = Scored.of(frames, source=source, goal=goal, outline=outlines)
    answers = {
        "renderer": renderers_choice(case, frames, mask=region, fps=fps),
        "overlap": region_similarity(after, truth=before),
        "overlap of a true render": region_similarity(ideal, truth=before),
        "overlap with the target": region_similarity(after, truth=wanted),
        "jitter before": colour_jitter(source, mask=region),
        "jitter after": colour_jitter(frames, mask=region),
        "jitter of a true render": colour_jitter(goal, mask=region),
        "PSNR": psnr(goal, edited=frames, region=region),
        "colour error": float(
            np.linalg.norm(lab(frames)[region].mean(axis=0) - lab(goal)[region].mean(axis=0))
        ),
        "band / inside": scored.band / max(1.0, scored.inside),  # less than a level is no error
    }
    if judge is None:
        return answers
    crops = judge.crop(frames, mask=region)
    prompt = caption(case.target, THING)
    return answers | {
        "judge": judges_choice(judge, crops, case.source, case.kind, form=THING),
        "alignment before": judge.text_alignment(judge.crop(source, mask=region), prompt=prompt),
        "alignment after": judge.text_alignment(crops, prompt=prompt),
        "consistency before": judge.frame_consistency(source),
        "consistency after": judge.frame_consistency(frames),
    }


def evaluate_sample(scene: Scene, frames: Frames, *, fps: float, judge: Judge | None) -> dict[str, Answers]:
    """Does a sample, (F, H, W, 3) uint8 RGB, show what its prompt says?"""
    (real,) = rendered([scene], shot=shot_like(frames, fps=fps))
    named = ("colour", "noun") if MATERIALS[scene.material].keeps_colour else ("noun",)
    answers: dict[str, Answers] = {}
    for name, clip in {"sample": frames, "real clip": real}.items():
        answers[name] = found = {
            f"renderer, {word}": fitted_value(clip, scene, word) == getattr(scene, word) for word in named
        }
        if judge is not None:
            for word in (*named, "place", "material"):
                seen = judges_choice(judge, clip, scene, word, form=SENTENCE)
                found[f"judge, {word}"] = seen == getattr(scene, word)
            found["consistency"] = judge.frame_consistency(clip)
    return answers


class Judge(ClipJudge):
    """The judge `toybox-clip`, which says what a clip of the procedural world shows.

    It never shares weights with the models it judges; `training.judge` trains it. Frames are (N, H, W, 3)
    uint8 RGB throughout, whole ones or close-ups from `crop`.
    """

    @classmethod
    def from_folder(cls, folder: Path = JUDGE_FOLDER) -> Judge:
        """The judge of a folder that the training wrote."""
        try:
            return cls.from_pretrained(str(folder))
        except ModelLoadError as error:
            raise ModelLoadError(f"{error}. Train it with: python -m training.run toybox-clip") from error

    def choose(self, frames: NDArray[np.uint8], *, captions: Sequence[str]) -> int:
        """The number of the caption that fits the frames best on average."""
        similarity = self.image_features(frames) @ self.text_features(captions).T
        return int(similarity.mean(axis=0).argmax())

    def crop(self, frames: NDArray[np.uint8], *, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Close-ups of the object as in training, for captions without a place ("a striped red car").

        Args:
            frames: (N, H, W, 3) uint8 RGB.
            mask: (N, H, W), where the object is; frames without it are left out.

        Returns:
            (M, 256, 256, 3) uint8 RGB.
        """
        shown = mask.any(axis=(1, 2))
        squares = square_around(torch.from_numpy(mask[shown]))
        squares[:, 2] *= CLOSE_UP_MARGIN
        pictures = cut_out(torch.from_numpy(frames[shown]), squares)
        return ((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def judges_choice(judge: Judge, frames: Frames, scene: Scene, attribute: str, *, form: int) -> str:
    """The value of an attribute that the judge sees, among one form of caption with all its values."""
    options = variants(scene, attribute=attribute)
    captions = [caption(option, form) for option in options.values()]
    return list(options)[judge.choose(frames, captions=captions)]


def renderers_choice(case: EditCase, frames: Frames, *, mask: Mask, fps: float) -> str:
    """The value of the changed attribute whose true render is nearest to an edit.

    Colours are compared by their mean inside the mask, materials and nouns pixel by pixel.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        mask: (F, H, W), what the edit could change.
    """
    scenes = variants(case.source, attribute=case.kind)
    clips = dict(zip(scenes, rendered(list(scenes.values()), shot=shot_like(frames, fps=fps)), strict=True))
    nearest = nearest_by_mean if case.kind == "colour" else nearest_by_pixels
    return nearest(frames, clips, mask=mask)


def nearest_by_mean(frames: Frames, clips: Mapping[str, Frames], *, mask: Mask) -> str:
    """The clip whose mean colour inside the mask is nearest: the colour of the object as a whole."""
    mean = lab(frames)[mask].mean(axis=0)
    return min(clips, key=lambda name: float(np.linalg.norm(lab(clips[name])[mask].mean(axis=0) - mean)))


def nearest_by_pixels(frames: Frames, clips: Mapping[str, Frames], *, mask: Mask) -> str:
    """The clip with the smallest mean distance pixel by pixel inside the mask."""
    pixels = lab(frames)[mask]

    def distance(name: str) -> float:
        return float(np.linalg.norm(lab(clips[name])[mask] - pixels, axis=-1).mean())

    return min(clips, key=distance)


def fitted_value(frames: Frames, scene: Scene, attribute: str) -> str:
    """The value of an attribute in the fitted render that is nearest to a clip's middle frame."""
    pixels = lab(cv2.resize(frames[len(frames) // 2], (SIZE, SIZE), interpolation=cv2.INTER_AREA)[None])
    upright = [sample_scene(seed) for seed in range(POSES)]
    poses = [*upright, *(replace(pose, motion="spin") for pose in upright)]
    for _ in range(2):
        nearest = np.argsort(_distances([_posed(scene, pose) for pose in poses], pixels))[:KEPT]
        best = [poses[k] for k in nearest]
        poses = [*best, *(_moved(pose, k) for pose in best for k in range(12))]
    options = variants(scene, attribute=attribute)
    distances = {
        value: _distances([_posed(option, pose) for pose in best], pixels).min()
        for value, option in options.items()
    }
    return min(distances, key=lambda value: float(distances[value]))


def _posed(scene: Scene, pose: Scene) -> Scene:
    """A scene with the pose of another, alone before the place's first background."""
    return replace(
        pose,
        colour=scene.colour,
        noun=scene.noun,
        place=scene.place,
        material=scene.material,
        companion=None,
        seed=0,
    )


def _moved(pose: Scene, seed: int) -> Scene:
    rng = np.random.default_rng(seed)
    x, y, size, phase = (float(v) for v in rng.normal(0, 0.05, 4))
    return replace(
        pose, x=pose.x + x, y=pose.y + y, size=pose.size * (1 + 2 * size), phase=pose.phase + phase
    )


def _distances(scenes: Sequence[Scene], pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) mean distances of the scenes' pictures from (1, SIZE, SIZE, 3) CIELAB."""
    clips = render_batch(scenes, shot=Shot(1, resolution=SIZE))
    pictures = lab(np.concatenate([clip.frames.numpy() for clip in clips]))
    apart: NDArray[np.float32] = np.linalg.norm(pictures - pixels, axis=-1).clip(max=FAR).mean(axis=(1, 2))
    return apart


DECISIVE = {"colour": "renderer", "material": "judge", "noun": "judge"}
"""Whose test says whether an edit succeeded: a pattern may lie elsewhere than the renderer's, and a noun
may be drawn differently, but a colour is a colour."""
MISSING = "-"

Row = tuple[str, Callable[[Sequence[Answers]], str]]
"""A line of a table: its name, and its figure from the answers of some cases."""


def summarise(results: Results, *, judge: Judge | None) -> str:
    """Evaluate all clips of a folder; write `measures.json` and the contact sheets into it."""
    records, task = results.records(), results.facts.get("task")
    if records and task not in SUMMARIES:
        raise ConfigError(
            f"{results.path} holds results of another benchmark; pass that of {' or '.join(SUMMARIES)} --out"
        )
    if not records:
        raise ConfigError(f"{results.path} holds no finished cases; make some with edit or sample --out")
    answers, table = SUMMARIES[task](results, records, judge)
    with written_atomically(results.path / "measures.json") as part:
        part.write_text(json.dumps(answers, indent=1) + "\n", "utf-8")
    return table


def _summarise_edits(
    results: Results, records: Sequence[Mapping[str, Any]], judge: Judge | None
) -> tuple[list[Answers], str]:
    answers: list[Answers] = []
    cells: dict[str, list[Cell]] = {kind: [] for kind in KINDS}
    for record in tqdm(records, desc="evaluating"):
        case, frames, fps = edit_case(record["index"]), results.frames(record["index"]), results.facts["fps"]
        found = evaluate_case(case, frames, fps=fps, judge=judge)
        of_case = {**record, "kind": case.kind, "asked": case.asked, **found}
        answers.append(of_case)
        (source,) = rendered([case.source], shot=shot_like(frames, fps=fps))
        seen = [f"{who}: {of_case[who]}" for who in ("renderer", "judge") if who in of_case]
        title = f"{record['source'].rpartition(case.source.noun)[0]}{case.source.noun} to {case.asked}"
        cells[case.kind].append(
            Cell([source, frames], title, ", ".join(seen), is_good=_agrees(of_case, DECISIVE[case.kind]))
        )
    for kind in KINDS:
        if cells[kind]:
            contact_sheet(cells[kind], results.path / f"sheet-{kind}.png")
    columns = {kind: [m for m in answers if m["kind"] == kind] for kind in KINDS} | {"all": answers}
    return answers, _table(EDIT_ROWS, {name: cases for name, cases in columns.items() if cases})


def _summarise_samples(
    results: Results, records: Sequence[Mapping[str, Any]], judge: Judge | None
) -> tuple[list[Answers], str]:
    answers: list[Answers] = []
    cells = []
    for record in tqdm(records, desc="evaluating"):
        scene, frames = sample_case(record["index"]), results.frames(record["index"])
        found = evaluate_sample(scene, frames, fps=results.facts["fps"], judge=judge)
        answers.append({**record, **found["sample"], "real": found["real clip"]})
        wrong = [test for test, agrees in found["sample"].items() if agrees is False]
        note = f"not for {', '.join(wrong)}" if wrong else ""
        cells.append(Cell([frames], record["target"], note, is_good=not wrong))
    contact_sheet(cells, results.path / "sheet-samples.png", columns=8)
    columns = {"samples": answers, "real clips": [m["real"] for m in answers]}
    return answers, _table(SAMPLE_ROWS, columns)


SUMMARIES = {"edit": _summarise_edits, "sample": _summarise_samples}
"""How the results of each task are summed up."""


def _agrees(answers: Answers, who: str) -> bool | None:
    return answers[who] == answers["asked"] if who in answers else None


def _share(made: Sequence[bool | None]) -> str:
    counted = [agrees for agrees in made if agrees is not None]
    return f"{sum(counted)} of {len(counted)} ({mean(counted):.0%})" if counted else MISSING


def _by(who: str) -> Callable[[Sequence[Answers]], str]:
    return lambda cases: _share([_agrees(m, who) for m in cases])


def _succeeded(cases: Sequence[Answers]) -> str:
    return _share([_agrees(m, DECISIVE[m["kind"]]) for m in cases])


def _true(name: str) -> Callable[[Sequence[Answers]], str]:
    return lambda cases: _share([m.get(name) for m in cases])


def _mean(*names: str, digits: int = 3) -> Callable[[Sequence[Answers]], str]:
    def figures(cases: Sequence[Answers]) -> str:
        values = [[m[name] for m in cases if name in m] for name in names]
        return " → ".join(f"{mean(v):.{digits}f}" for v in values) if all(values) else MISSING

    return figures


def _ratio(name: str, base: str) -> Callable[[Sequence[Answers]], str]:
    return lambda cases: f"{mean(m[name] for m in cases) / mean(m[base] for m in cases):.2f}"


def _seconds(cases: Sequence[Answers]) -> str:
    return f"{median(m['seconds'] for m in cases):.1f}" if "seconds" in cases[0] else MISSING


EDIT_ROWS: Sequence[Row] = (
    ("cases", lambda cases: str(len(cases))),
    ("**succeeded** (colour: renderer's test; else: judge's)", _succeeded),
    ("renderer's test, among all colours, materials or nouns", _by("renderer")),
    ("judge's test, among as many captions", _by("judge")),
    ("PSNR inside the mask to a true render of the target, in decibels", _mean("PSNR", digits=1)),
    ("distance of the mean colour inside the mask from it, in CIELAB", _mean("colour error", digits=1)),
    ("error in the band round the outline, against that inside", _mean("band / inside", digits=2)),
    ("mask IoU of the object, before and after", _mean("overlap")),
    ("… had it become a true render of the target", _mean("overlap of a true render")),
    ("mask IoU with the target's own mask", _mean("overlap with the target")),
    ("colour jitter in the mask in CIELAB, before → after", _mean("jitter before", "jitter after", digits=2)),
    ("… after / before", _ratio("jitter after", "jitter before")),
    ("… had it become a true render of the target", _ratio("jitter of a true render", "jitter before")),
    (
        "agreement with the target prompt (judge), before → after",
        _mean("alignment before", "alignment after"),
    ),
    ("frame consistency (judge), before → after", _mean("consistency before", "consistency after")),
    (
        "largest difference outside the mask, of 255",
        lambda cases: str(max(m["difference outside"] or 0 for m in cases)),
    ),
    ("median seconds an edit", _seconds),
)

SAMPLE_ROWS: Sequence[Row] = (
    ("cases", lambda cases: str(len(cases))),
    *(
        (f"{word} agrees with the prompt (renderer)", _true(f"renderer, {word}"))
        for word in ("colour", "noun")
    ),
    *(
        (f"{word} agrees with the prompt (judge)", _true(f"judge, {word}"))
        for word in ("colour", "noun", "place", "material")
    ),
    ("frame consistency (judge)", _mean("consistency")),
    ("median seconds a sample", _seconds),
)


def _table(rows: Sequence[Row], columns: Mapping[str, Sequence[Answers]]) -> str:
    cells = [[name, *(figure(cases) for cases in columns.values())] for name, figure in rows]
    return markdown_table(["", *columns], rows=cells)


Found = Callable[[Sequence[Answers], Sequence[Answers]], float | None]
"""A figure of the answers of edits and of samples; None without any."""


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _edits(kind: str, who: str) -> Found:
    return lambda edits, _: _mean_of([_agrees(m, who) for m in edits if m["kind"] == kind])


def _edit(name: str) -> Found:
    return lambda edits, _: _mean_of([m[name] for m in edits])


def _samples(test: str) -> Found:
    return lambda _, samples: _mean_of([m.get(test) for m in samples])


BARS: Sequence[tuple[str, str, float, str, Found]] = (
    ("edits of colour (renderer)", "≥", 0.98, ".0%", _edits("colour", "renderer")),
    ("edits of material (judge)", "≥", 0.9, ".0%", _edits("material", "judge")),
    ("edits of material (renderer)", "≥", 0.75, ".0%", _edits("material", "renderer")),
    ("edits of noun (judge)", "≥", 0.8, ".0%", _edits("noun", "judge")),
    ("edits of noun (renderer)", "≥", 0.6, ".0%", _edits("noun", "renderer")),
    ("PSNR inside the mask to a true render of the target, in decibels", "≥", 17, ".1f", _edit("PSNR")),
    ("distance of the mean colour inside the mask from it, in CIELAB", "≤", 4, ".1f", _edit("colour error")),
    ("error in the band round the outline, against that inside", "≤", 1.3, ".2f", _edit("band / inside")),
    (
        "colour jitter, after / before",
        "≤",
        1,
        ".2f",
        lambda edits, _: mean(m["jitter after"] for m in edits) / mean(m["jitter before"] for m in edits),
    ),
    (
        "largest difference outside the mask, of 255",
        "≤",
        0,
        ".0f",
        lambda edits, _: max(m["difference outside"] or 0 for m in edits),
    ),
    ("samples: noun (renderer)", "≥", 0.85, ".0%", _samples("renderer, noun")),
    ("samples: colour (renderer)", "≥", 0.97, ".0%", _samples("renderer, colour")),
    ("samples: place (judge)", "≥", 0.97, ".0%", _samples("judge, place")),
)
"""What the default model must reach: the measure, its bar, how both are written, and the figure."""


def bars_table(edits: Sequence[Answers], samples: Sequence[Answers]) -> str:
    """Each measure of `BARS`, its bar, the figure, and whether it is reached, in Markdown."""
    rows = []
    for name, sign, bar, form, found in BARS:
        value = found(edits, samples)
        reached = value is not None and (value >= bar if sign == "≥" else value <= bar)
        shown = MISSING if value is None else f"{value:{form}}"
        rows.append([name, f"{sign} {bar:{form}}", shown, "yes" if reached else "**no**"])
    return markdown_table(["", "must be", "is", "reached"], rows=rows)


def grid_table(runs: Mapping[str, Sequence[Answers]]) -> str:
    """The measures of edits in `BARS` for runs by name, in Markdown; those that need samples are left out."""
    rows = [
        [name, *(f"{found(edits, []):{form}}" for edits in runs.values())]
        for name, _, _, form, found in BARS
        if all(found(edits, []) is not None for edits in runs.values())
    ]
    seconds = ["median seconds an edit", *map(_seconds, runs.values())]
    return markdown_table(["", *runs], rows=[*rows, seconds])


def sheet_of_edits(runs: Sequence[Results], path: Path, *, columns: int = 2) -> None:
    """Write close-ups of each edit as a PNG at 400 %: source, the edit of each run, true render."""
    cells = []
    for record in runs[0].records():
        case = edit_case(record["index"])
        edits = [run.frames(case.index) for run in runs]
        shot = shot_like(edits[0], fps=runs[0].facts["fps"])
        source, goal = rendered([case.source, case.target], shot=shot)
        clips = [closeup(clip, outline=case.outlines(shot=shot)) for clip in (source, *edits, goal)]
        cells.append(Cell(clips, f"{case.index}: {record['source']} -> {record['target']}"))
    contact_sheet(cells, path, columns=columns)
