"""What is looked at before a training starts, so that nothing avoidable fails after an hour."""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path

import torch

from dreammotion_core.errors import ConfigError, InputError


def usable_device(name: str) -> torch.device:
    """The device of that name, tried with a number; ``auto`` prefers CUDA.

    Raises:
        ConfigError: if there is no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        known = ["auto", "cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
        raise ConfigError(
            f"--device is {name!r}, which does not work here ({first_line(error)}); "
            f"pass one of {', '.join(known)}"
        ) from error
    return device


def check_writable(folder: Path, *, option: str) -> None:
    """Make the folder if need be, and write a file that is gone at once.

    Raises:
        InputError: if the folder cannot be made or written to; `option` is the one to change.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written to ({error.strerror or error}); "
            f"change its permissions, or choose another folder with {option}"
        ) from error


def check_model_folder(folder: Path, *, parts: tuple[str, ...]) -> None:
    """Make sure that a folder to start from has the parts that a stage wants.

    Raises:
        InputError: if one is missing.
    """
    missing = [part for part in parts if not (folder / part / "config.json").is_file()]
    if missing:
        raise InputError(
            f"--from is {folder}, which has no {' and no '.join(missing)}; "
            "pass the folder of an earlier model, such as assets/toybox, or leave the option out"
        )


def first_line(error: BaseException) -> str:
    """The beginning of an error's text, short enough for a message of ours."""
    return textwrap.shorten(str(error).strip().partition("\n")[0], 120, placeholder=" ...")
