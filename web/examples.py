"""Clips to try without having one at hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Example:
    """A clip with prompts that suit it.

    Attributes:
        name: of its folder.
        path: the clip.
        source_prompt: what it shows.
        target_prompts: what it could become.
        click: (x, y) in its pixels, a point on the object.
    """

    name: str
    path: Path
    source_prompt: str
    target_prompts: tuple[str, ...]
    click: tuple[float, float]


def load_examples(folder: Path) -> tuple[Example, ...]:
    """Read every ``<name>/clip.mp4`` with its ``meta.json`` in a folder, in order of name."""
    return tuple(_read(meta) for meta in sorted(folder.glob("*/meta.json")))


def _read(path: Path) -> Example:
    meta = json.loads(path.read_text(encoding="utf-8"))
    return Example(
        name=path.parent.name,
        path=path.parent / "clip.mp4",
        source_prompt=meta["source_prompt"],
        target_prompts=tuple(meta["target_prompts"]),
        click=(meta["click"]["x"], meta["click"]["y"]),
    )
