"""A folder in which a long benchmark keeps its results case by case, to go on where it stopped.

Several processes may work in one folder on different cases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dreammotion_core.atomic_files import written_atomically
from dreammotion_core.errors import ConfigError
from dreammotion_core.values import Frames


class Results:
    """Clips and one line of facts for each finished case.

    Args:
        path: the folder.

    Attributes:
        path: the folder.
        facts: what holds for all its cases (task, model, settings); empty before `begin`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        about = path / "run.json"
        self.facts: dict[str, Any] = json.loads(about.read_text("utf-8")) if about.exists() else {}

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Set the facts of a new folder, or make sure that a used one has the same.

        Raises:
            ConfigError: if the folder holds results of another run.
        """
        if not self.facts:
            wanted = json.loads(json.dumps(facts))
            with written_atomically(self.path / "run.json") as part:
                part.write_text(json.dumps(wanted, indent=1) + "\n", "utf-8")
            self.facts = wanted
        self.check(facts)

    def check(self, facts: Mapping[str, Any]) -> None:
        """Make sure that a used folder has exactly these facts; a new one agrees with all.

        Raises:
            ConfigError: if the folder holds results of another run.
        """
        if not self.facts:
            return
        kept, wanted = _flat(self.facts), _flat(json.loads(json.dumps(facts)))
        for name in kept | wanted:
            if kept.get(name) != wanted.get(name):
                was, now = (of.get(name, "(unknown to that version)") for of in (kept, wanted))
                raise ConfigError(
                    f"{self.path} holds a run with {name} = {was}, not {now}; ask for the same, or choose "
                    "another folder with --out"
                )

    def records(self) -> list[dict[str, Any]]:
        """The facts of all finished cases, in order of their ``"index"``.

        Raises:
            ConfigError: if a line is damaged.
        """
        path = self.path / "cases.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        try:
            return sorted((json.loads(line) for line in lines), key=lambda record: record["index"])
        except json.JSONDecodeError as error:
            raise ConfigError(f"{path} has a damaged line ({error.doc[:60]!r}); delete that line") from error

    def keep(self, frames: Frames, record: Mapping[str, Any]) -> None:
        """Keep a finished case: its clip first, then its line, so that a line always has its clip."""
        with written_atomically(self._clip(record["index"])) as part:
            np.savez_compressed(part, frames=frames)
        with (self.path / "cases.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")

    def frames(self, index: int) -> Frames:
        """The clip of a case, (F, H, W, 3) uint8 RGB."""
        with np.load(self._clip(index)) as kept:
            frames: Frames = kept["frames"]
        return frames

    def _clip(self, index: int) -> Path:
        return self.path / "clips" / f"{index:05}.npz"


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts by name, those within others as "settings.seed"."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": held for inner, held in value.items()}
        else:
            flat[name] = value
    return flat
