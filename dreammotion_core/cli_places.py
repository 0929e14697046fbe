"""Refuses a command line whose results would overwrite what it reads, or one another."""

from __future__ import annotations

import argparse
import os
from itertools import permutations
from pathlib import Path

from dreammotion_core.errors import ConfigError

_READ = {
    "video": "the clip",
    "edited": "the edit",
    "mask": "--mask",
    "edited_mask": "--edited-mask",
    "checkpoint": "--checkpoint",
    "cotracker": "--cotracker",
}
_WRITTEN = {"out": "--out", "frames_dir": "--frames-dir", "receipt": "--receipt", "json": "--json"}


def given_receipt(options: argparse.Namespace) -> Path:
    """Where the receipt of ``edit`` goes: beside the edited clip unless said otherwise."""
    return options.receipt or options.out.with_suffix(".json")  # type: ignore[no-any-return]


def check_places(options: argparse.Namespace) -> None:
    """Refuse early what would destroy an input or a result. Links do not hide that two places are one.

    Args:
        options: of any command.

    Raises:
        ConfigError: if a result would replace something that is read or become part of it, or two results
            would go to one place.
    """
    read = _places(options, _READ)
    written = _places(options, _WRITTEN)
    if "receipt" in options:
        written["--receipt"] = given_receipt(options)
    for name, place in written.items():
        for what, path in read.items():
            if _is_same(place, path) or (place.suffix.lower() == ".png" and _is_same(place.parent, path)):
                raise ConfigError(
                    f"{name} {place} would be written over {what} ({path}), which is read; choose another "
                    f"place for {name}"
                )
    for (name, place), (other, path) in permutations(written.items(), 2):
        if _is_same(place, path) or (other == "--frames-dir" and _lies_in(place, path)):
            raise ConfigError(
                f"{name} {place} and {other} {path} would get in each other's way; choose another place for "
                "one of them"
            )


def _places(options: argparse.Namespace, names: dict[str, str]) -> dict[str, Path]:
    given = {said: getattr(options, name, None) for name, said in names.items()}
    return {said: path for said, path in given.items() if path is not None}


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        # At least one is not there yet.
        return os.path.realpath(one) == os.path.realpath(other)


def _lies_in(place: Path, folder: Path) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(place)).parents
