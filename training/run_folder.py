"""What a training leaves on disk: checkpoint and log of a run, and the folders of finished models."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from dreammotion_core.errors import InputError, reason_of
from dreammotion_core.media.atomic import written_atomically
from training.processes import rank

COLUMNS = ("step", "seconds", "loss", "learning_rate")
SHARD_SIZE = "9MB"  # a Space takes files of at most 10 MB without large-file storage


class RunFolder:
    """The checkpoint and the log of a run."""

    def __init__(self, checkpoint: Path, log: Path) -> None:
        self.checkpoint, self.log = checkpoint, log
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, or None for a fresh run."""
        if not self.checkpoint.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise self.unusable(reason_of(error)) from error
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint, never leaving half of one."""
        if rank() != 0:
            return
        # Through memory, because torch reports a full disk in words of its own.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with written_atomically(self.checkpoint) as part:
            part.write_bytes(buffer.getbuffer())

    def unusable(self, why: str) -> InputError:
        """The error for a checkpoint that cannot be resumed from."""
        return InputError(
            f"the checkpoint {self.checkpoint} cannot be used ({why}); delete it to train this part from its "
            "start, or choose another folder with --cache"
        )

    def begin_log(self, step: int) -> None:
        """Write the header, and keep the rows up to the step that a run resumes from."""
        if rank() != 0:
            return
        rows: list[list[str]] = []
        if step > 0 and self.log.is_file():
            with self.log.open(newline="") as file:
                rows = [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) <= step]
        with self.log.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])

    def append(self, *values: float) -> None:
        """Add a row to the log."""
        if rank() == 0:
            with self.log.open("a", newline="") as file:
                csv.writer(file).writerow([f"{v:.6g}" for v in values])

    def plot(self) -> None:
        """Draw the loss over the steps, on a logarithmic scale, as a PNG beside the log."""
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot as plt

        with self.log.open() as file:
            rows = list(csv.DictReader(file))
        figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
        axes.plot([float(r["step"]) for r in rows], [float(r["loss"]) for r in rows], linewidth=1)
        axes.set(xlabel="step", ylabel="loss", yscale="log", title=self.log.stem)
        axes.grid(alpha=0.3)
        figure.savefig(self.log.with_suffix(".png"), dpi=110)
        plt.close(figure)


def write_index(folder: Path, content: dict[str, Any]) -> None:
    """Write `model_index.json`, which names the parts of a model."""
    with written_atomically(folder / "model_index.json") as part:
        part.write_text(json.dumps(content, indent=2) + "\n")


def load_trained(load: Callable[[Path], Any], folder: Path, *, remedy: str) -> Any:
    """A part of a model that an earlier training wrote."""
    if not folder.is_dir():
        raise InputError(f"there is no {folder.name} at {folder.resolve()}; {remedy}")
    try:
        return load(folder)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError) as error:
        raise InputError(f"what is in {folder} cannot be loaded ({reason_of(error)}); {remedy}") from error


def start_from(module: Any, folder: Path) -> None:
    """Give a module, of a class of diffusers or transformers, the weights of an earlier one of its kind."""

    def load(folder: Path) -> None:
        module.load_state_dict(type(module).from_pretrained(folder).float().state_dict())

    remedy = "pass the folder of an earlier model of this stage, or leave --from out"
    load_trained(load, folder, remedy=remedy)


def weights_digest(module: nn.Module) -> str:
    """Twelve hexadecimal digits for the weights of a module, rounded to half precision as in files."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().half().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
