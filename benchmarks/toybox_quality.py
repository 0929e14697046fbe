"""How good the embedded models are: held-out edits and samples, judged by true renders and by the judge.

    python -m benchmarks.toybox_quality edit --cases 100 --out outputs/edit
    python -m benchmarks.toybox_quality sample --cases 60 --out outputs/sample
    python -m benchmarks.toybox_quality summary outputs/edit
    python -m benchmarks.toybox_quality bars --model toybox --out outputs/bars
    python -m benchmarks.toybox_quality grid --model toybox --out outputs/grid

Clips have seeds and combinations of colour, noun and place that were never trained on. ``edit`` and
``sample`` only make clips; an interrupted run goes on where it stopped, and ``--part 1/2`` and
``--part 2/2`` share the work between two processes. ``summary`` evaluates the finished clips, prints the
tables and writes the contact sheets. ``bars`` does all of it for the cases from 300 on, which nothing is
tuned on, prints what the default model must reach beside what it reaches, and writes ``sheet.png``: source,
edit and true render at 400 %. ``grid`` measures the settings that matter one by one, on cases from 600 on
that are in no table, to choose a model's defaults. `--model` also takes a folder, such as a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.arguments import count_of, described_parser, part_of, setting_of
from benchmarks.results import Results, resumable
from benchmarks.toybox import Judge, bars_table, grid_table, sheet_of_edits, summarise
from benchmarks.world_cases import KINDS, edit_case, edit_indices, sample_case
from dreammotion_core import DreamMotionPipeline, ModelSpec, Video
from dreammotion_core.errors import ConfigError
from dreammotion_core.finishing import to_pixels
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.method.prior import Backend
from dreammotion_core.method.source_cache import weights_digest
from dreammotion_core.models.catalog import find_model
from dreammotion_core.values import Frames
from training.world import Shot, caption, render

FIRST_CASE, FIRST_TUNING_CASE = 300, 600
"""First case that ``bars`` measures, and first one that defaults are chosen on."""
AS_DEFAULT = {"seed": 0, "preview_interval": 0, "mask_grow": 0}
"""Settings of all edits; the mask of a case has its room already."""
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    **{f"guidance {scale:g}": {"guidance_scale": scale} for scale in (2.0, 3.0, 5.5)},
    **{f"{steps} steps": {"num_optimization_steps": steps} for steps in (20, 30)},
    **{
        f"{weighting} {rate:g}": {"direction_weighting": weighting, "learning_rate": rate}
        for weighting, rate in (("velocity", 0.02), ("velocity", 0.06), ("velocity", 0.1), ("noise", 0.4))
    },
    **{f"limit {limit:g}": {"matching_limit": limit} for limit in (0.5, 1.5)},
}
"""Changes of settings, each of which is tried alone."""
KEY_SITES = {
    "wan": {"early": "blocks.[0-2].attn1.to_k", "late": "blocks.[5-7].attn1.to_k"},
    "unet3d": {"mid": "mid_block.attentions.*attn1.to_k", "encoder": "down_blocks.*.attentions.*attn1.to_k"},
}
"""Family -> further choices of keys to match, by name."""


def grid_variants(spec: ModelSpec) -> dict[str, dict[str, Any]]:
    """What ``grid`` tries with a model: changes of settings by name."""
    sites = KEY_SITES.get(spec.family, {})
    return VARIANTS | {f"{name} keys": {"key_sites": (pattern,)} for name, pattern in sites.items()}


def run_edit(
    pipe: DreamMotionPipeline, index: int, preset: str, changes: dict[str, Any], results: Results
) -> None:
    """Make the edit of a number and keep it."""
    case = edit_case(index)
    shot = Shot(pipe.spec.num_frames, pipe.spec.fps, pipe.spec.resolution[0])
    video = Video(render(case.source, shot=shot).frames.numpy(), shot.fps)
    words = {"source_prompt": caption(case.source), "target_prompt": caption(case.target)}
    config = pipe.spec.config(preset, **words, **changes)
    output = pipe(video, **words, mask=case.mask(shot=shot), config=config)
    record = {
        "index": index,
        "seconds": round(output.seconds, 2),
        "difference outside": output.max_difference_outside,
        "source": output.source_prompt,
        "target": output.target_prompt,
    }
    results.keep(output.frames, record)


def run_sample(pipe: DreamMotionPipeline, index: int, facts: dict[str, Any], results: Results) -> None:
    """Draw the sample of a number and keep it."""
    prompt, started = caption(sample_case(index)), time.perf_counter()
    frames = sample_video(
        pipe.backend, prompt=prompt, num_steps=facts["steps"], guidance_scale=facts["guidance"], seed=index
    )
    results.keep(
        frames, {"index": index, "seconds": round(time.perf_counter() - started, 2), "target": prompt}
    )


@torch.no_grad()
def sample_video(
    backend: Backend, *, prompt: str, num_steps: int = 30, guidance_scale: float = 7.5, seed: int = 0
) -> Frames:
    """A clip from a prompt at the model's own length and size, (F, H, W, 3) uint8 RGB.

    Deterministic DDIM with classifier-free guidance, in signal and noise, so that it works for every family
    of models; for flow matching it is Euler's method. The library itself edits and never samples.
    """
    height, width = backend.spec.resolution
    blank = torch.zeros(backend.spec.num_frames, 3, height, width, device=backend.device)
    shape = backend.encode_video(blank).shape
    text, unconditional = backend.encode_prompt(prompt), backend.encode_prompt("")
    embeds = torch.cat([unconditional, text])
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(backend.device)
    timesteps = np.linspace(999, 0, num_steps + 1).round().astype(int)[:, None]
    for now, then in tqdm(pairwise(timesteps), total=num_steps, leave=False):
        timestep = torch.from_numpy(now).to(backend.device)
        prediction = backend.predict_noise(latents.repeat(2, 1, 1, 1, 1), timestep.repeat(2), embeds)
        without_text, with_text = prediction.chunk(2)
        noise = without_text + guidance_scale * (with_text - without_text)
        alpha, sigma = backend.signal_and_noise(timestep, latents)
        signal = (latents - sigma * noise) / alpha
        latents = add_noise(
            signal, noise, *backend.signal_and_noise(torch.from_numpy(then).to(backend.device), latents)
        )
    return to_pixels(backend.decode_video(signal), (height, width)).round().astype(np.uint8)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, read and checked."""
    parser = described_parser("toybox_quality", __doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    for name, cases, help_text in (
        ("edit", 100, "make held-out edits"),
        ("sample", 60, "draw clips from prompts"),
    ):
        task = tasks.add_parser(name, help=help_text)
        task.add_argument("--model", default="toybox", help="name or folder (default: toybox)")
        task.add_argument("--device", default="cpu")
        task.add_argument("--cases", type=count_of, default=cases, help=f"number of cases (default: {cases})")
        task.add_argument(
            "--part",
            type=part_of,
            default=(1, 1),
            metavar="K/N",
            help="only every N-th case from the K-th on",
        )
        task.add_argument(
            "--skip",
            type=count_of,
            default=0,
            help="cases to leave out at the start, such as those on which settings were chosen",
        )
        task.add_argument("--out", type=Path, default=Path("outputs") / name, help="folder of the results")
    edit, sample = tasks.choices["edit"], tasks.choices["sample"]
    edit.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what changes (default: all)")
    edit.add_argument("--preset", default="auto", help="(%(default)s: by the words, as in the page)")
    edit.add_argument(
        "--set", nargs="+", type=setting_of, default=[], metavar="NAME=VALUE", help="settings, values as JSON"
    )
    sample.add_argument("--steps", type=count_of, default=30, help="denoising steps (default: 30)")
    sample.add_argument("--guidance", type=float, help="(default: the model's own)")
    summary = tasks.add_parser("summary", help="evaluate a folder of results, draw its contact sheets")
    summary.add_argument("folder", type=Path)
    summary.add_argument("--no-judge", action="store_true", help="the renderer's tests only")
    bars = tasks.add_parser("bars", help="what the default model must reach, and what a model reaches")
    grid = tasks.add_parser("grid", help="the settings that matter, one by one")
    for name, task in (("bars", bars), ("grid", grid)):
        task.add_argument("--model", default="toybox", help="name or folder (default: toybox)")
        task.add_argument("--device", default="cpu")
        task.add_argument("--cases", type=count_of, default=24, help="number of edits (default: %(default)s)")
        task.add_argument("--out", type=Path, default=Path("outputs") / name, help="folder of the results")
    bars.add_argument("--samples", type=count_of, default=24, help="number of samples (default: %(default)s)")
    grid.add_argument("--only", nargs="+", metavar="NAME", help="variants to try (default: all)")
    return parser.parse_args(argv)


def make_clips(options: argparse.Namespace, pipe: DreamMotionPipeline | None = None) -> None:
    """Make the clips of a run that are not there yet, with the model of the options or a loaded one."""
    results, (part, of) = Results(options.out), options.part
    facts: dict[str, Any] = {"task": options.task, "model": options.model}
    spec, changes = find_model(options.model), AS_DEFAULT
    if options.task == "edit":
        indices = edit_indices(options.cases, kinds=tuple(options.kinds), skip=options.skip)
        changes = AS_DEFAULT | dict(options.set)
        facts |= {"preset": options.preset} | spec.config(options.preset, **changes).to_dict()
    else:
        indices = list(range(options.skip, options.skip + options.cases))
        given = {} if options.guidance is None else {"guidance_scale": options.guidance}
        facts |= {"steps": options.steps, "guidance": spec.config("fast", **given).guidance_scale}
    pipe = pipe or DreamMotionPipeline.from_pretrained(options.model, device=options.device)
    weights = weights_digest(pipe.backend.denoiser)  # a folder keeps its name when its model is trained on
    results.begin(facts | {"fps": pipe.spec.fps, "weights": weights})
    done = {record["index"] for record in results.records()}
    for index in tqdm([i for i in indices[part - 1 :: of] if i not in done], desc=options.task):
        if options.task == "edit":
            run_edit(pipe, index, options.preset, changes, results)
        else:
            run_sample(pipe, index, facts, results)


def measure_bars(options: argparse.Namespace) -> str:
    """Make edits and samples, and compare them with the bars; tables in Markdown."""
    judge, sheet = Judge.from_folder(), options.out / "sheet.png"
    # Loaded once: a training may write other weights into the folder meanwhile.
    pipe = DreamMotionPipeline.from_pretrained(options.model, device=options.device)
    found = []
    for task, cases in (("edit", options.cases), ("sample", options.samples)):
        words = ["--skip", str(FIRST_CASE), "--cases", str(cases), "--out", str(options.out / task)]
        found.append(_measured([task, "--model", options.model, *words], pipe, judge))
    sheet_of_edits([Results(options.out / "edit")], sheet)
    tables, answers = zip(*found, strict=True)
    return "\n\n".join([*tables, bars_table(*answers), f"Pictures: {sheet}"])


def measure_grid(options: argparse.Namespace) -> str:
    """Make the edits of each variant, and compare them; a table in Markdown.

    Raises:
        ConfigError: if a variant is asked for that does not exist.
    """
    variants = grid_variants(find_model(options.model))
    asked = options.only or list(variants)
    if unknown := [name for name in asked if name not in variants]:
        raise ConfigError(f"there is no variant {unknown[0]!r}; choose of: {', '.join(variants)}")
    judge, sheet = Judge.from_folder(), options.out / "sheet.png"
    pipe = DreamMotionPipeline.from_pretrained(options.model, device=options.device)
    folders = {name: options.out / name.replace(" ", "-") for name in asked}
    runs = {}
    for name, folder in folders.items():
        words = ["--skip", str(FIRST_TUNING_CASE), "--cases", str(options.cases), "--out", str(folder)]
        if changes := [f"{setting}={json.dumps(value)}" for setting, value in variants[name].items()]:
            words += ["--set", *changes]
        _, runs[name] = _measured(["edit", "--model", options.model, *words], pipe, judge)
        print(grid_table(runs), end="\n\n", flush=True)
    sheet_of_edits([Results(folder) for folder in folders.values()], sheet, columns=1)
    return f"Pictures, each with source, {', '.join(asked)} and true render: {sheet}"


def _measured(
    words: Sequence[str], pipe: DreamMotionPipeline, judge: Judge
) -> tuple[str, list[dict[str, Any]]]:
    """Make the clips of a command line with a loaded model; their table and the figures of each case."""
    options = arguments(words)
    make_clips(options, pipe)
    table = summarise(Results(options.out), judge=judge)
    return table, json.loads((options.out / "measures.json").read_text("utf-8"))


def main() -> None:
    """Make clips or sum up."""
    options = arguments()
    with resumable():
        if options.task == "summary":
            judge = None if options.no_judge else Judge.from_folder()
            print(summarise(Results(options.folder), judge=judge))
        elif options.task == "bars":
            print(measure_bars(options))
        elif options.task == "grid":
            print(measure_grid(options))
        else:
            make_clips(options)


if __name__ == "__main__":
    main()
