"""Train an embedded model: ``python -m training.run toybox``.

Stages that are already finished in the cache folder are not repeated; an interrupted stage goes on
from its last checkpoint.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from safetensors import SafetensorError

from dreammotion_core.errors import DreamMotionError, InputError, reason_of
from dreammotion_core.memory import device_failures_explained
from dreammotion_core.models.loading import FORMAT_VERSION
from training.arguments import CHECKPOINTS, GPU_BATCH_SCALE, PARTS, read_options
from training.checks import (
    check_model_folder,
    check_writable,
    files_digest,
    load_trained,
    usable_device,
)
from training.data import NUM_FRAMES, RESOLUTION, rendered_clips
from training.diffusion import train_diffusion
from training.loop import Budget, Setting
from training.model_files import write_index
from training.processes import agree, join_workers, rank
from training.run_folder import RunFolder
from training.text import vocabulary
from training.vae import train_vae

LOG_COLUMNS = ["step", "seconds", "loss", "learning_rate"]
VAE_SHARE = 0.25
"""Part of the minutes of `toybox` that its autoencoder gets; the diffusion model gets the rest."""

CLIP_LENGTHS = {"toybox-cascade": 17, "toybox-flow": 17}
"""Frames of the training clips, where they are not `NUM_FRAMES`."""
REMEDY = "train it anew with --again, or choose another folder with --out"
GOES_ON = "the same command, without --again, goes on from the last checkpoint"
MEMORY_ADVICE = (
    f"close other programs on it, start fewer processes, or choose another with --device; {GOES_ON}"
)
DISK_ADVICE = f"free space and look at the folders of --out, --cache and --log-folder; {GOES_ON}"


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and train.

    Args:
        arguments: the words after the program's name; None takes those of this process.

    Returns:
        The exit code: 0 done, 1 the device or the disk failed, 2 the input cannot be used, 130 stopped.
    """
    options = read_options(arguments)
    try:
        with device_failures_explained(advice=MEMORY_ADVICE):
            _train(options)
    except DreamMotionError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except (OSError, SafetensorError) as error:
        print(
            f"Error: a file could not be read or written ({reason_of(error)}); {DISK_ADVICE}",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt as stopped:
        where = str(stopped) or "Stopped between two checkpoints."
        command = "The same command without --again" if options.again else "The same command"
        print(f"{where} {command} goes on from there.", file=sys.stderr)
        return 130
    return 0


def _train(options: argparse.Namespace) -> None:
    device = usable_device(options.device)
    for option, folder in (
        ("--out", options.out),
        ("--cache", options.cache),
        ("--log-folder", options.logs),
    ):
        check_writable(folder, option=option)
    if options.warm_start is not None:
        parts = tuple(part for run in PARTS[options.stage].values() for part in run)
        check_model_folder(options.warm_start, parts=parts)
    join_workers(device)
    if options.again and rank() == 0:
        for pattern in CHECKPOINTS[options.stage]:
            for checkpoint in options.cache.glob(pattern):
                checkpoint.unlink()
    num_frames = CLIP_LENGTHS.get(options.stage, NUM_FRAMES)
    render = partial(rendered_clips, options.cache, options.clips, device, num_frames)
    if rank() == 0:
        render()
    agree(0.0)  # the others wait until the file is there
    clips = render()
    scale = options.batch_scale or (GPU_BATCH_SCALE if device.type == "cuda" else 1)
    setting = Setting(device, options.seed, options.warm_start, scale)
    if options.stage == "toybox-clip":
        _judge(options, clips, setting)
        return
    if options.stage == "toybox-cascade":
        _cascade(options, clips, setting)
        return
    if options.stage == "toybox-flow":
        _flow(options, clips, setting)
        return
    vae = _autoencoder(options, clips, setting)
    if options.stage == "toybox":
        _diffusion(options, clips, vae, setting)


def _judge(options: argparse.Namespace, clips: NDArray[np.uint8], setting: Setting) -> None:
    from training.judge import train_judge

    budget = Budget(options.judge_steps, options.minutes)
    train_judge(clips, options.cache, options.out, _run_folder(options, "judge"), budget, setting)


def _cascade(options: argparse.Namespace, clips: NDArray[np.uint8], setting: Setting) -> None:
    from training.cascade import train_cascade

    minutes = options.minutes
    train_cascade(
        clips,
        cache=options.cache,
        out=options.out,
        run_of=lambda name: _run_folder(options, f"cascade-{name}"),
        budget_of=lambda share: Budget(
            max(1, round(share * options.cascade_steps)), minutes and share * minutes
        ),
        setting=setting,
    )


def _flow(options: argparse.Namespace, clips: NDArray[np.uint8], setting: Setting) -> None:
    from training.flow import VAE_SHARE as SHARE
    from training.flow import train_flow

    minutes = options.minutes
    train_flow(
        clips,
        cache=options.cache,
        out=options.out,
        runs=(_run_folder(options, "flow-vae"), _run_folder(options, "flow")),
        budgets=(
            Budget(options.vae_steps, minutes and SHARE * minutes),
            Budget(options.flow_steps, minutes and (1 - SHARE) * minutes),
        ),
        setting=setting,
        again=options.again,
    )


def _autoencoder(options: argparse.Namespace, clips: NDArray[np.uint8], setting: Setting) -> AutoencoderKL:
    """The finished autoencoder of the output folder, or a newly trained one.

    Raises:
        InputError: if only an autoencoder is asked for that begins otherwise than usual, and one is there.
    """
    folder, run = options.out / "vae", _run_folder(options, "vae")
    # Alone, a finished one that this cache made is compared with what is asked for, as any checkpoint is.
    is_compared = options.stage == "vae" and run.own_checkpoint() != "missing"
    if not (options.again or is_compared) and run.keeps(folder):
        if options.stage == "vae" and (options.seed or options.warm_start):
            raise InputError(f"{folder} is finished, so --seed and --from would change nothing; {REMEDY}")
        return load_trained(AutoencoderKL.from_pretrained, folder, remedy=REMEDY).float().to(setting.device)
    share = VAE_SHARE if options.stage == "toybox" else 1.0
    budget = Budget(options.vae_steps, options.minutes and share * options.minutes)
    return train_vae(clips, folder, run, budget, setting)


def _diffusion(
    options: argparse.Namespace, clips: NDArray[np.uint8], vae: AutoencoderKL, setting: Setting
) -> None:
    out, run = options.out, _run_folder(options, "diffusion")
    budget = Budget(options.steps, options.minutes and (1 - VAE_SHARE) * options.minutes)
    train_diffusion(clips, vae, options.cache, out, run, budget, setting)
    if rank() == 0:
        write_manifest(out)


def _run_folder(options: argparse.Namespace, name: str) -> RunFolder:
    parts = PARTS.get(options.stage, {}).get(name, ())
    begins_with = "nothing"
    if options.warm_start is not None and parts:
        begins_with = f"weights {files_digest(options.warm_start / part for part in parts)}"
    origin = {"--seed": options.seed, "--clips": options.clips, "--from": begins_with}
    checkpoint, log = options.cache / f"{name}.pt", options.logs / f"{name}.csv"
    return RunFolder(checkpoint, log, LOG_COLUMNS, origin=origin, out=options.out)


def write_manifest(out: Path) -> None:
    """`model_index.json`: what the loader needs to know beyond the weights of each part."""
    manifest = {
        "_class_name": "DreamMotionUNet3D",
        "format_version": FORMAT_VERSION,
        "unet": ["diffusers", "UNet3DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "resolution": [RESOLUTION, RESOLUTION],
        "num_frames": NUM_FRAMES,
        "fps": 8,
        "vocabulary": vocabulary(),
    }
    write_index(out, manifest)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
