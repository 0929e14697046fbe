"""Train an embedded model: ``python -m training.run toybox``.

Parts that are finished in the cache folder are not repeated; an interrupted part resumes from its checkpoint.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from safetensors import SafetensorError

from dreammotion_core.errors import ConfigError, DreamMotionError, InputError, reason_of
from dreammotion_core.memory import device_failures_explained
from training.autoencoder import refine_decoder
from training.data import NUM_FRAMES, PICTURE_PAIRS, rendered_clips, rendered_pairs
from training.diffusion import train_diffusion, train_vae
from training.loop import Budget, Setting
from training.processes import join_processes, made_once, rank
from training.run_folder import RunFolder, load_trained

ROOT = Path(__file__).resolve().parent
ASSETS = ROOT.parent / "assets"
GPU_BATCH_SCALE = 8  # factor on batch sizes on a GPU, which batches for a CPU leave waiting

CHECKPOINTS = {
    "toybox": ("autoencoder.pt", "flow.pt"),
    "toybox-decoder": ("decoder.pt",),
    "toybox-unet": ("vae.pt", "diffusion.pt"),
    "toybox-cascade": ("cascade-*.pt",),
    "toybox-clip": ("judge.pt",),
}
"""Stage -> name patterns of its checkpoints."""
ALIASES = {"toybox-flow": "toybox"}
WARM_STARTS = ("toybox", "toybox-unet")  # stages that can start from the weights of an earlier model
VAE_STEPS = {"toybox": 4500, "toybox-unet": 2100}
VAE_SHARE = {"toybox": 0.15, "toybox-unet": 0.25}
"""Part of the minutes that the autoencoder gets; the denoiser gets the rest."""
CASCADE_FRAMES = 17
TEXT_FOLDER = "toybox-unet"
"""Folder of the U-Net model, whose text encoder `toybox` begins with, beside its own or in `assets`."""

NUMBERS = (
    (
        "vae-steps",
        None,
        "optimiser steps of the autoencoder (default: 4500 for toybox, 2100 for toybox-unet)",
    ),
    ("flow-steps", 60000, "optimiser steps of the transformer of toybox"),
    ("steps", 2560, "optimiser steps of the U-Net of toybox-unet"),
    ("judge-steps", 12000, "optimiser steps of the judge"),
    ("cascade-steps", 4000, "optimiser steps of all stages of the cascade"),
    (
        "clips",
        6000,
        "clips to render; for toybox, half as many pairs of clips; for toybox-clip, pairs of pictures",
    ),
    ("batch-scale", None, f"larger batches (default: {GPU_BATCH_SCALE} on a GPU, else 1)"),
)
"""Name, default and meaning of each option that is a number above 0."""

ADVICE = "the same command, without --again, goes on from the last checkpoint"
MEMORY_ADVICE = (
    f"close other programs, start fewer processes, or choose another device with --device; {ADVICE}"
)
DISK_ADVICE = f"free space and look at the folders of --out, --cache and --log-folder; {ADVICE}"


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and train."""
    options = read_options(arguments)
    try:
        with device_failures_explained(advice=MEMORY_ADVICE):
            _train(options)
    except DreamMotionError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except (OSError, SafetensorError) as error:
        print(
            f"Error: a file could not be read or written ({reason_of(error)}); {DISK_ADVICE}", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt as stopped:
        where = str(stopped) or "Stopped between two checkpoints."
        command = "The same command without --again" if options.again else "The same command"
        print(f"{where} {command} goes on from there.", file=sys.stderr)
        return 130
    return 0


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """The command line, with the folders that it leaves open."""
    parser = new_parser()
    options = parser.parse_args(arguments)
    options.stage = ALIASES.get(options.stage, options.stage)
    if options.warm_start is not None and options.stage not in WARM_STARTS:
        parser.error(f"--from does not apply to {options.stage}, which is always trained from nothing")
    runs, models = ROOT, ASSETS
    if options.smoke:
        options.clips, options.minutes = 8, None
        options.vae_steps = options.steps = options.judge_steps = 2
        options.cascade_steps = options.flow_steps = 4
        runs = models = ROOT / "runs" / "smoke"
    options.out = options.out or models / options.stage.removesuffix("-decoder")
    options.cache = options.cache or runs / "cache"
    options.logs = options.logs or runs / "logs"
    return options


def new_parser() -> argparse.ArgumentParser:
    """The parser; none of its options may be the beginning of an option of torchrun."""
    parser = argparse.ArgumentParser(prog="python -m training.run", description="Train an embedded model.")
    parser.add_argument(
        "stage",
        choices=(*CHECKPOINTS, *ALIASES),
        help="the default model (also called toybox-flow), its decoder alone, the U-Net model, the cascade, "
        "or the judge",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument(
        "--budget-minutes",
        dest="minutes",
        type=_positive_minutes,
        metavar="MINUTES",
        help="train for so long instead of so many steps",
    )
    for name, default, what in NUMBERS:
        parser.add_argument(f"--{name}", type=_positive_number, default=default, metavar="N", help=what)
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="seed of weights, batches and noise"
    )
    parser.add_argument(
        "--from",
        dest="warm_start",
        type=Path,
        metavar="FOLDER",
        help="start from the weights of an earlier model folder instead of from nothing",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="train every part from step 0: delete the checkpoints of the stage and its autoencoder",
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a few steps of everything in seconds, in folders of its own"
    )
    for name, destination, what in (
        ("out", "out", "where the model goes: assets/toybox, assets/toybox-clip, ..."),
        ("cache", "cache", "rendered clips and checkpoints: training/cache"),
        ("log-folder", "logs", "where the log and the curve go: training/logs"),
    ):
        parser.add_argument(f"--{name}", dest=destination, type=Path, metavar="FOLDER", help=what)
    return parser


def _positive_number(text: str) -> int:
    return _whole_number(text, smallest=1)


def _seed(text: str) -> int:
    return _whole_number(text, smallest=0)


def _whole_number(text: str, *, smallest: int) -> int:
    """A number from `smallest` to the largest that PyTorch takes as a seed."""
    if not text.isdecimal() or not smallest <= int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {smallest} to 2^63 - 1")
    return int(text)


def _positive_minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return minutes


def usable_device(name: str) -> torch.device:
    """The device of that name, tried with a number; ``auto`` prefers CUDA."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        known = ["auto", "cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
        raise ConfigError(
            f"--device is {name!r}, which does not work here ({reason_of(error)}); "
            f"pass one of {', '.join(known)}"
        ) from error
    return device


def _train(options: argparse.Namespace) -> None:
    device = usable_device(options.device)
    for folder in (options.out, options.cache, options.logs):
        folder.mkdir(parents=True, exist_ok=True)
    if options.stage in ("toybox", "toybox-decoder") and (options.out / "unet").exists():
        raise InputError(
            f"{options.out} holds the U-Net model; move it to {options.out.with_name('toybox-unet')}, or "
            "choose another folder with --out"
        )
    join_processes(device)
    if options.again and rank() == 0:
        for pattern in CHECKPOINTS[options.stage]:
            for checkpoint in options.cache.glob(pattern):
                checkpoint.unlink()
        if options.stage != "toybox-decoder":
            (options.out / "vae" / "config.json").unlink(missing_ok=True)
    scale = options.batch_scale or (GPU_BATCH_SCALE if device.type == "cuda" else 1)
    setting = Setting(device, options.seed, options.warm_start, scale, compiles=not options.smoke)
    stages = {
        "toybox": _toybox,
        "toybox-decoder": _decoder,
        "toybox-unet": _unet,
        "toybox-cascade": _cascade,
        "toybox-clip": _judge,
    }
    stages[options.stage](options, setting)


def _toybox(options: argparse.Namespace, setting: Setting) -> None:
    from training.flow import train_toybox

    text_folders = [models / TEXT_FOLDER for models in (options.out.resolve().parent, ASSETS)]
    train_toybox(
        cache=options.cache,
        out=options.out,
        text_folder=next((f for f in text_folders if (f / "text_encoder").exists()), text_folders[0]),
        num_pairs=(3 * options.clips // 2, options.clips // 2),
        runs=(_run_folder(options, "autoencoder"), _run_folder(options, "flow")),
        budgets=_budgets(options, options.flow_steps),
        setting=setting,
    )


def _decoder(options: argparse.Namespace, setting: Setting) -> None:
    pairs = made_once(
        lambda: rendered_pairs(options.cache, PICTURE_PAIRS, 3 * options.clips // 2, setting.device)
    )
    budget, run = (
        Budget(options.vae_steps or VAE_STEPS["toybox"], options.minutes),
        _run_folder(options, "decoder"),
    )
    refine_decoder(pairs, folder=options.out / "vae", run=run, budget=budget, setting=setting)


def _unet(options: argparse.Namespace, setting: Setting) -> None:
    clips, folder = _clips(options, setting, NUM_FRAMES), options.out / "vae"
    budgets = _budgets(options, options.steps)
    if (folder / "config.json").exists():
        remedy = "train it anew with --again, or choose another folder with --out"
        vae = load_trained(AutoencoderKL.from_pretrained, folder, remedy=remedy).float().to(setting.device)
    else:
        vae = train_vae(clips, folder, _run_folder(options, "vae"), budgets[0], setting)
    run = _run_folder(options, "diffusion")
    train_diffusion(clips, vae, options.cache, options.out, run, budgets[1], setting)


def _cascade(options: argparse.Namespace, setting: Setting) -> None:
    from training.cascade import train_cascade

    steps, minutes = options.cascade_steps, options.minutes
    train_cascade(
        _clips(options, setting, CASCADE_FRAMES),
        cache=options.cache,
        out=options.out,
        run_of=lambda name: _run_folder(options, f"cascade-{name}"),
        budget_of=lambda share: Budget(max(1, round(share * steps)), minutes and share * minutes),
        setting=setting,
    )


def _judge(options: argparse.Namespace, setting: Setting) -> None:
    from training.judge import JUDGED_PAIRS, train_judge

    train_judge(
        made_once(lambda: rendered_pairs(options.cache, JUDGED_PAIRS, options.clips, setting.device)),
        cache=options.cache,
        out=options.out,
        run=_run_folder(options, "judge"),
        budget=Budget(options.judge_steps, options.minutes),
        setting=setting,
    )


def _clips(options: argparse.Namespace, setting: Setting, num_frames: int) -> NDArray[np.uint8]:
    return made_once(lambda: rendered_clips(options.cache, options.clips, setting.device, num_frames))


def _budgets(options: argparse.Namespace, steps: int) -> tuple[Budget, Budget]:
    share, minutes = VAE_SHARE[options.stage], options.minutes
    return (
        Budget(options.vae_steps or VAE_STEPS[options.stage], minutes and share * minutes),
        Budget(steps, minutes and (1 - share) * minutes),
    )


def _run_folder(options: argparse.Namespace, name: str) -> RunFolder:
    return RunFolder(options.cache / f"{name}.pt", options.logs / f"{name}.csv")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
