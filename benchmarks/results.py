"""A folder in which a long benchmark keeps its results case by case, to go on where it stopped.

Several processes may work in one folder on different cases.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from dreammotion_core.errors import ConfigError, DreamMotionError, OutputError
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.values import Frames


@contextmanager
def resumable() -> Iterator[None]:
    """For the command of a long benchmark: mistakes end in one line, Ctrl-C says how it goes on."""
    try:
        yield
    except DreamMotionError as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("stopped; the same command goes on where it was") from None


class Results:
    """Clips and one line of facts for each finished case; those that all share are empty before `begin`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        about = path / "run.json"
        self.facts: dict[str, Any] = {}
        if about.exists():
            try:
                self.facts = _read_object(about.read_bytes())
            except ValueError as error:
                raise ConfigError(f"{about} is damaged; choose another folder with --out") from error

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Set the facts of a new folder; check that a used one has the same."""
        self.check(facts)
        if not self.facts:
            self.facts = json.loads(json.dumps(facts))
            with written_atomically(self.path / "run.json") as part:
                part.write_text(json.dumps(self.facts, indent=1) + "\n", "utf-8")

    def check(self, facts: Mapping[str, Any], *, but: Collection[str] = ()) -> None:
        """Check that a used folder has exactly these facts; a new one agrees with all."""
        if not self.facts:
            if self._lines.exists():
                raise ConfigError(
                    f"{self.path} holds results but no run.json; choose another folder with --out"
                )
            return
        kept, wanted = _flat(self.facts), _flat(json.loads(json.dumps(facts)))
        for name in kept | wanted:
            if name not in but and kept.get(name) != wanted.get(name):
                was, now = (of.get(name, "(unknown to that version)") for of in (kept, wanted))
                raise ConfigError(
                    f"{self.path} holds a run with {name} = {was}, not {now}; ask for the same, or choose "
                    "another folder with --out"
                )

    def records(self) -> list[dict[str, Any]]:
        """The facts of all finished cases by their ``"index"``, the last of one that was kept twice."""
        path = self._lines
        records = {}
        for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else [], start=1):
            try:
                record = _read_object(line, holding="index")
            except ValueError as error:
                text = line[:60].decode("utf-8", "replace")
                raise ConfigError(
                    f"line {number} of {path} is damaged ({text!r}); delete that line"
                ) from error
            records[record["index"]] = record  # whose clip has taken the place of an earlier one
        return [records[index] for index in sorted(records)]

    def keep(self, frames: Frames, record: Mapping[str, Any]) -> None:
        """Keep a finished case: its clip first, then its line, so that a line always has its clip."""
        with written_atomically(self._clip(record["index"])) as part:
            np.savez_compressed(part, frames=frames)
        try:
            _append(f"{json.dumps(record)}\n".encode(), self._lines)
        except OSError as error:
            raise OutputError(
                f"{self._lines} could not be written ({error.strerror or error}); free space and run it again"
            ) from error

    def frames(self, index: int) -> Frames:
        """The clip of a case, (F, H, W, 3) uint8 RGB."""
        path = self._clip(index)
        try:
            with path.open("rb") as file, np.load(file) as kept:
                frames: Frames = kept["frames"]
        except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile, zlib.error) as error:
            raise ConfigError(
                f'{path} is missing or damaged; delete the line with "index": {index} from {self._lines} '
                "and run it again"
            ) from error
        return frames

    @property
    def _lines(self) -> Path:
        return self.path / "cases.jsonl"

    def _clip(self, index: int) -> Path:
        return self.path / "clips" / f"{index:05}.npz"


def _append(line: bytes, path: Path) -> None:
    """Add a line to a file that other processes add to as well: all of it or nothing."""
    # A buffer would write the rest of a line whose beginning was taken back.
    with path.open("ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end, rest = file.seek(0, os.SEEK_END), line
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except BaseException:
            file.truncate(end)
            raise


def _read_object(text: bytes, *, holding: str | None = None) -> dict[str, Any]:
    """A JSON object, which holds a whole number of the name `holding`, or raise `ValueError`."""
    found = json.loads(text)
    if not isinstance(found, dict) or (holding and not isinstance(found.get(holding), int)):
        raise ValueError("this is another kind of JSON")
    return found


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts by name, those within others as "settings.seed"."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": held for inner, held in value.items()}
        else:
            flat[name] = value
    return flat
