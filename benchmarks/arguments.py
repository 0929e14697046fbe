"""Parsers and types of command-line arguments that benchmarks share."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from dreammotion_core.errors import ConfigError
from dreammotion_core.models.placement import checked_device


def described_parser(name: str, description: str) -> argparse.ArgumentParser:
    """The parser of a benchmark, whose help shows the description as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def count_of(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def frames_of(text: str) -> int:
    """A number of frames of a clip that moves, at least 2."""
    if (count := count_of(text)) < 2:
        raise argparse.ArgumentTypeError("a clip of one frame does not move; pass at least 2")
    return count


def device_of(text: str) -> str:
    """A device of this machine."""
    try:
        return str(checked_device(text))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def part_of(text: str) -> tuple[int, int]:
    """(K, N) of K/N."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N with 1 <= K <= N, such as 1/2")
    return int(match[1]), int(match[2])


def setting_of(text: str) -> tuple[str, Any]:
    """Name and value of NAME=VALUE, the value in JSON.

    The seed -1 is refused: every edit would draw another, and nobody could repeat the cases.
    """
    name, equals, value = text.partition("=")
    try:
        found = json.loads(value if equals else "")
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=VALUE with a value in JSON, such as learning_rate=0.2"
        ) from error
    if name == "seed" and found == -1:
        raise argparse.ArgumentTypeError("seed is -1, which draws another for every edit; pass one from 0")
    return name, tuple(found) if isinstance(found, list) else found  # JSON knows no tuples, settings no lists
