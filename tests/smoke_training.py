"""The words of a short training on the CPU."""

from __future__ import annotations

from pathlib import Path

UNET_MODEL = Path(__file__).resolve().parents[1] / "assets" / "toybox-unet"
"""The U-Net model, whose text encoder others begin with."""


def smoke_words(stage: str, folder: Path) -> list[str]:
    """The command line of a smoke run that keeps everything within a folder.

    Args:
        stage: what is trained.
        folder: where its folders go.
    """
    folders = {"--out": stage, "--cache": "cache", "--log-folder": "logs"}
    named = [word for option, name in folders.items() for word in (option, str(folder / name))]
    return [stage, "--smoke", "--device", "cpu", *named]
