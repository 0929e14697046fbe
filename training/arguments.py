"""The command line of the training."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

ROOT = Path(__file__).resolve().parent
GPU_BATCH_SCALE = 8
"""Batches that suit a CPU leave a GPU waiting for work."""

PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "toybox": {"vae": ("vae",), "diffusion": ("unet", "text_encoder")},
    "vae": {"vae": ("vae",)},
    "toybox-flow": {"flow": ("transformer",)},
}
"""What each run of a stage takes from the folder that `--from` names; other runs begin from nothing."""

CHECKPOINTS = {
    "toybox": ("vae.pt", "diffusion.pt"),
    "vae": ("vae.pt",),
    "toybox-clip": ("judge.pt",),
    "toybox-cascade": ("cascade-*.pt",),
    "toybox-flow": ("flow-vae.pt", "flow.pt"),
}
"""Name patterns of the checkpoints of each stage, which `--again` deletes."""

NUMBERS = (
    ("vae-steps", 2100, "optimiser steps of an autoencoder"),
    ("steps", 2560, "optimiser steps of the diffusion model"),
    ("judge-steps", 4000, "optimiser steps of the judge"),
    ("cascade-steps", 4000, "optimiser steps of all stages of the cascade"),
    ("flow-steps", 7000, "optimiser steps of the transformer"),
    ("clips", 6000, "clips to render"),
    ("batch-scale", None, f"larger batches (default: {GPU_BATCH_SCALE} on a GPU, else 1)"),
)
"""Name, default and meaning of each option that is a number above 0."""


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """The command line, with the folders that it leaves open.

    Args:
        arguments: the words after the program's name; None takes those of this process.
    """
    parser = new_parser()
    options = parser.parse_args(arguments)
    if options.warm_start is not None and options.stage not in PARTS:
        parser.error(f"--from does not apply to {options.stage}, which is always trained from nothing")
    runs, models = ROOT, ROOT.parent / "assets"
    if options.smoke:
        options.clips, options.minutes = 8, None
        options.vae_steps, options.steps, options.judge_steps = 2, 4, 4
        options.cascade_steps = options.flow_steps = 4
        runs = models = ROOT / "runs" / "smoke"
    options.out = options.out or models / options.stage.replace("vae", "toybox")
    options.cache = options.cache or runs / "cache"
    options.logs = options.logs or runs / "logs"
    return options


def new_parser() -> argparse.ArgumentParser:
    """What can be said on the command line."""
    # None of the options may be the beginning of an option of torchrun, which would take it for its own.
    parser = argparse.ArgumentParser(prog="python -m training.run", description="Train an embedded model.")
    parser.add_argument(
        "stage",
        choices=("toybox", "vae", "toybox-clip", "toybox-cascade", "toybox-flow"),
        help="the whole video model, its autoencoder only, the judge, the cascade, or the model with flow "
        "matching",
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
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="of weights, batches and noise")
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
        help="train every part of the stage from step 0: delete its checkpoints, replace its autoencoder",
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
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not smallest <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {smallest} to 2^63 - 1")
    return number


def _positive_minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return minutes
