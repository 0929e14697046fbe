"""What is looked at before a training starts, so that nothing avoidable fails after an hour."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from dreammotion_core.errors import ConfigError, InputError, reason_of

FROM_REMEDY = "pass the folder of an earlier model, such as assets/toybox, or leave the option out"


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
            f"--device is {name!r}, which does not work here ({reason_of(error)}); "
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
    """Make sure that a folder to start from has the parts that a stage wants, with whole files of weights.

    Raises:
        InputError: if a part is missing, or a file is damaged.
    """
    missing = [part for part in parts if not (folder / part / "config.json").is_file()]
    if missing:
        raise InputError(f"--from is {folder}, which has no {' and no '.join(missing)}; {FROM_REMEDY}")
    for part in parts:
        files = sorted((folder / part).glob("*.safetensors"))
        if not files:
            raise InputError(f"--from is {folder}, whose {part} has no .safetensors file; {FROM_REMEDY}")
        for path in files:
            _check_weights(path)


def _check_weights(path: Path) -> None:
    try:
        with safe_open(path, framework="pt"):  # compares the file's length with what its header says
            pass
    except (OSError, SafetensorError) as error:
        raise InputError(f"--from: {path} is damaged ({reason_of(error)}); {FROM_REMEDY}") from error


def files_digest(folders: Iterable[Path]) -> str:
    """Twelve hexadecimal digits that stand for the weights in some folders, whatever these are called."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.glob("*.safetensors")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def module_digest(module: nn.Module) -> str:
    """Twelve hexadecimal digits that stand for a module's weights, rounded to half precision as in files."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().half().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def load_trained(load: Callable[[Path], Any], folder: Path, *, remedy: str) -> Any:
    """A part of a model that an earlier training wrote.

    Args:
        load: the `from_pretrained` of its class, or a function that goes on to use its weights.
        folder: where it lies.
        remedy: what to do if it cannot be had, for the error.

    Raises:
        InputError: if it is missing, damaged, or of another shape than `load` wants.
    """
    if not folder.is_dir():
        raise InputError(f"there is no {folder.name} at {folder.resolve()}; {remedy}")
    try:
        return load(folder)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError) as error:
        raise InputError(f"what is in {folder} cannot be loaded ({reason_of(error)}); {remedy}") from error
