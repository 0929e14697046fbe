"""Where a training keeps its checkpoint and its log, and what its checkpoint was begun with."""

from __future__ import annotations

import csv
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from dreammotion_core.errors import InputError
from dreammotion_core.media.atomic import written_atomically
from training.processes import rank


class RunFolder:
    """Where a run keeps its checkpoint and its log; the log is what `training/logs` shows.

    Args:
        checkpoint: the file to go on from.
        log: the CSV file.
        columns: of the log; the first is the step.
        origin: what decides how the run begins and what it sees, by option, such as ``{"--seed": 0}``;
            stages add what they find out, such as the autoencoder. A checkpoint that was begun with something
            else is not gone on from.
        out: the folder of the model that the run trains for, if another run has to know it.
    """

    def __init__(
        self,
        checkpoint: Path,
        log: Path,
        columns: list[str],
        *,
        origin: Mapping[str, int | str] | None = None,
        out: Path | None = None,
    ) -> None:
        self.checkpoint, self.log, self.columns = checkpoint, log, columns
        self.origin = dict(origin or {})
        self.out = "" if out is None else str(out.resolve())
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, or None for a fresh run.

        Raises:
            InputError: if it is damaged, or not one of this program's.
        """
        if not self.checkpoint.exists():
            return None
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise self.unusable("is damaged") from error
        if not isinstance(state, dict):
            raise self.unusable("is no checkpoint of a training")
        return state

    def check_origin(self, begun_with: Mapping[str, int | str]) -> None:
        """Make sure that a checkpoint was begun with what is asked for now.

        Raises:
            InputError: if not; it names both.
        """
        kinds = sorted(begun_with.keys() | self.origin.keys())
        if other := [kind for kind in kinds if begun_with.get(kind) != self.origin.get(kind)]:
            there, asked = (
                ", ".join(f"{kind} {found.get(kind, 'unknown')}" for kind in other)
                for found in (begun_with, self.origin)
            )
            raise self.unusable(f"was begun with {there}, and {asked} is asked for now")

    def own_checkpoint(self) -> Literal["missing", "unfinished", "finished"]:
        """What there is of a training that was begun for this very folder of a model.

        Raises:
            InputError: if the checkpoint is damaged.
        """
        saved = self.load()
        if saved is None or saved.get("out") != self.out or "finished" not in saved:
            return "missing"
        return "finished" if saved["finished"] else "unfinished"

    def keeps(self, part: Path) -> bool:
        """Whether a finished part of a model is used as it is, because no training of it was stopped.

        Raises:
            InputError: if the checkpoint is damaged.
        """
        kept = (part / "config.json").exists() and self.own_checkpoint() != "unfinished"
        if kept and rank() == 0:
            print(f"{self.log.stem}: {part} is finished and is used as it is; --again trains it anew")
        return kept

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint, never leaving half of one.

        Raises:
            OutputError: if it cannot be written; the one before stays.
        """
        if rank() != 0:
            return
        # Through memory, because torch reports a full disk in words of its own.
        buffer = io.BytesIO()
        torch.save({**state, "origin": self.origin, "out": self.out}, buffer)
        with written_atomically(self.checkpoint) as part:
            part.write_bytes(buffer.getbuffer())

    def unusable(self, why: str) -> InputError:
        """The error to raise when the checkpoint cannot be gone on from."""
        return InputError(
            f"the checkpoint {self.checkpoint} {why}; delete that file to train this part from its start, "
            "pass --again to train every part of this command from its start, or choose another folder "
            "with --cache"
        )

    def prepare_log(self, *, step: int) -> None:
        """Begin the log, or keep of it what came up to the step that a training goes on from.

        Rows of later steps are those of a run that ended without a checkpoint of them; they come again.
        """
        if rank() != 0:
            return
        rows: list[list[str]] = []
        if step > 0 and self.log.is_file():
            with self.log.open(newline="") as file:
                rows = [row for row in csv.reader(file) if self._is_of(row, step)]
        with written_atomically(self.log) as part, part.open("w", newline="") as file:
            csv.writer(file).writerows([self.columns, *rows])

    def _is_of(self, row: list[str], last_step: int) -> bool:
        """Whether a row is whole, no header, and of a step up to the last one."""
        try:
            return len(row) == len(self.columns) and float(row[0]) <= last_step
        except ValueError:
            return False

    def append(self, *values: float) -> None:
        """Add a row to the log."""
        if rank() != 0:
            return
        with self.log.open("a", newline="") as file:
            csv.writer(file).writerow([f"{v:.6g}" for v in values])
