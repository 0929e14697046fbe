"""The words of a short training on the CPU."""

from __future__ import annotations

from pathlib import Path


def smoke_words(folder: Path, *, stage: str | None = None, out: str = "out") -> list[str]:
    """The command line of a smoke run that keeps everything within a folder.

    Args:
        folder: where its folders go.
        stage: what is trained; None gives the words that come after it.
        out: the folder of the model, within `folder`.
    """
    folders = {"--out": out, "--cache": "cache", "--log-folder": "logs"}
    named = [word for option, name in folders.items() for word in (option, str(folder / name))]
    return [*([] if stage is None else [stage]), "--smoke", "--device", "cpu", *named]
