"""How a training writes a model: the files of a part appear together, or those before stay."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dreammotion_core.media.atomic import written_atomically
from training.interruption import Interruption


@contextmanager
def written_together(folder: Path) -> Iterator[Path]:
    """Lend an empty folder, and move all that is in it to ``folder`` once the block succeeds.

    Weights in several files may become fewer, so older files of weights beside new ones go. Everything else
    in ``folder`` stays. A Ctrl-C while files are moved waits until all of them are.

    Args:
        folder: made if missing.

    Yields:
        The folder to write to. It lies within ``folder``, since a model's folder may be a file system of
        its own, and is gone afterwards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as name:
        yield Path(name)
        with Interruption() as interruption:
            _move(Path(name), folder)
    if interruption.requested:
        signal.raise_signal(signal.SIGINT)


def _move(source: Path, target: Path) -> None:
    """Move all files, and remove the weights that they take the place of."""
    names = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file()]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / name, target / name)
    for part in {name.parent for name in names if name.suffix == ".safetensors"}:
        for path in (target / part).glob("*.safetensors*"):
            if path.relative_to(target) not in names:
                path.unlink()


def write_index(folder: Path, content: dict[str, Any]) -> None:
    """Write `model_index.json`, which names the parts of a model, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    with written_atomically(folder / "model_index.json") as part:
        part.write_text(json.dumps(content, indent=2) + "\n")
